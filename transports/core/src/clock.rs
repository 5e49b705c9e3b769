//! A clock that is cheaper than [`Instant::now`], and sums of times that cannot overflow.
//!
//! A transport notes the time of each record, for its deadline and for the elapsed time of its error. [`Instant::now`]
//! costs some 30 ns, a good part of a send; [`coarse_now`] costs a few, and is at most one [`TICK`] late.

use std::time::{Duration, Instant};

/// Maximum lag of [`coarse_now`]: 10 ms, because Linux ticks 100 to 1,000 times per second.
pub const TICK: Duration = Duration::from_millis(10);

/// Returns the time of the system's last tick: never in the future, at most one [`TICK`] in the past.
///
/// On systems other than Linux it is [`Instant::now`].
///
/// ```
/// use std::time::Instant;
/// use kafka_tower_core::clock::coarse_now;
///
/// assert!(coarse_now() <= Instant::now());
/// ```
#[inline]
#[must_use]
pub fn coarse_now() -> Instant {
    #[cfg(target_os = "linux")]
    return linux::coarse_now();
    #[cfg(not(target_os = "linux"))]
    return Instant::now();
}

/// Returns `time + by`, with `by` limited to 30 years. Plain `time + by` panics for [`Duration::MAX`], by which callers
/// say "without a limit".
///
/// ```
/// use std::time::{Duration, Instant};
/// use kafka_tower_core::clock::later;
///
/// let now = Instant::now();
/// assert_eq!(later(now, Duration::from_secs(1)), now + Duration::from_secs(1));
/// assert!(later(now, Duration::MAX) > now);
/// ```
#[inline]
#[must_use]
pub fn later(time: Instant, by: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);
    time.checked_add(by.min(YEARS)).unwrap_or(time)
}

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    use rustix::time::{ClockId, Timespec, clock_gettime};

    /// One tick on both clocks: an `Instant` cannot be built from a number.
    static ORIGIN: OnceLock<(Instant, Timespec)> = OnceLock::new();

    #[inline]
    pub(super) fn coarse_now() -> Instant {
        let (origin, tick) = *ORIGIN.get_or_init(|| {
            loop {
                let tick = clock_gettime(ClockId::MonotonicCoarse);
                let (now, same) = (Instant::now(), clock_gettime(ClockId::Monotonic));
                // Otherwise the thread was preempted in between, and the readings are not of one moment.
                if now.elapsed() < Duration::from_millis(1) {
                    return (now.checked_sub(between(tick, same)).unwrap_or(now), tick);
                }
            }
        });
        origin + between(tick, clock_gettime(ClockId::MonotonicCoarse))
    }

    fn between(from: Timespec, to: Timespec) -> Duration {
        let nanos = (to.tv_sec - from.tv_sec).saturating_mul(1_000_000_000).saturating_add(to.tv_nsec - from.tv_nsec);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_advances_and_is_never_ahead() {
        let begun = coarse_now();
        let mut last = begun;
        while last == begun {
            let tick = coarse_now();
            assert!(tick >= last && tick <= Instant::now());
            last = tick;
        }
    }
}
