//! What happened per second between two snapshots. Pure: no atomics, no clock.

use std::fmt;
use std::time::Duration;

/// What happened per second between two snapshots of the same counters:
/// [`SinkMetrics::since`](super::SinkMetrics::since), [`TopicCounts::since`](super::TopicCounts::since).
///
/// All rates are 0 if no time passed, or if the snapshots are in the wrong order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Rates {
    /// Time between the two snapshots.
    pub window: Duration,
    /// Delivered messages, per second.
    pub messages_per_sec: f64,
    /// Bytes of keys, values and headers of delivered records, per second.
    pub bytes_per_sec: f64,
    /// Failed sends, per second.
    pub failures_per_sec: f64,
    /// Attempts after the first, per second. 0 for a topic, whose retries are not counted.
    pub retries_per_sec: f64,
}

/// The counters of a snapshot that have a rate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) uptime: Duration,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) failures: u64,
    pub(super) retries: u64,
}

impl Rates {
    pub(super) fn between(now: Totals, earlier: Totals) -> Self {
        let window = now.uptime.saturating_sub(earlier.uptime);
        // Exact up to 2^53 events.
        let per_sec = |now: u64, earlier: u64| match window {
            Duration::ZERO => 0.0,
            _ => now.saturating_sub(earlier) as f64 / window.as_secs_f64(),
        };
        Self {
            window,
            messages_per_sec: per_sec(now.messages, earlier.messages),
            bytes_per_sec: per_sec(now.bytes, earlier.bytes),
            failures_per_sec: per_sec(now.failures, earlier.failures),
            retries_per_sec: per_sec(now.retries, earlier.retries),
        }
    }
}

/// One line for logs, for example `120.5 messages/s, 24100 B/s, 0.0 failures/s in 10.0 s`.
impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { window, messages_per_sec, bytes_per_sec, failures_per_sec, .. } = self;
        let seconds = window.as_secs_f64();
        write!(
            f,
            "{messages_per_sec:.1} messages/s, {bytes_per_sec:.0} B/s, {failures_per_sec:.1} failures/s in {seconds:.1} s"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(seconds: u64, counts: [u64; 4]) -> Totals {
        let [messages, bytes, failures, retries] = counts;
        Totals { uptime: Duration::from_secs(seconds), messages, bytes, failures, retries }
    }

    #[test]
    fn each_rate_is_its_difference_over_the_window() {
        let rates = Rates::between(totals(14, [120, 1_000, 8, 6]), totals(4, [20, 500, 3, 2]));
        assert_eq!(rates.window, Duration::from_secs(10));
        let of = [rates.messages_per_sec, rates.bytes_per_sec, rates.failures_per_sec, rates.retries_per_sec];
        assert_eq!(of, [10.0, 50.0, 0.5, 0.4]);
        assert_eq!(rates.to_string(), "10.0 messages/s, 50 B/s, 0.5 failures/s in 10.0 s");
    }

    /// As after a restart of what is measured, or with the arguments exchanged.
    #[test]
    fn no_window_and_a_negative_one_have_no_rates() {
        let (earlier, now) = (totals(4, [20, 500, 3, 2]), totals(14, [120, 1_000, 8, 6]));
        for rates in [Rates::between(now, now), Rates::between(earlier, now), Rates::between(now, totals(14, [0; 4]))] {
            assert_eq!(rates, Rates::default());
        }
        assert_eq!(Rates::between(totals(5, [0; 4]), earlier).messages_per_sec, 0.0, "fewer than before");
    }
}
