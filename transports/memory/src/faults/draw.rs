//! Random numbers from a seed. Stateless: the same arguments give the same number.

/// Returns 64 well-mixed bits of a seed and a list of numbers.
pub(crate) fn draw(seed: u64, parts: &[u64]) -> u64 {
    parts.iter().fold(mix(seed), |hash, part| mix(hash ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// Returns a number below `end`, which must not be 0.
pub(crate) fn below(seed: u64, parts: &[u64], end: u64) -> u64 {
    // The high bits of the product: the bias is negligible for small `end`.
    ((u128::from(draw(seed, parts)) * u128::from(end)) >> 64) as u64
}

/// Returns true with this probability.
pub(crate) fn chance(seed: u64, parts: &[u64], probability: f64) -> bool {
    // 53 bits: the precision of an `f64`.
    ((draw(seed, parts) >> 11) as f64) < probability * (1u64 << 53) as f64
}

/// The finalizer of splitmix64.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Hashes a name.
pub(crate) fn name(name: &str) -> u64 {
    draw(name.len() as u64, &name.bytes().map(u64::from).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_even_and_depend_on_each_part() {
        let hits = (0..100_000).filter(|n| chance(7, &[1, *n], 0.3)).count();
        assert!((29_500..30_500).contains(&hits), "{hits}");
        let mut counts = [0; 10];
        (0..100_000).for_each(|n| counts[below(7, &[2, n], 10) as usize] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert!(!chance(1, &[], 0.0) && chance(1, &[], 1.0));
        let all = [draw(1, &[]), draw(2, &[]), draw(1, &[0]), draw(1, &[0, 0]), draw(1, &[0, 1]), draw(1, &[1, 0])];
        let distinct: std::collections::BTreeSet<_> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
