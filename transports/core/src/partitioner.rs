//! Mapping from keys to partitions, compatible with the Java client.
//!
//! The same key must map to the same partition through every transport and in every Java service: per-key order,
//! joins and compaction rely on it.

/// Computes Kafka's murmur2 hash of a key: `org.apache.kafka.common.utils.Utils.murmur2`.
///
/// ```
/// assert_eq!(kafka_tower_core::partitioner::murmur2(b"21"), -973932308);
/// ```
#[must_use]
pub fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // Java takes the length as a 32-bit int.
    let mut h = SEED ^ data.len() as u32;
    let words = data.chunks_exact(4);
    let tail = words.remainder();
    for word in words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^= h >> 15;
    h as i32
}

/// Returns the partition of a key among `partitions`: murmur2 without its sign bit, modulo the count.
///
/// ```
/// use kafka_tower_core::partitioner::partition_for_key;
///
/// assert_eq!(partition_for_key(b"orders-42", 1), 0);
/// ```
///
/// # Panics
///
/// If `partitions` is 0.
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: u32) -> i32 {
    assert!(partitions > 0, "a topic has at least one partition");
    let positive = murmur2(key) as u32 & 0x7fff_ffff;
    (positive % partitions) as i32
}
