//! Transactions by hand.

use std::time::Duration;

use kafka_tower_core::{Result, TransactionControl};

use super::whole::Whole;
use super::{KafkaSink, builder, deadline};

/// A transaction belongs to the sink and is shared by its clones: after `begin_transaction` what any of them sends joins it.
/// Needs `enable_transactions` and a `transactional_id`.
///
/// What was sent is committed, or it is known that it was not: an answer that you take is yours to act on; where a record failed and you
/// dropped the future before it told, the commit is refused. To drop the future of a record that was handed over is fine: if it fails, the
/// commit does.
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
    /// waited for room, and a batch that was dropped before it had taken its last message, or with errors that nobody saw.
    ///
    /// # Cancel safety
    ///
    /// A commit that the transport was asked for goes on; what it waited for before is not undone either. Call it again to learn how it
    /// ended.
    pub async fn commit_transaction(&self) -> Result<()> {
        let transactions = self.transactions()?;
        self.shared.traces.committing();
        let result = match self.whole(self.shared.send_timeout).await {
            Ok(left) => {
                let result = transactions.commit(left).await;
                self.shared.whole.as_ref().into_iter().for_each(|whole| whole.committed(&result));
                result
            }
            Err(error) => Err(error),
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
        let result = transactions.abort(self.shared.send_timeout).await;
        self.shared.whole.as_ref().into_iter().for_each(|whole| whole.aborted(&result));
        self.shared.traces.aborted(&result);
        result
    }

    /// Waits until no send of the transaction can be missing. Answers the time that is left.
    async fn whole(&self, within: Duration) -> Result<Duration> {
        let Some(whole) = &self.shared.whole else { return Ok(within) };
        let begun = deadline::now();
        whole.committing(within).await?;
        Ok(within.saturating_sub(deadline::now().saturating_duration_since(begun)))
    }

    fn transactions(&self) -> Result<&dyn TransactionControl> {
        match self.shared.refusal() {
            Some(error) => Err(error),
            None => builder::transactions(&*self.shared.control),
        }
    }
}
