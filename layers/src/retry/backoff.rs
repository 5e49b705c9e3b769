use std::time::Duration;

/// How the back-off is randomized, so that records that failed together are not retried together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Jitter {
    /// No randomization.
    None,
    /// Between half of the back-off and all of it. The default.
    #[default]
    Equal,
    /// Between zero and all of the back-off.
    Full,
}

/// Doubles `base` `doublings` times, up to `max`, and randomizes it with `draw`, a uniformly distributed `u64`.
pub(super) fn delay(base: Duration, max: Duration, doublings: u32, jitter: Jitter, draw: u64) -> Duration {
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    let whole = base.saturating_mul(factor).min(max);
    match jitter {
        Jitter::None => whole,
        Jitter::Full => part(whole, draw),
        Jitter::Equal => whole / 2 + part(whole / 2, draw),
    }
}

fn part(whole: Duration, draw: u64) -> Duration {
    let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(((u128::from(nanos) * u128::from(draw)) >> 64) as u64)
}

/// Random number of a record's attempt. A hash, not a generator: clones of one generator would draw the same numbers,
/// and the records of a failed batch would be retried in lock step.
pub(super) fn draw(seed: u64, record: u64, attempt: u32) -> u64 {
    mix(mix(mix(seed) ^ record) ^ u64::from(attempt))
}

/// One step of splitmix64.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn whole(doublings: u32) -> Duration {
        delay(100 * MS, 10_000 * MS, doublings, Jitter::None, 0)
    }

    #[test]
    fn doubles_up_to_the_maximum() {
        assert_eq!(
            [0, 1, 2, 6, 7, 31, 32, u32::MAX].map(whole),
            [100, 200, 400, 6_400, 10_000, 10_000, 10_000, 10_000].map(|ms| ms * MS)
        );
    }

    #[test]
    fn retries_of_a_failed_batch_are_spread_over_time() {
        let of = |record, attempt| delay(100 * MS, 10_000 * MS, 0, Jitter::Full, draw(7, record, attempt));
        let first: BTreeSet<_> = (0..1_000).map(|record| of(record, 1)).collect();
        assert_eq!(first.len(), 1_000);
        assert!((0..1_000).filter(|r| (of(*r, 1) < 50 * MS) == (of(*r, 2) < 50 * MS)).count() < 600);
        let mean = first.iter().sum::<Duration>() / 1_000;
        assert!((45 * MS..55 * MS).contains(&mean), "{mean:?}");
    }

    proptest! {
        #[test]
        fn stays_in_its_bounds(base: Duration, max: Duration, doublings: u32, draw: u64) {
            let all = delay(base, max, doublings, Jitter::None, draw);
            let equal = delay(base, max, doublings, Jitter::Equal, draw);
            prop_assert!(all <= max);
            prop_assert!(delay(base, max, doublings, Jitter::Full, draw) <= all);
            prop_assert!(all / 2 <= equal && equal <= all);
        }
    }
}
