//! Whether a transaction is replayed. No clock, no lock, no async.

use kafka_tower_core::{Error, Persistence, Recovery};

/// Default number of replays.
const REPLAYS: u32 = 3;

/// Options of [`KafkaSink::in_transaction_with`](crate::KafkaSink::in_transaction_with).
///
/// ```
/// let options = kafka_tower::TransactionOptions::new().replays(0);
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "options do nothing by themselves"]
pub struct TransactionOptions {
    replays: u32,
}

impl TransactionOptions {
    /// Returns the default options.
    pub fn new() -> Self {
        Self { replays: REPLAYS }
    }

    /// Sets how many times the closure is called again after its transaction was certainly aborted. Default: 3.
    pub fn replays(mut self, replays: u32) -> Self {
        self.replays = replays;
        self
    }

    /// Whether a transaction that ended with this error is replayed, after `replayed` replays. `aborted`: it was
    /// certainly aborted.
    pub(super) fn replays_after(&self, error: &Error, aborted: bool, replayed: u32) -> bool {
        // `PossiblyPersisted` may be visible: a replay could write it twice.
        let safe = aborted && error.persistence() == Persistence::NotPersisted;
        safe && error.recovery() == Recovery::AbortTransaction && replayed < self.replays
    }
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::ErrorKind;

    use super::*;

    #[test]
    fn only_a_transaction_that_was_certainly_aborted_is_replayed() {
        let recoveries =
            [Recovery::Retry, Recovery::Wait, Recovery::AbortTransaction, Recovery::Fatal, Recovery::Reject];
        let fates = [Persistence::NotPersisted, Persistence::PossiblyPersisted, Persistence::Persisted];
        for recovery in recoveries {
            for fate in fates {
                for aborted in [true, false] {
                    let error = Error::new(ErrorKind::Transaction, "no").with_recovery(recovery).with_persistence(fate);
                    let safe =
                        (recovery, fate, aborted) == (Recovery::AbortTransaction, Persistence::NotPersisted, true);
                    assert_eq!(TransactionOptions::new().replays_after(&error, aborted, 0), safe, "{error:?}");
                }
            }
        }
    }

    #[test]
    fn replays_are_limited() {
        let error = Error::new(ErrorKind::Transaction, "no");
        let replayed =
            |options: TransactionOptions| (0..10).filter(|n| options.replays_after(&error, true, *n)).count();
        assert_eq!(replayed(TransactionOptions::new()), 3);
        assert_eq!(replayed(TransactionOptions::new().replays(0)), 0);
        assert_eq!(replayed(TransactionOptions::new().replays(5)), 5);
    }
}
