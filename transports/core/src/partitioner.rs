//! The Java client's way from a key to a partition.
//!
//! The same key must land on the same partition through every transport and in every Java service beside us:
//! per-key order, joins and compaction rest on that.

/// Kafka's murmur2 of a key: `org.apache.kafka.common.utils.Utils.murmur2`.
///
/// ```
/// assert_eq!(kafka_tower_core::partitioner::murmur2(b"21"), -973932308);
/// ```
#[must_use]
pub fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // Java takes the length as an int.
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

/// The partition of a key among `partitions`: murmur2 without its sign, modulo the count.
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
