//! Latency buckets and percentiles. Pure: no atomics, no clock.

/// Number of buckets per power of two. A bucket is at most a quarter as wide as its smallest latency.
const PARTS: u64 = 4;
const PARTS_LOG2: u32 = PARTS.ilog2();
/// Latencies from 2^30 µs (18 minutes) share one bucket.
const END_LOG2: u32 = 30;
/// Number of buckets.
pub(super) const COUNT: usize = ((END_LOG2 - PARTS_LOG2 + 1) as u64 * PARTS) as usize + 1;

/// Returns the bucket of a latency in µs.
#[inline]
pub(super) const fn index(micros: u64) -> usize {
    if micros < PARTS {
        return micros as usize;
    }
    let log2 = micros.ilog2();
    if log2 >= END_LOG2 {
        return COUNT - 1;
    }
    let part = micros >> (log2 - PARTS_LOG2); // PARTS..2 * PARTS
    ((log2 - PARTS_LOG2) as u64 * PARTS + part) as usize
}

/// Returns the largest latency of a bucket, in µs.
const fn last(index: usize) -> u64 {
    if index >= COUNT - 1 {
        return u64::MAX;
    }
    let next = index as u64 + 1;
    if next <= PARTS {
        return next - 1;
    }
    let (power, part) = (next / PARTS - 1, next % PARTS);
    ((PARTS + part) << power) - 1
}

/// Returns the latency that `percent` percent of the sends did not exceed: never too low, and less than a quarter too
/// high. 0 if nothing was counted.
pub(super) fn percentile(counts: &[u64; COUNT], percent: u64, max: u64) -> u64 {
    let total: u128 = counts.iter().map(|count| u128::from(*count)).sum();
    if total == 0 {
        return 0;
    }
    let rank = (total * u128::from(percent)).div_ceil(100).max(1);
    let mut seen = 0;
    let reached = counts.iter().position(|count| {
        seen += u128::from(*count);
        seen >= rank
    });
    last(reached.unwrap_or(COUNT - 1)).min(max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Latencies of all magnitudes.
    fn latency() -> impl Strategy<Value = u64> {
        (0..64u32, any::<u64>()).prop_map(|(shift, random)| random >> shift)
    }

    fn count(samples: &[u64]) -> [u64; COUNT] {
        let mut counts = [0; COUNT];
        samples.iter().for_each(|sample| counts[index(*sample)] += 1);
        counts
    }

    #[test]
    fn buckets_join_without_gaps() {
        assert_eq!((index(0), index(u64::MAX)), (0, COUNT - 1));
        assert_eq!(last(COUNT - 2), (1 << END_LOG2) - 1);
        for bucket in 0..COUNT - 1 {
            assert_eq!(index(last(bucket)), bucket);
            assert_eq!(index(last(bucket) + 1), bucket + 1);
        }
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(percentile(&[0; COUNT], 99, 0), 0);
    }

    #[test]
    fn a_rank_is_rounded_up() {
        let counts = count(&[1, 2, 3]);
        let at = |percent| percentile(&counts, percent, 3);
        assert_eq!([at(0), at(33), at(34), at(50), at(66), at(67), at(100)], [1, 1, 2, 2, 2, 3, 3]);
    }

    #[test]
    fn latencies_beyond_the_buckets_are_at_most_the_maximum() {
        let samples = [1, 1 << 40];
        assert_eq!(percentile(&count(&samples), 99, 1 << 40), 1 << 40);
    }

    proptest! {
        #[test]
        fn a_bucket_is_less_than_a_quarter_of_its_latencies_wide(micros in latency()) {
            let last = last(index(micros));
            prop_assert!(micros <= last);
            prop_assert!(micros >= 1 << END_LOG2 || (last - micros) * 4 < micros.max(1));
        }

        #[test]
        fn percentiles_are_those_of_the_sorted_samples(
            mut samples in prop::collection::vec(latency().prop_map(|micros| micros % (1 << END_LOG2)), 1..300),
            percent in 1..=100u64,
        ) {
            let counts = count(&samples);
            samples.sort_unstable();
            let max = samples[samples.len() - 1];
            let truth = samples[(samples.len() * percent as usize).div_ceil(100) - 1];
            let told = percentile(&counts, percent, max);
            prop_assert!(truth <= told && told <= max);
            prop_assert!((told - truth) * 4 <= truth, "{} told for {}", told, truth);
        }
    }
}
