//! When records are sent.

use std::time::Duration;

/// How many records are sent, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Records per second; 0: no limit.
    rate: u32,
    count: Option<u64>,
    duration: Option<Duration>,
}

/// Default time of a soak.
const DURATION: Duration = Duration::from_secs(60);

impl Pace {
    pub(crate) fn new(rate: u32, count: Option<u64>, duration: Option<Duration>) -> Self {
        Self { rate, count, duration: if count.is_none() { duration.or(Some(DURATION)) } else { duration } }
    }

    /// Time from the start to the record of this number. None after the last one.
    pub(crate) fn due(&self, number: u64, now: Duration) -> Option<Duration> {
        let due = if self.rate == 0 { now } else { Duration::from_secs_f64(number as f64 / f64::from(self.rate)) };
        let is_over = self.count.is_some_and(|count| number >= count)
            || self.duration.is_some_and(|duration| due.max(now) >= duration);
        (!is_over).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_spread_over_the_time() {
        let second = Duration::from_secs(1);
        let pace = Pace::new(10, None, Some(second));
        assert_eq!(pace.due(0, Duration::ZERO), Some(Duration::ZERO));
        assert_eq!(pace.due(5, Duration::ZERO), Some(second / 2));
        assert_eq!(pace.due(10, Duration::ZERO), None);
        assert_eq!(pace.due(1, second), None, "what could not be sent in time is not sent");
        let pace = Pace::new(10, Some(3), None);
        assert_eq!((pace.due(2, second * 99), pace.due(3, Duration::ZERO)), (Some(second / 5), None));
    }

    #[test]
    fn without_limits_it_takes_a_minute() {
        let pace = Pace::new(0, None, None);
        assert_eq!(pace.due(u64::MAX, Duration::from_secs(59)), Some(Duration::from_secs(59)));
        assert_eq!(pace.due(0, Duration::from_secs(60)), None);
    }
}
