//! How long after the end of a transaction the next one begins. Pure.
//!
//! The coordinator answers a commit before the markers of the transaction are written, and refuses partitions of the
//! next transaction until they are. librdkafka asks again after 20 ms, whatever the brokers need, which is often 2 ms.
//! Therefore the time that they need is learned from these refusals, and `begin` waits for it.

use std::time::{Duration, Instant};

/// A refusal makes the pause longer.
const LONGER: Duration = Duration::from_micros(1_000);
/// A transaction without a refusal makes it shorter: one in 33 is refused when the pause stays the same on average.
const SHORTER: Duration = Duration::from_nanos(1_000_000 / 32);
/// librdkafka asks again after this time: a longer pause gains nothing.
const MAX: Duration = Duration::from_millis(20);

/// The pause after a transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    pause: Duration,
    /// `begin` waited for the pause. Otherwise its length does not matter, and nothing is learned about it.
    waited: bool,
    refused: bool,
}

impl Pace {
    /// Reads a line of librdkafka's log with the facility `ADDPARTS`.
    pub(crate) fn read(&mut self, line: &str) {
        // The text of CONCURRENT_TRANSACTIONS.
        self.refused |= line.contains("AddPartitionsToTxn response: ") && line.contains("another concurrent operation");
    }

    /// When the next transaction may begin.
    pub(crate) fn due(&self, ended: Instant) -> Instant {
        ended + self.pause
    }

    /// `begin` waits until then.
    pub(crate) fn wait(&mut self) {
        self.waited = true;
    }

    /// The transaction has ended: learns from it.
    pub(crate) fn ended(&mut self) {
        self.pause = match (std::mem::take(&mut self.refused), std::mem::take(&mut self.waited)) {
            (true, _) => (self.pause + LONGER).min(MAX),
            (false, true) => self.pause.saturating_sub(SHORTER),
            (false, false) => self.pause,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "[thrd:main]: TxnCoordinator/1: AddPartitionsToTxn response: partition \"orders\": [0]: Broker: \
        Producer attempted to update a transaction while another concurrent operation on the same transaction was ongoing";

    /// Runs transactions whose markers are written `needed` after their end, each one begun as soon as possible. Returns the pause after
    /// them, and how many were refused in the second half.
    fn run(needed: impl Fn(u32) -> Duration, count: u32) -> (Duration, u32) {
        let (mut pace, now, mut refused) = (Pace::default(), Instant::now(), 0);
        for i in 0..count {
            let pause = pace.due(now) - now;
            if !pause.is_zero() {
                pace.wait();
            }
            if pause < needed(i) {
                pace.read(REFUSED);
                refused += u32::from(i >= count / 2);
            }
            pace.ended();
        }
        (pace.pause, refused)
    }

    #[test]
    fn without_refusals_there_is_no_pause() {
        assert_eq!(run(|_| Duration::ZERO, 1_000), (Duration::ZERO, 0));
        let mut pace = Pace::default();
        pace.read("[thrd:main]: TxnCoordinator/1: Registering partitions with transaction");
        pace.read("[thrd:main]: orders [0] registered with transaction");
        // Of another code, after which librdkafka asks again, too.
        pace.read("[thrd:main]: TxnCoordinator/1: AddPartitionsToTxn response: partition \"orders\": [0]: Broker: Not coordinator");
        pace.ended();
        assert_eq!(pace.pause, Duration::ZERO);
    }

    #[test]
    fn the_pause_becomes_what_the_brokers_need() {
        let needed = Duration::from_millis(3);
        let (pause, refused) = run(|_| needed, 1_000);
        assert!(pause > needed - LONGER && pause < needed + LONGER, "{pause:?}");
        assert!((10..=16).contains(&refused), "one in 33: {refused}");
    }

    #[test]
    fn it_is_forgotten_when_they_are_fast_again_and_bounded_when_they_are_slow() {
        let fast_later = |i| if i < 100 { Duration::from_millis(3) } else { Duration::ZERO };
        assert_eq!(run(fast_later, 300).0, Duration::ZERO);
        assert_eq!(run(|_| Duration::from_secs(1), 100).0, MAX);
    }

    #[test]
    fn a_transaction_that_began_later_anyway_teaches_nothing() {
        let mut pace = Pace::default();
        pace.read(REFUSED);
        pace.ended();
        (0..100).for_each(|_| pace.ended());
        assert_eq!(pace.pause, LONGER);
    }
}
