//! Transaction methods of the sink.

use kafka_tower_core::{Result, TransactionControl};

use super::whole::{self, Whole};
use super::{KafkaSink, builder, deadline};

/// A transaction belongs to the sink and is shared by its clones: after `begin_transaction`, every message that a clone
/// sends joins it. Needs `enable_transactions` and a `transactional_id`.
///
/// A commit succeeds only if every record of the transaction was written, except sends whose error you have received:
/// you decide about those. If a record failed and its future was dropped before it returned the error, the commit is
/// refused. You may drop the future of a record that was handed over: if the record fails, the commit fails. This holds
/// for one sink and its clones; two sinks over one transport do not see each other's sends.
///
/// [`close`](KafkaSink::close) aborts an open transaction. So does dropping the last clone of the sink, for example
/// after an early return or a panic, so that `read_committed` readers are not held back. A commit in progress, or one
/// whose outcome is unknown, is continued and never aborted. The drop blocks its thread meanwhile: for a round trip to
/// the coordinator, at most 3 s if it does not answer.
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
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) without `enable_transactions`;
    /// [`ErrorKind::Transaction`](crate::ErrorKind::Transaction) if a transaction is open;
    /// [`ErrorKind::Fenced`](crate::ErrorKind::Fenced) if another producer took over the transactional id.
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

    /// Waits for the records of the transaction, then makes all of them visible or none, within `send_timeout_ms`. It
    /// waits for records in flight, and for sends that still wait for room or for their serializer, as long as their
    /// futures are polled.
    ///
    /// # Errors
    ///
    /// `NotPersisted`: nothing is visible; abort. `PossiblyPersisted`: the outcome is **unknown**; do not replay before
    /// you have read the topic. With [`Recovery::Retry`](crate::Recovery::Retry), call it again to go on waiting.
    ///
    /// [`ErrorKind::Transaction`](crate::ErrorKind::Transaction) also if a record would be missing without anyone
    /// knowing: it failed in the transport, or it failed or was dropped above the transport and its error was never
    /// observed. Examples: a send that was polled and dropped while it waited for room; a batch that was dropped before
    /// it had taken its last message, or whose errors were not read. With [`Recovery::Reject`](crate::Recovery::Reject)
    /// if another call ended the transaction while this one waited.
    ///
    /// # Cancel safety
    ///
    /// A commit that was requested from the transport goes on, and sends that were waited for are not undone. Call it
    /// again to learn how it ended.
    ///
    /// # Panics
    ///
    /// If it has to wait for a send outside of a tokio runtime with a timer.
    pub async fn commit_transaction(&self) -> Result<()> {
        let transactions = self.transactions()?;
        let Some(result) = self.commit_whole(transactions).await else {
            return Err(whole::ended_meanwhile()); // another transaction may be open by now, so the transport is not asked
        };
        self.shared.traces.committed(&result);
        result
    }

    /// Aborts the transaction within `send_timeout_ms`: none of its records ever becomes visible to `read_committed`
    /// readers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Transaction`](crate::ErrorKind::Transaction) if no transaction is open, or if it could not be
    /// ended.
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

    /// Waits until every send of the transaction is accepted or answered, and commits in the remaining time. None if
    /// another call ended the transaction meanwhile.
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
        // Not earlier: until here the transport was not asked, and the transaction is certainly not committed.
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
