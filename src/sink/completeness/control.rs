use std::time::Duration;

use kafka_tower_core::{ConsumerGroup, ControlFuture, Error, Recovery, Result, TopicOffset, TransactionControl};
use tokio::sync::Mutex;

use super::super::deadline;
use super::super::telemetry::TracedTransactions;
use super::{Caller, Completeness, Owner, Released, ended_meanwhile};

/// The transactions of a sink: those of its transport, which belong to the sink or to a guard, and whose commit is
/// refused if a send is missing.
///
/// Outside of the telemetry: a commit counts as started only when the transport is asked.
#[derive(Debug)]
pub(in crate::sink) struct SinkTransactions {
    completeness: Completeness,
    transactions: TracedTransactions,
    /// Held while the transaction of a dropped guard is aborted, so that no later one is aborted in its place.
    dropped: Mutex<()>,
}

impl SinkTransactions {
    pub(in crate::sink) fn new(completeness: Completeness, transactions: TracedTransactions) -> Self {
        Self { completeness, transactions, dropped: Mutex::new(()) }
    }

    /// Begins a transaction of this owner. `begins` is called with its number before the transport is asked, so that
    /// the caller can hold what releases the transaction if this future is dropped.
    pub(in crate::sink) async fn begin_for(
        &self,
        owner: Owner,
        within: Duration,
        mut begins: impl FnMut(u64) + Send,
    ) -> Result<()> {
        let begun = deadline::now();
        // No timer: the transport bounds its calls, and there may be no tokio runtime.
        self.abort_dropped(within).await?;
        let was_open = self.completeness.beginning(owner)?;
        if !was_open {
            begins(self.completeness.present());
        }
        let result = self.transactions.begin(left(within, begun)).await;
        self.completeness.begun(owner, was_open, &result);
        if was_open && result.is_ok() {
            begins(self.completeness.present());
        }
        result
    }

    pub(in crate::sink) async fn commit_for(&self, caller: Caller, within: Duration) -> Result<()> {
        self.completeness.allows(caller, "commit")?;
        let begun = deadline::now();
        let transaction = match self.completeness.committing(within).await {
            Ok(Some(transaction)) => transaction,
            // Another transaction may be open by now, so the transport is not asked.
            Ok(None) => return Err(ended_meanwhile()),
            Err(error) => {
                self.transactions.refused(&error);
                return Err(error);
            }
        };
        let result = self.transactions.commit(left(within, begun)).await;
        self.completeness.committed(transaction, &result);
        result
    }

    pub(in crate::sink) async fn abort_for(&self, caller: Caller, within: Duration) -> Result<()> {
        self.completeness.allows(caller, "abort")?;
        self.abort_present(within).await
    }

    pub(in crate::sink) async fn offsets_for(
        &self,
        caller: Caller,
        offsets: Vec<TopicOffset>,
        group: ConsumerGroup,
        within: Duration,
    ) -> Result<()> {
        self.completeness.allows(caller, "send_offsets")?;
        self.transactions.send_offsets(offsets, group, within).await
    }

    /// The guard of this transaction is gone.
    pub(in crate::sink) fn release(&self, guard: u64) -> Released {
        self.completeness.release(guard)
    }

    /// Whether this transaction of a guard is open and its commit was not requested.
    pub(in crate::sink) fn is_open(&self, guard: u64) -> bool {
        self.completeness.is_open(guard)
    }

    /// Aborts the transaction whose guard was dropped, if there is one.
    pub(in crate::sink) async fn abort_dropped(&self, within: Duration) -> Result<()> {
        if self.completeness.dropped().is_none() {
            return Ok(());
        }
        let _one_at_a_time = self.dropped.lock().await;
        let Some(transaction) = self.completeness.dropped() else { return Ok(()) };
        match self.abort_present(within).await {
            Err(error) if !is_over(&error) => Err(error),
            _ => {
                self.completeness.ended(transaction);
                Ok(())
            }
        }
    }

    async fn abort_present(&self, within: Duration) -> Result<()> {
        let transaction = self.completeness.present();
        let result = self.transactions.abort(within).await;
        if result.is_ok() {
            self.completeness.ended(transaction);
        }
        result
    }
}

/// Whether an abort that failed with this error must not be repeated: the producer has no open transaction (it was never
/// opened, or has ended), or has ended itself.
fn is_over(error: &Error) -> bool {
    matches!(error.recovery(), Recovery::Reject | Recovery::Fatal)
}

fn left(within: Duration, since: std::time::Instant) -> Duration {
    within.saturating_sub(deadline::now().saturating_duration_since(since))
}

/// The calls of the sink itself, in contrast to those of a guard.
impl TransactionControl for SinkTransactions {
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.transactions.init(within)
    }

    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(self.begin_for(Owner::Sink, within, |_| {}))
    }

    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(self.commit_for(None, within))
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(self.abort_for(None, within))
    }

    fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(self.offsets_for(None, offsets, group, within))
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::ErrorKind;
    use kafka_tower_core::error::transport::aborted_in_doubt;

    use super::*;

    #[test]
    fn an_abort_is_repeated_only_if_that_can_succeed() {
        let failed = |recovery| Error::new(ErrorKind::Transaction, "planted").with_recovery(recovery);
        assert!(is_over(&failed(Recovery::Fatal)) && is_over(&failed(Recovery::Reject)));
        assert!(is_over(&aborted_in_doubt()), "it has ended");
        assert!(!is_over(&failed(Recovery::Retry)) && !is_over(&failed(Recovery::AbortTransaction)));
    }
}
