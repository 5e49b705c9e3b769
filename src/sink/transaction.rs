//! Transactions by hand.

use kafka_tower_core::{Result, TransactionControl};

use super::whole::{self, Whole};
use super::{KafkaSink, builder, deadline};

/// A transaction belongs to the sink and is shared by its clones: after `begin_transaction` what any of them sends joins it.
/// Needs `enable_transactions` and a `transactional_id`.
///
/// What was sent is committed, or it is known that it was not: an answer that you take is yours to act on; where a record failed and you
/// dropped the future before it told, the commit is refused. To drop the future of a record that was handed over is fine: if it fails, the
/// commit does. That holds for a sink and its clones: two sinks over one transport do not know of each other's sends.
///
/// [`close`](KafkaSink::close) aborts a transaction that is open, and so does dropping the last clone of the sink, as after an early return
/// or a panic: readers of committed records are not held back. A commit under way, or whose outcome is unknown, is continued and never
/// aborted. Dropping blocks the thread meanwhile: for a round trip to the coordinator, at most 3 s if it does not answer.
///
/// ```no_run
/// # async fn run(sink: kafka_tower::KafkaSink<String>) -> kafka_tower::Result<()> {
/// sink.begin_transaction().await?;
/// let results = sink.send_batch(["a".to_string(), "b".to_string()]).await?;
/// if results.iter().all(Result::is_ok) {
///     sink.commit_transaction().await?;
/// } else {
///     sink.abort_transaction().await?;
/// }
/// # Ok(())
/// # }
/// ```
impl<T> KafkaSink<T> {
    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) without `enable_transactions`,
    /// [`ErrorKind::Transaction`](crate::ErrorKind::Transaction) if one is open,
    /// [`ErrorKind::Fenced`](crate::ErrorKind::Fenced) if another producer took the id over.
    pub async fn begin_transaction(&self) -> Result<()> {
        let transactions = self.transactions()?;
        let was_open = self.shared.whole.as_ref().map(Whole::beginning);
        let result = transactions.begin().await;
        if let (Some(whole), Some(was_open)) = (&self.shared.whole, was_open) {
            whole.begun(was_open, &result);
        }
        result?;
        self.shared.traces.begun();
        Ok(())
    }

    /// Waits for the records of the transaction and makes them visible, all or none, within `send_timeout_ms`: those that are on their
    /// way, and those that still wait for room or for their serializer, while their futures are polled.
    ///
    /// # Errors
    ///
    /// `NotPersisted`: nothing is visible; abort. `PossiblyPersisted`: **nobody knows**; do not replay before the topic was
    /// read. With [`Recovery::Retry`](crate::Recovery::Retry) call it again to go on waiting.
    ///
    /// [`ErrorKind::Transaction`](crate::ErrorKind::Transaction) also if a record of it would be missing and nobody knows: it failed in the
    /// transport, or before it got there and its future was dropped without having told. So for a send that was polled and dropped while it
    /// waited for room, and a batch that was dropped before it had taken its last message, or with errors that nobody saw. With
    /// [`Recovery::Reject`](crate::Recovery::Reject) if another call ended the transaction while this one waited.
    ///
    /// # Cancel safety
    ///
    /// A commit that the transport was asked for goes on; what it waited for before is not undone either. Call it again to learn how it
    /// ended.
    ///
    /// # Panics
    ///
    /// If it has to wait for a send outside of a tokio runtime with a timer.
    pub async fn commit_transaction(&self) -> Result<()> {
        let transactions = self.transactions()?;
        let Some(result) = self.commit_whole(transactions).await else {
            return Err(whole::ended_meanwhile()); // and not of the one that may be open by now
        };
        self.shared.traces.committed(&result);
        result
    }

    /// Ends the transaction so that none of its records is ever visible to `read_committed` readers, within
    /// `send_timeout_ms`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Transaction`](crate::ErrorKind::Transaction) if none is open, or it could not be ended.
    ///
    /// # Cancel safety
    ///
    /// An abort that has begun goes on.
    pub async fn abort_transaction(&self) -> Result<()> {
        let transactions = self.transactions()?;
        self.shared.traces.aborting();
        let transaction = self.shared.whole.as_ref().map(Whole::aborting);
        let result = transactions.abort(self.shared.send_timeout).await;
        if let (Some(whole), Some(transaction)) = (&self.shared.whole, transaction) {
            whole.aborted(transaction, &result);
        }
        self.shared.traces.aborted(&result);
        result
    }

    /// Waits until no send of the transaction can be missing, and commits in the time that is left. None if it was ended meanwhile.
    async fn commit_whole(&self, transactions: &dyn TransactionControl) -> Option<Result<()>> {
        let within = self.shared.send_timeout;
        let Some(whole) = &self.shared.whole else {
            self.shared.traces.committing();
            return Some(transactions.commit(within).await);
        };
        let begun = deadline::now();
        let transaction = match whole.committing(within).await {
            Ok(transaction) => transaction?,
            Err(error) => return Some(Err(error)),
        };
        let left = within.saturating_sub(deadline::now().saturating_duration_since(begun));
        // Not before: until now the transport was asked for nothing, and the transaction is surely not committed.
        self.shared.traces.committing();
        let result = transactions.commit(left).await;
        whole.committed(transaction, &result);
        Some(result)
    }

    fn transactions(&self) -> Result<&dyn TransactionControl> {
        match self.shared.refusal() {
            Some(error) => Err(error),
            None => builder::transactions(&*self.shared.control),
        }
    }
}
