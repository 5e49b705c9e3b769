//! Transactions of a transport, whose end stays unknown once a commit is in doubt.
//!
//! A commit that was requested and not confirmed may have been carried out. What the coordinator answers to a later
//! request then is about a transaction that has ended: fenced, an unknown producer id, or "abort it". Only `Ok` of a
//! repeated commit ends the doubt. Transports know this (see [`TransactionControl`]); this decorator ensures it for any
//! transport.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kafka_tower_core::error::transport::{aborted_in_doubt, commit_in_doubt};
use kafka_tower_core::sync::lock;
use kafka_tower_core::{ConsumerGroup, ControlFuture, Result, TopicOffset, TransactionControl};

/// Decorates a transport's transactions.
#[derive(Debug)]
pub(super) struct CommitDoubt {
    transport: Arc<dyn TransactionControl>,
    doubt: Mutex<Doubt>,
}

impl CommitDoubt {
    pub(super) fn new(transport: Arc<dyn TransactionControl>) -> Self {
        Self { transport, doubt: Mutex::default() }
    }

    fn doubt(&self) -> MutexGuard<'_, Doubt> {
        lock(&self.doubt)
    }
}

/// Whether a commit of the transaction was requested without a known result. No clock, no lock, no async.
#[derive(Debug, Default)]
struct Doubt {
    may_be_committed: bool,
}

impl Doubt {
    fn begun(&mut self) {
        self.may_be_committed = false;
    }

    fn committed(&mut self, result: Result<()>) -> Result<()> {
        let result = match result {
            Err(error) if self.may_be_committed || error.may_be_written() => Err(commit_in_doubt(error)),
            result => result,
        };
        self.may_be_committed = result.as_ref().is_err_and(|error| error.may_be_written());
        result
    }

    fn aborted(&mut self, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) if std::mem::take(&mut self.may_be_committed) => Err(aborted_in_doubt()),
            result => result,
        }
    }
}

impl TransactionControl for CommitDoubt {
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.transport.init(within)
    }

    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            self.transport.begin(within).await?;
            self.doubt().begun();
            Ok(())
        })
    }

    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            let result = self.transport.commit(within).await;
            self.doubt().committed(result)
        })
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            let result = self.transport.abort(within).await;
            self.doubt().aborted(result)
        })
    }

    fn producer_key(&self) -> Option<String> {
        self.transport.producer_key()
    }

    fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        self.transport.send_offsets(offsets, group, within)
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery};
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    fn failed(recovery: Recovery, persistence: Persistence) -> Result<()> {
        let error = Error::new(ErrorKind::Transaction, "the coordinator requires something else");
        Err(error.with_recovery(recovery).with_persistence(persistence))
    }

    fn facts(result: &Result<()>) -> Option<(Recovery, Persistence)> {
        result
            .as_ref()
            .err()
            .inspect(|error| assert_consistent(error))
            .map(|error| (error.recovery(), error.persistence()))
    }

    const UNANSWERED: (Recovery, Persistence) = (Recovery::Retry, Persistence::PossiblyPersisted);
    const UNKNOWN: (Recovery, Persistence) = (Recovery::Fatal, Persistence::PossiblyPersisted);
    const REFUSED: (Recovery, Persistence) = (Recovery::AbortTransaction, Persistence::NotPersisted);

    #[test]
    fn a_refusal_at_the_first_try_stays_a_refusal() {
        let mut doubt = Doubt::default();
        assert_eq!(facts(&doubt.committed(failed(REFUSED.0, REFUSED.1))), Some(REFUSED));
        assert!(doubt.aborted(Ok(())).is_ok());
    }

    #[test]
    fn after_a_commit_without_an_answer_only_ok_ends_the_doubt() {
        for recovery in [Recovery::AbortTransaction, Recovery::Fatal, Recovery::Reject, Recovery::Wait] {
            for persistence in [Persistence::NotPersisted, Persistence::PossiblyPersisted] {
                let mut doubt = Doubt::default();
                assert_eq!(facts(&doubt.committed(failed(UNANSWERED.0, UNANSWERED.1))), Some(UNANSWERED));
                assert_eq!(facts(&doubt.committed(failed(recovery, persistence))), Some(UNKNOWN));
                assert_eq!(facts(&doubt.committed(failed(REFUSED.0, REFUSED.1))), Some(UNKNOWN), "also later");
                let aborted = facts(&doubt.aborted(Ok(())));
                assert_eq!(aborted, Some((Recovery::Reject, Persistence::PossiblyPersisted)));
                doubt.begun();
                assert!(doubt.aborted(Ok(())).is_ok(), "the next transaction is another one");
            }
        }
        let mut doubt = Doubt::default();
        doubt.committed(failed(UNANSWERED.0, UNANSWERED.1)).unwrap_err();
        assert!(doubt.committed(Ok(())).is_ok() && doubt.aborted(Ok(())).is_ok());
    }

    #[test]
    fn an_answer_that_leaves_it_open_asks_for_no_abort() {
        let mut doubt = Doubt::default();
        let open = doubt.committed(failed(Recovery::AbortTransaction, Persistence::PossiblyPersisted));
        assert_eq!(facts(&open), Some(UNKNOWN));
    }
}
