//! Transactions of the sink: its own methods, the guard, the closure, and the transactional ids in use.

mod claim;
mod closure;
mod guard;
mod replay;
mod sink;

use std::sync::Arc;

use kafka_tower_core::{
    ConsumerGroup, Error, ErrorKind, Persistence, Recovery, Result, TopicOffset, TransactionControl,
};

use super::KafkaSink;
use super::completeness::SinkTransactions;
use super::telemetry::no_transactions;

pub(super) use self::claim::Claim;
pub use self::guard::Transaction;
pub use self::replay::TransactionOptions;
pub use self::sink::TransactionSink;

/// Transactions need `enable_transactions` and a `transactional_id`. There are two ways:
///
/// | way | who sends in it | who ends it |
/// |---|---|---|
/// | [`transaction`](Self::transaction), [`in_transaction`](Self::in_transaction) | only the [`Transaction`] | its `commit` or `abort`; it is aborted if it is dropped |
/// | [`begin_transaction`](Self::begin_transaction) | the sink and all its clones | [`commit_transaction`](Self::commit_transaction) or [`abort_transaction`](Self::abort_transaction) of any clone |
///
/// A commit succeeds only if every record of the transaction was written, except sends whose error you have received:
/// you decide about those. If a record failed and its future was dropped before it returned the error, the commit is
/// refused. You may drop the future of a record that was handed over: if the record fails, the commit fails. This holds
/// for one sink and its clones, and for all sinks of a [`KafkaClient`](crate::KafkaClient#transactions); two other sinks over
/// one transport do not see each other's sends.
///
/// [`close`](KafkaSink::close) aborts an open transaction. So does dropping the last clone of the sink, for example
/// after an early return or a panic, so that `read_committed` readers are not held back. A commit in progress, or one
/// whose outcome is unknown, is continued and never aborted. The drop blocks its thread meanwhile: for a round trip to
/// the coordinator, at most 3 s if it does not answer.
///
/// # Misuse
///
/// Each misuse is a typed error, changes nothing and sends nothing:
///
/// | misuse | error | what to do |
/// |---|---|---|
/// | begin while a transaction is open | `Transaction`, `Reject` | commit or abort first |
/// | commit, abort, `send_offsets` or a send without an open transaction | `Transaction`, `Reject` | begin first |
/// | a plain send, or a manual commit or abort, while a [`Transaction`] is open | `Transaction`, `Reject` | use the methods of the `Transaction`, or end it first |
/// | a send of a [`Transaction`] that is first polled after its end | `Transaction`, `Reject` | poll it before |
/// | transactions on a sink without a transactional id | `Config` | set `enable_transactions` and `transactional_id` |
/// | a second sink of this process with the same brokers and transactional id | `Config`, before anything is sent | clone the first sink, or close it first |
/// | the guarantee `ExactlyOnce` without transactions | `Config` | set them, or use `AtLeastOnce` |
/// | `send_timeout_ms` above the property `transaction.timeout.ms` | `Config` | lower it, or raise the property |
/// | any of these calls on a sink with `transaction_batch` | `Transaction`, `Reject` | await each send |
///
/// Brokers are compared as they are written, in any order. A sink in another process is not seen: it takes the id over, and
/// this one fails with [`ErrorKind::Fenced`].
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
///
/// # Shared transactions
///
/// With [`transaction_batch`](crate::SinkBuilder#method.transaction_batch) the sends of all clones share transactions, which
/// costs one commit for many sends. A send resolves with `Ok`, and its offset, only after the commit of its transaction;
/// each other outcome is as truthful: see [the layer](crate::layers::transaction_batch). A batch of sends is not one
/// transaction: for that, use a [`Transaction`]. With
/// [`KafkaClientBuilder::transaction_batch`](crate::KafkaClientBuilder#method.transaction_batch) the sinks of a client share
/// transactions.
///
/// - [`flush`](KafkaSink::flush) commits what was sent, at once. [`close`](KafkaSink::close) does the same, and ends the sink.
/// - The layer replays aborted batches. The retry layer sends nothing again, because the guarantee is `ExactlyOnce`, and
///   `max_retries` has no effect. The circuit breaker is off, as in each sink with transactions.
/// - Its lanes have the transactional ids `{transactional_id}-0`, `{transactional_id}-1`, ….
/// - Refused before anything is sent, with [`ErrorKind::Config`]: no `enable_transactions` or
///   `transactional_id`; 0 lanes, records or bytes; an age above `transaction.timeout.ms` or `send_timeout_ms`; a timeout
///   above a third of `transaction.timeout.ms`; a second sink of this process that uses one of the ids.
impl<T> KafkaSink<T> {
    /// Begins a transaction, within `send_timeout_ms`. With librdkafka it asks a broker only if the previous transaction
    /// ended without a clean answer: then the producer is replaced first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] without `enable_transactions`;
    /// [`ErrorKind::Transaction`] if a transaction is open;
    /// [`ErrorKind::Fenced`] if another producer took over the transactional id. With
    /// [`Recovery::Retry`], no transaction is open: call it again to go on waiting.
    pub async fn begin_transaction(&self) -> Result<()> {
        self.transactions()?.begin(self.inner.parts.send_timeout).await
    }

    /// Waits for the records of the transaction, then makes all of them visible or none, within `send_timeout_ms`. It
    /// waits for records in flight, and for sends that still wait for room or for their serializer, as long as their
    /// futures are polled.
    ///
    /// # Errors
    ///
    /// `NotPersisted`: nothing is visible; abort. `PossiblyPersisted`: the outcome is **unknown**; do not replay before
    /// you have read the topic. With [`Recovery::Retry`], call it again to go on waiting.
    ///
    /// [`ErrorKind::Transaction`] also if a record would be missing without anyone
    /// knowing: it failed in the transport, or it failed or was dropped above the transport and its error was never
    /// observed. Examples: a send that was polled and dropped while it waited for room; a batch that was dropped before
    /// it had taken its last message, or whose errors were not read. With [`Recovery::Reject`]
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
        self.transactions()?.commit(self.inner.parts.send_timeout).await
    }

    /// Aborts the transaction within `send_timeout_ms`: none of its records ever becomes visible to `read_committed`
    /// readers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Transaction`] if no transaction is open, or if it could not be
    /// ended.
    ///
    /// # Cancel safety
    ///
    /// An abort that has begun goes on.
    pub async fn abort_transaction(&self) -> Result<()> {
        self.transactions()?.abort(self.inner.parts.send_timeout).await
    }

    /// Adds consumed offsets to the transaction, within `send_timeout_ms`: they take effect if and when it commits. The
    /// consumer of a consume-transform-produce loop commits them here and not by itself.
    ///
    /// Get `group` from the consumer for each transaction: a rebalance invalidates older metadata.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Transaction`] if no transaction is open, or if the group's metadata is
    /// not current: abort, and consume again from the committed offsets.
    ///
    /// # Cancel safety
    ///
    /// A request that was sent goes on. Abort the transaction, or send the same offsets again.
    pub async fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup) -> Result<()> {
        self.transactions()?.send_offsets(offsets, group, self.inner.parts.send_timeout).await
    }

    fn transactions(&self) -> Result<Arc<SinkTransactions>> {
        match self.inner.refusal() {
            Some(error) => Err(error),
            None if self.inner.parts.is_batched => Err(shared()),
            None => self.inner.parts.transactions.clone().ok_or_else(no_transactions),
        }
    }
}

/// Error of a transaction call on a sink whose sends share transactions.
fn shared() -> Error {
    Error::new(
        ErrorKind::Transaction,
        "the sends of this sink share transactions (`transaction_batch`), which it begins and ends itself",
    )
    .with_recovery(Recovery::Reject)
    .with_persistence(Persistence::NotPersisted)
    .with_help(
        "await each send: its `Ok` means that it is committed; for transactions of your own, build a sink without \
         `transaction_batch`, or its client",
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_text_matches_its_error() {
        kafka_tower_test_texts::assert_consistent(&super::shared());
    }
}
