use std::any::Any;
use std::future::Future;
use std::sync::Arc;

use kafka_tower_core::{Error, Result};

use super::super::KafkaSink;
use super::guard::{NotCommitted, Transaction};
use super::replay::TransactionOptions;

impl<T> KafkaSink<T> {
    /// Begins a transaction whose owner is the returned [`Transaction`]: only its own sends join it, and it is aborted if it
    /// is dropped without an end. First waits until a transaction that was dropped before is aborted.
    ///
    /// # Errors
    ///
    /// As [`begin_transaction`](Self::begin_transaction).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts a transaction that it has begun.
    pub async fn transaction(&self) -> Result<Transaction<T>> {
        Transaction::begin(&self.inner, self.transactions()?).await
    }

    /// Calls a closure in a transaction: commits if it returns `Ok`, and aborts if it returns `Err`. Replays it up to three
    /// times where that is safe: see [`in_transaction_with`](Self::in_transaction_with).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kafka_tower::Result<()> {
    /// # use kafka_tower::memory::MemoryKafka;
    /// # use kafka_tower::{Error, KafkaSink, KafkaSinkConfig};
    /// # let kafka = MemoryKafka::new().with_topic("orders", 1);
    /// # let config = KafkaSinkConfig::exactly_once("memory", "orders", "billing-1");
    /// # let transport = kafka.transactional_transport("billing-1");
    /// # let sink = KafkaSink::<String>::builder(config).transport(transport).build().await?;
    /// let sent = sink
    ///     .in_transaction(async |tx| {
    ///         tx.send("debit".to_string()).await?;
    ///         tx.send("credit".to_string()).await?;
    ///         Ok::<_, Error>(2)
    ///     })
    ///     .await?;
    /// assert_eq!(kafka.committed("orders").len(), sent);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`in_transaction_with`](Self::in_transaction_with).
    ///
    /// # Cancel safety
    ///
    /// As [`in_transaction_with`](Self::in_transaction_with).
    pub async fn in_transaction<R, E, F, Fut>(&self, body: F) -> Result<R, E>
    where
        F: FnMut(Arc<Transaction<T>>) -> Fut,
        Fut: Future<Output = Result<R, E>>,
        E: From<Error> + 'static,
    {
        self.in_transaction_with(TransactionOptions::new(), body).await
    }

    /// Calls a closure in a transaction, with options.
    ///
    /// The closure is called again only after its transaction was certainly aborted: the commit, or the closure with `E` =
    /// [`Error`], returned `NotPersisted` with [`Recovery::AbortTransaction`](crate::Recovery::AbortTransaction), and the
    /// abort succeeded. It is never called again after a commit whose outcome is unknown. Read what the closure sends
    /// inside of it, so that each call sends the same.
    ///
    /// # Errors
    ///
    /// The closure's error, after the abort; if the abort has no answer, it goes on in the background. Otherwise the error of
    /// the begin or of the commit: see [`Transaction::commit`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts the transaction, unless the transport was asked to commit.
    pub async fn in_transaction_with<R, E, F, Fut>(&self, options: TransactionOptions, mut body: F) -> Result<R, E>
    where
        F: FnMut(Arc<Transaction<T>>) -> Fut,
        Fut: Future<Output = Result<R, E>>,
        E: From<Error> + 'static,
    {
        let mut replayed = 0;
        loop {
            let tx = Running(Arc::new(self.transaction().await?));
            match body(Arc::clone(&tx.0)).await {
                Ok(value) => match tx.0.try_commit().await {
                    Ok(()) => return Ok(value),
                    Err(NotCommitted { error, aborted }) => {
                        if !options.replays_after(&error, aborted, replayed) {
                            return Err(error.into());
                        }
                    }
                },
                Err(error) => {
                    let aborted = tx.0.try_abort().await.is_ok();
                    let of_kafka = (&error as &dyn Any).downcast_ref::<Error>();
                    if !of_kafka.is_some_and(|error| options.replays_after(error, aborted, replayed)) {
                        return Err(error);
                    }
                }
            }
            replayed += 1;
            tracing::debug!(replayed, "the transaction was aborted and is replayed");
        }
    }
}

/// Gives the transaction up if `in_transaction` is dropped, also if the closure has put a clone elsewhere.
struct Running<T>(Arc<Transaction<T>>);

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}
