//! [`KafkaSource`]: reads typed messages, and commits only what was handled.

mod blocks;
mod builder;
mod checkpoint;
mod close;
#[cfg(feature = "rdkafka")]
mod connect_rdkafka;
mod contents;
mod control;
mod decode_policy;
mod error;
mod failure;
mod letters;
mod listener;
mod log;
mod message;
mod place;
mod reader;
mod receipt;
mod serve;
mod shared;
mod telemetry;
mod transactional;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use kafka_tower_core::{BoxError, ConsumerGroup, TopicPartition};
use tower_service::Service;

use crate::KafkaSourceConfig;
pub use crate::preflight::source::SourcePreflightReport;

pub use builder::{DefaultDeserializer, NoTransport, SourceBuilder};
pub use checkpoint::Checkpoint;
pub use close::SourceCloseReport;
pub use control::SourceControl;
pub use decode_policy::DecodePolicy;
pub use error::{SourceError, SourceErrorKind, SourceRecovery};
pub use listener::RebalanceListener;
pub use message::SourceMessage;
use reader::Reader;
pub use receipt::{Acked, Receipt};
pub use serve::{FailurePolicy, Order, Serve, Settlement};
use shared::Shared;
pub use transactional::Transactional;

/// Reads the messages of a consumer group. A message is committed after it was acknowledged, and never before.
///
/// It reads through librdkafka (feature `rdkafka`), from the in-memory Kafka, or through a transport of your own
/// ([`ConsumerTransport`](kafka_tower_core::ConsumerTransport)).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use kafka_tower::memory::MemoryKafka;
/// use kafka_tower::{KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig};
///
/// let kafka = MemoryKafka::new().with_topic("orders", 3);
/// let config = KafkaSinkConfig { topic: "orders".into(), ..Default::default() };
/// let sink = KafkaSink::<String>::builder(config).transport(kafka.transport()).build().await?;
/// sink.send("first".to_string()).await?;
///
/// let config = KafkaSourceConfig {
///     group_id: "billing".into(),
///     topics: vec!["orders".into()],
///     ..Default::default()
/// };
/// let mut source = KafkaSource::<String>::builder(config).transport(kafka.clone()).build().await?;
/// let order = source.recv().await?;
/// assert_eq!(order.value().unwrap(), "first");
/// order.ack();
///
/// let report = source.close().await;
/// assert!(report.is_complete());
/// assert_eq!(kafka.committed_offset("billing", "orders", order.partition()), Some(1));
/// # Ok(())
/// # }
/// ```
///
/// # Guarantee
///
/// At least once, unless [`commit`](KafkaSourceConfig::commit) is `AtMostOnce`: a message whose [`ack`](SourceMessage::ack)
/// was not called is delivered again, to this source or to another member of the group, unless it could not be decoded and
/// was [skipped](DecodePolicy). The committed offset of a partition never passes an unsettled message, in whatever order messages are acknowledged. Messages behind the first unsettled one are read
/// again after a crash, even if they were acknowledged.
///
/// | what happened to a message | what follows |
/// |---|---|
/// | `ack()` | settled: committed as [`commit`](KafkaSourceConfig::commit) says |
/// | `nack(reason)`, or dropped | delivered again after a back-off, with what follows it in its partition |
/// | it could not be decoded | by default [`recv`](Self::recv) returns the error with the original record, and its partition waits until the error is [skipped](SourceError::skip) or dropped, which delivers it again; see [`DecodePolicy`] |
/// | its partition was given to another member | `ack()` returns [`Acked::Stale`]: the new owner reads it again |
///
/// # Rebalances
///
/// When the group takes partitions back, the source stops reading them, waits up to `drain_timeout_ms` for the messages in the
/// application's hands, commits what is settled, and gives them back. This does not depend on calls of `recv`. A
/// [`RebalanceListener`] takes part in it.
///
/// # Dropping
///
/// Dropping the source does not wait. In the background it closes as [`close`](Self::close) does, but waits only one second
/// for messages in the application's hands. A warning says what was left. `close` waits and reports.
pub struct KafkaSource<T> {
    shared: Arc<Shared>,
    reader: Reader<T>,
    drain: Duration,
    buffer_bytes: usize,
}

impl<T: Send + 'static> KafkaSource<T> {
    /// Returns a builder.
    pub fn builder(config: KafkaSourceConfig) -> SourceBuilder<T> {
        SourceBuilder::new(config)
    }

    /// Receives the next message of any partition.
    ///
    /// # Errors
    ///
    /// [`SourceError::recovery`] says how to go on: settle the record of a decode error, continue, or stop because the source
    /// was closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no message is lost.
    pub async fn recv(&mut self) -> Result<SourceMessage<T>, SourceError> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<SourceMessage<T>, SourceError>> {
        if self.shared.is_transactional() {
            return Poll::Ready(Err(SourceError::in_transactions()));
        }
        self.reader.poll(&self.shared, unbounded, cx)
    }

    /// Commits what is settled now, of each partition up to the first message that is not, and waits for the answer. For
    /// [`CommitStrategy::Manual`], and as an addition for the others.
    ///
    /// [`CommitStrategy::Manual`]: kafka_tower_core::source::CommitStrategy::Manual
    ///
    /// # Errors
    ///
    /// [`SourceErrorKind::Config`] with the strategies `Checkpoint` and `Transaction`. [`SourceErrorKind::Commit`] if an offset was refused, or had no answer within `commit_timeout_ms`: it may have been
    /// committed, stays due and is sent again. [`SourceErrorKind::PartitionsLost`] if, since the call before, a partition was
    /// lost or given back with settled messages that were not committed, as far as is known; one call says so. The offsets
    /// of other partitions are committed as well, but that call need not wait for the answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not cancel the commit.
    pub fn commit(&self) -> impl Future<Output = Result<(), SourceError>> + Send + use<T> {
        let may = self.shared.may_commit();
        let begun = may.map(|()| self.shared.begin_commit(|engine| engine.commit_now(shared::now())));
        async move { begun?.ended().await }
    }

    /// The next offset to read of each partition that this source has: everything before it is settled.
    ///
    /// For [`CommitStrategy::Checkpoint`]: add the message in hand, store the checkpoint in one transaction with its result, and
    /// acknowledge the message afterwards. Until then its partition is not given back, at most for `drain_timeout_ms`. The
    /// transaction must refuse an offset that is not greater than the stored one: it comes from a source that has lost the
    /// partition.
    ///
    /// ```
    /// # use kafka_tower::source::Checkpoint;
    /// # use kafka_tower::{CommitStrategy, KafkaSource, SourceError, SourceMessage};
    /// # async fn store(_: &SourceMessage<String>, _: &Checkpoint) {}
    /// # async fn example(mut source: KafkaSource<String>) -> Result<(), SourceError> {
    /// while let Ok(message) = source.recv().await {
    ///     let mut checkpoint = source.checkpoint();
    ///     checkpoint.insert(message.at(), message.offset() + 1);
    ///     store(&message, &checkpoint).await;
    ///     message.ack();
    ///     // Only for those who look at the group's lag.
    ///     source.commit_checkpoint(&checkpoint).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`CommitStrategy::Checkpoint`]: kafka_tower_core::source::CommitStrategy::Checkpoint
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.shared.state().engine.checkpoint().into_iter().collect()
    }

    /// Commits these offsets, of each partition at most up to the first message that is not settled, and waits for the answer.
    ///
    /// # Errors
    ///
    /// [`SourceErrorKind::PartitionsLost`] for partitions that this source does not have any more: the others are committed,
    /// but the call need not wait for that. [`SourceErrorKind::Commit`] as for [`commit`](Self::commit).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not cancel the commit.
    pub fn commit_checkpoint(
        &self,
        checkpoint: &Checkpoint,
    ) -> impl Future<Output = Result<(), SourceError>> + Send + use<T> {
        let may = if self.shared.is_transactional() { self.shared.may_commit() } else { Ok(()) };
        let begun =
            may.map(|()| self.shared.begin_commit(|engine| engine.commit_offsets(checkpoint.iter(), shared::now())));
        async move { begun?.ended().await }
    }

    /// Stops receiving, waits up to `drain_timeout_ms` for the messages in the application's hands, commits what is settled,
    /// and leaves the group.
    ///
    /// It waits the whole time for a message that the caller itself holds. A second call waits for the same end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not cancel the close. Call `close` again to get the report.
    pub fn close(&self) -> impl Future<Output = SourceCloseReport> + Send + use<T> {
        self.close_within(self.drain)
    }

    /// As [`close`](Self::close), with another time for the messages in the application's hands. The commit may then take
    /// `commit_timeout_ms`, and leaving the group 5 s.
    ///
    /// # Cancel safety
    ///
    /// As `close`.
    pub fn close_within(&self, within: Duration) -> impl Future<Output = SourceCloseReport> + Send + use<T> {
        self.shared.close(within)
    }

    /// Returns a handle that closes the source from another task.
    #[must_use]
    pub fn control(&self) -> SourceControl {
        SourceControl::new(Arc::clone(&self.shared), self.drain)
    }

    /// Gives each message to a tower service, until the source is closed or a message fails.
    ///
    /// The answer settles the message: `Ok(())` acknowledges it, and an error is a failure. See [`Serve`].
    pub fn serve<S>(self, service: S) -> Serve<T, S>
    where
        S: Service<SourceMessage<T>>,
        S::Response: Into<Settlement>,
        S::Error: Into<BoxError>,
    {
        Serve::new(self, service)
    }

    /// The metadata of this member of the group; `None` before it has joined.
    ///
    /// Do not use it to commit offsets in a transaction by hand: the group does not check which member owns a partition.
    #[must_use]
    pub fn group(&self) -> Option<ConsumerGroup> {
        self.shared.consumer().group()
    }
}

/// Ends after [`close`](KafkaSource::close) was called, and not before.
impl<T: Send + 'static> Stream for KafkaSource<T> {
    type Item = Result<SourceMessage<T>, SourceError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(cx).map(|received| match received {
            Err(error) if error.kind() == SourceErrorKind::Closed => None,
            received => Some(received),
        })
    }
}

/// Room for messages that are received one by one.
fn unbounded(_: &TopicPartition) -> usize {
    usize::MAX
}

impl<T> Drop for KafkaSource<T> {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

impl<T> fmt::Debug for KafkaSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource").field("consumer", self.shared.consumer()).finish_non_exhaustive()
    }
}
