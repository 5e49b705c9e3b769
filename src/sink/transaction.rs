//! Transactions by hand.

use kafka_tower_core::{Result, TransactionControl};

use super::{KafkaSink, builder};

/// A transaction belongs to the sink and is shared by its clones: after `begin_transaction` what any of them sends joins it.
/// Needs `enable_transactions` and a `transactional_id`.
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
        self.transactions()?.begin().await?;
        self.shared.traces.begun();
        Ok(())
    }

    /// Waits for the records of the transaction and makes them visible, all or none, within `send_timeout_ms`.
    ///
    /// # Errors
    ///
    /// `NotPersisted`: nothing is visible; abort. `PossiblyPersisted`: **nobody knows**; do not replay before the topic was
    /// read. With [`Recovery::Retry`](crate::Recovery::Retry) call it again to go on waiting.
    ///
    /// # Cancel safety
    ///
    /// A commit that has begun goes on. Call it again to learn how it ended.
    pub async fn commit_transaction(&self) -> Result<()> {
        let transactions = self.transactions()?;
        self.shared.traces.committing();
        let result = transactions.commit(self.shared.send_timeout).await;
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
        self.shared.traces.aborted(&result);
        result
    }

    fn transactions(&self) -> Result<&dyn TransactionControl> {
        match self.shared.refusal() {
            Some(error) => Err(error),
            None => builder::transactions(&*self.shared.control),
        }
    }
}
