use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use kafka_tower_core::{ConsumerGroup, Error, Persistence, Record, Recovery, Result, SinkMessage, TopicOffset};
use tokio::runtime::Handle;

use super::super::KafkaSink;
use super::super::batch::SendBatch;
use super::super::completeness::{Owner, Released, SinkTransactions};
use super::super::inner::SinkInner;
use super::super::send::SendFuture;
use super::super::shard::Shards;
use super::super::stream::SendStream;
use super::sink::{TransactionSink, foreign_sink};

/// An open transaction that one owner controls: [`KafkaSink::transaction`](crate::KafkaSink::transaction).
///
/// Only its own `send` methods join it. A plain send of the sink or of a clone fails meanwhile with
/// [`ErrorKind::Transaction`](crate::ErrorKind::Transaction), `Reject` and `NotPersisted`. Share it between tasks by
/// reference or in an `Arc`; the futures of its sends borrow nothing.
///
/// End it with [`commit`](Self::commit) or [`abort`](Self::abort). Dropped without an end, it is aborted, and a warning is
/// logged: in a task of the current tokio runtime, or outside of one by the next `transaction` or `begin_transaction` and
/// by `close`. From the drop on no send joins it, and the next transaction begins only after the abort.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kafka_tower::Result<()> {
/// use kafka_tower::memory::MemoryKafka;
/// use kafka_tower::{KafkaSink, KafkaSinkConfig};
///
/// let kafka = MemoryKafka::new().with_topic("orders", 1);
/// let config = KafkaSinkConfig::exactly_once("memory", "orders", "billing-1");
/// let sink = KafkaSink::<String>::builder(config).transport(kafka.transactional_transport("billing-1")).build().await?;
///
/// let tx = sink.transaction().await?;
/// tx.send("a".to_string()).await?;
/// tx.send_batch(["b".to_string(), "c".to_string()]).await?;
/// tx.commit().await?;
/// assert_eq!(kafka.committed("orders").len(), 3);
/// # Ok(())
/// # }
/// ```
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction<T> {
    inner: Arc<Shards<T>>,
    open: OpenGuard,
}

impl<T> Transaction<T> {
    pub(super) async fn begin(sink: &SinkInner<T>, transactions: Arc<SinkTransactions>) -> Result<Self> {
        let within = sink.parts.send_timeout;
        // Made before the transport is asked, so that dropping this future aborts what the transport may open.
        let mut open = None;
        let begins = |number| open = Some(OpenGuard::new(Arc::clone(&transactions), number, within));
        transactions.begin_for(Owner::Guard, within, begins).await?;
        let Some(open) = open else { unreachable!("a transaction that was begun has a number") };
        Ok(Self { inner: Shards::new(sink.guarded(open.number)), open })
    }

    /// Sends one message in the transaction, as [`KafkaSink::send`](crate::KafkaSink::send) does. The record is in the log
    /// when the future resolves, and `read_committed` readers see it only after the commit.
    ///
    /// # Errors
    ///
    /// As [`KafkaSink::send`](crate::KafkaSink::send); also if the future is first polled after the end of the
    /// transaction.
    ///
    /// # Cancel safety
    ///
    /// As [`KafkaSink::send`](crate::KafkaSink::send): dropping the future before hand-over makes the commit fail.
    pub fn send(&self, message: impl Into<SinkMessage<T>>) -> SendFuture<T> {
        SendFuture::new(self.inner.shard(), message.into())
    }

    /// Sends messages in order in the transaction, as [`KafkaSink::send_batch`](crate::KafkaSink::send_batch) does.
    ///
    /// # Errors
    ///
    /// As [`KafkaSink::send_batch`](crate::KafkaSink::send_batch).
    ///
    /// # Cancel safety
    ///
    /// As [`KafkaSink::send_batch`](crate::KafkaSink::send_batch).
    pub fn send_batch<I>(&self, messages: I) -> SendBatch<T, I::IntoIter>
    where
        I: IntoIterator,
        I::Item: Into<SinkMessage<T>>,
    {
        SendBatch::new(self.inner.inner(), messages.into_iter())
    }

    /// Sends to another sink of the same [`KafkaClient`](crate::KafkaClient#transactions) in this transaction: a commit covers the
    /// records of both.
    ///
    /// If it is no sink of the same client, its sends fail with [`ErrorKind::Config`](crate::ErrorKind::Config).
    pub fn sink<U>(&self, sink: &KafkaSink<U>) -> TransactionSink<U> {
        let inner = &sink.inner;
        let is_same = inner.parts.transactions.as_ref().is_some_and(|its| Arc::ptr_eq(its, &self.open.transactions));
        TransactionSink::new(if is_same { inner.guarded(self.open.number) } else { inner.with_fault(foreign_sink()) })
    }

    /// Sends records as they are, in order, in the transaction. `encoded` is a sink that
    /// [`KafkaSink::encoded`](crate::KafkaSink::encoded) has made of this transaction's sink.
    pub(crate) fn send_records(
        &self,
        encoded: &KafkaSink<Bytes>,
        records: Vec<Record>,
    ) -> SendBatch<Bytes, impl Iterator<Item = SinkMessage<Bytes>> + use<T>> {
        let messages = records.into_iter().map(SinkMessage::from_record);
        SendBatch::new(Arc::new(encoded.inner.guarded(self.open.number)), messages)
    }

    /// Sends a stream of messages in the transaction, as [`KafkaSink::send_stream`](crate::KafkaSink::send_stream) does.
    pub fn send_stream<S>(&self, messages: S) -> SendStream<T, S>
    where
        S: Stream,
        S::Item: Into<SinkMessage<T>>,
    {
        SendStream::new(self.inner.inner(), messages)
    }

    /// Adds consumed offsets to the transaction, as [`KafkaSink::send_offsets`](crate::KafkaSink::send_offsets) does.
    ///
    /// # Errors
    ///
    /// As [`KafkaSink::send_offsets`](crate::KafkaSink::send_offsets).
    ///
    /// # Cancel safety
    ///
    /// A request that was sent goes on.
    pub async fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup) -> Result<()> {
        self.send_offsets_within(offsets, group, self.open.within).await
    }

    /// The same, within this time.
    pub(crate) async fn send_offsets_within(
        &self,
        offsets: Vec<TopicOffset>,
        group: ConsumerGroup,
        within: Duration,
    ) -> Result<()> {
        self.check()?;
        self.open.transactions.offsets_for(Some(self.open.number), offsets, group, within).await
    }

    /// Commits the transaction, within `send_timeout_ms`.
    ///
    /// # Errors
    ///
    /// | persistence | recovery | the transaction | what to do |
    /// |---|---|---|---|
    /// | `NotPersisted` | `AbortTransaction` | was aborted by this call, within the same time again | send its messages again in a new one |
    /// | `NotPersisted` | `Retry` | is still waiting for its records | [`commit_transaction`](crate::KafkaSink::commit_transaction) of the sink goes on waiting |
    /// | `PossiblyPersisted` | `Retry` | was requested to commit, without an answer | the same |
    /// | `PossiblyPersisted` | `Fatal` | may be committed; it is unknown | do not replay: create a new sink, read the topic |
    ///
    /// Refused with `NotPersisted` and `AbortTransaction` for the reasons that
    /// [`commit_transaction`](crate::KafkaSink::commit_transaction) names.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts the transaction, unless the transport was asked to commit: then the commit goes on, and
    /// [`commit_transaction`](crate::KafkaSink::commit_transaction) of the sink returns how it ended.
    pub async fn commit(self) -> Result<()> {
        self.try_commit().await.map_err(|failed| failed.error)
    }

    /// `send_timeout_ms`: the time that each call may take.
    pub(crate) fn within(&self) -> Duration {
        self.open.within
    }

    pub(super) async fn try_commit(&self) -> Result<(), NotCommitted> {
        let kept = |error| NotCommitted { error, aborted: false };
        self.check().map_err(kept)?;
        let OpenGuard { transactions, number, within, .. } = &self.open;
        let Err(error) = transactions.commit_for(Some(*number), *within).await else {
            self.open.ends();
            return Ok(());
        };
        // Refused before the coordinator was asked, so an abort contradicts nothing.
        let aborted = transactions.is_open(*number) && transactions.abort_for(Some(*number), *within).await.is_ok();
        let goes_on = !aborted && self.open.release() == Released::Abort;
        self.open.ends();
        Err(if aborted || goes_on { NotCommitted { error: refused(error, aborted), aborted } } else { kept(error) })
    }

    /// Aborts the transaction, within `send_timeout_ms`: none of its records ever becomes visible to `read_committed`
    /// readers.
    ///
    /// # Errors
    ///
    /// If the abort had no answer. It goes on in the background, as after a drop.
    ///
    /// # Cancel safety
    ///
    /// The abort goes on.
    pub async fn abort(self) -> Result<()> {
        self.try_abort().await
    }

    pub(super) async fn try_abort(&self) -> Result<()> {
        self.check()?;
        let OpenGuard { transactions, number, within, .. } = &self.open;
        let aborted = transactions.abort_for(Some(*number), *within).await;
        if aborted.is_err() {
            self.open.release();
        }
        self.open.ends();
        aborted
    }

    /// What the drop does, once.
    pub(super) fn give_up(&self) {
        self.open.give_up();
    }

    fn check(&self) -> Result<()> {
        self.inner.refusal().map_or(Ok(()), Err)
    }
}

/// Why a transaction was not committed.
pub(super) struct NotCommitted {
    pub(super) error: Error,
    /// It was certainly aborted.
    pub(super) aborted: bool,
}

/// Error of a commit that was refused before the coordinator was asked. The guard has aborted the transaction, or its drop
/// does.
fn refused(error: Error, aborted: bool) -> Error {
    let help = match aborted {
        true => "the transaction was aborted: send its messages again in a new transaction",
        false => "the abort goes on in the background: send its messages again in the next transaction",
    };
    match error.recovery() {
        Recovery::Fatal => error,
        // A certain answer, so that it can be replayed.
        _ if error.persistence() == Persistence::NotPersisted => {
            error.with_recovery(Recovery::AbortTransaction).with_help(help)
        }
        _ => error,
    }
}

/// What a guard holds: its drop releases the transaction.
struct OpenGuard {
    transactions: Arc<SinkTransactions>,
    number: u64,
    within: Duration,
    /// It was ended, and needs no release.
    ended: AtomicBool,
}

impl OpenGuard {
    fn new(transactions: Arc<SinkTransactions>, number: u64, within: Duration) -> Self {
        Self { transactions, number, within, ended: AtomicBool::new(false) }
    }

    /// Gives the transaction up. If it is open, it is aborted in the background.
    fn release(&self) -> Released {
        let released = self.transactions.release(self.number);
        if let (Released::Abort, Ok(runtime)) = (released, Handle::try_current()) {
            let (transactions, within) = (Arc::clone(&self.transactions), self.within);
            runtime.spawn(async move {
                if let Err(error) = transactions.abort_dropped(within).await {
                    tracing::warn!(error = error.message(), "a transaction without an owner is not aborted yet");
                }
            });
        }
        released
    }

    fn ends(&self) {
        self.ended.store(true, Ordering::Release);
    }

    fn give_up(&self) {
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        match self.release() {
            Released::Ended => {}
            Released::Abort => {
                tracing::warn!("a transaction was dropped without `commit` or `abort`: it is aborted");
            }
            Released::Committing => tracing::warn!(
                "a transaction was dropped while its commit was under way: the commit goes on, and \
                 `KafkaSink::commit_transaction` returns how it ended"
            ),
        }
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl<T> fmt::Debug for Transaction<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("number", &self.open.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::ErrorKind;
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    #[test]
    fn a_refused_commit_says_that_its_transaction_was_aborted() {
        for recovery in [Recovery::Retry, Recovery::AbortTransaction, Recovery::Reject] {
            for aborted in [true, false] {
                let error =
                    Error::new(ErrorKind::Transaction, "not committed: a send is missing").with_recovery(recovery);
                let error = refused(error, aborted);
                assert_eq!(error.recovery(), Recovery::AbortTransaction);
                assert!(
                    error.help().contains("next transaction") || error.help().contains("new transaction"),
                    "{error}"
                );
                assert_consistent(&error);
            }
        }
        let fatal = Error::new(ErrorKind::Fatal, "gone").with_persistence(Persistence::NotPersisted);
        assert_eq!(refused(fatal, false).recovery(), Recovery::Fatal);
    }
}
