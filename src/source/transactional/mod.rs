//! Consume, transform, produce: messages are handled, and what is made of them is sent in transactions together with their
//! offsets.
//!
//! | file | content |
//! |---|---|
//! | `cut.rs` | results that wait for their place, and when a transaction takes them (pure) |
//! | `plan.rs` | what follows the calls of a transaction (pure) |
//! | `letters.rs` | what is made of a message, and dead letters |
//! | `end.rs` | one transaction, from its begin until its end is known |
//! | `handlers.rs` | messages that wait for their turn, and handlers that run |
//! | `driver.rs` | the loop that connects them; `driver/transactions.rs`: which transaction it runs |

mod cut;
mod driver;
mod end;
mod handlers;
mod letters;
mod plan;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use kafka_tower_core::{BoxError, SinkMessage};

use kafka_tower_layers::dead_letter::DeadLetterLayer;

use self::driver::Driver;
use self::letters::DeadLetters;
use super::{FailurePolicy, KafkaSource, Order, SourceCloseReport, SourceError, SourceMessage};
use crate::sink::KafkaSink;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Limits of a [`Transactional`].
#[derive(Clone, Debug)]
struct Limits {
    records: usize,
    age: Duration,
    concurrency: usize,
    order: Order,
    policy: FailurePolicy,
}

impl<T: Send + 'static> KafkaSource<T> {
    /// Handles messages, and sends what the handler returns in transactions that also commit the messages' offsets: exactly
    /// once. `.await` it to run it.
    ///
    /// The source needs [`CommitStrategy::Transaction`](kafka_tower_core::source::CommitStrategy::Transaction), and the sink
    /// `enable_transactions`, a `transactional_id`, and no `transaction_batch`. Use the sink for nothing else meanwhile.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use kafka_tower::memory::MemoryKafka;
    /// use kafka_tower::{CommitStrategy, Error, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, SourceMessage};
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 3).with_topic("bills", 3);
    /// # let config = KafkaSinkConfig { topic: "orders".into(), ..Default::default() };
    /// # let orders = KafkaSink::<String>::builder(config).transport(kafka.transport()).build().await?;
    /// # orders.send_batch(["a".to_string(), "b".to_string()]).await?;
    /// let config = KafkaSourceConfig {
    ///     group_id: "billing".into(),
    ///     topics: vec!["orders".into()],
    ///     commit: CommitStrategy::Transaction,
    ///     ..Default::default()
    /// };
    /// let source = KafkaSource::<String>::builder(config).transport(kafka.clone()).build().await?;
    /// let config = KafkaSinkConfig::exactly_once("memory", "bills", "billing-1");
    /// let sink = KafkaSink::<String>::builder(config).transport(kafka.transactional_transport("billing-1")).build().await?;
    ///
    /// let report = source
    ///     .transactional(sink, |order: SourceMessage<String>| async move {
    ///         // Any number of outputs, also none.
    ///         Ok::<_, Error>(order.value().map(|order| format!("bill of {order}")))
    ///     })
    ///     .until(tokio::time::sleep(Duration::from_secs(1)))
    ///     .await?;
    /// assert_eq!(report.settled, 2);
    /// assert_eq!(kafka.committed("bills").len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Guarantee
    ///
    /// For a `read_committed` reader, the outputs of each message are there exactly once, and the outputs of a partition's
    /// messages have the order of these messages, as far as they go to the same partition. The handler itself may run more than
    /// once for a message, so what it does elsewhere is done at least once.
    ///
    /// | what happens | what follows |
    /// |---|---|
    /// | the handler fails or panics | the [policy](Transactional::on_failure) decides; by default as the next line says |
    /// | a message cannot be decoded, and is neither skipped nor [dead-lettered](Transactional::dead_letters) | the messages before it in its partition, and those of the other partitions that are being handled, are committed; then it ends with the error |
    /// | an output is refused | the transaction is aborted and its messages are handled again in smaller transactions, until the message is found: it ends with the error |
    /// | another error of the transaction | it is aborted, and its messages are handled again, with a growing delay |
    /// | partitions are taken back by the group | messages whose handlers have begun are committed, within `drain_timeout_ms`, with those before them |
    /// | partitions are lost | their messages are dropped, and the transaction that contains some is aborted |
    /// | it is unknown whether a transaction was committed | the sink replaces its producer, which ends the transaction; then the group is asked for its committed offsets, which have moved if and only if it was committed |
    /// | the sink cannot begin transactions any more, for example because another producer took over its transactional id | it ends with the error |
    ///
    /// An [`ack`](SourceMessage::ack) or `nack` of the handler has no effect.
    pub fn transactional<U, H, Fut>(self, sink: KafkaSink<U>, handler: H) -> Transactional<T, U, H>
    where
        H: FnMut(SourceMessage<T>) -> Fut,
        Fut: Future,
    {
        let (policy, order) = (FailurePolicy::fail(), Order::default());
        let limits = Limits { records: 1_000, age: Duration::from_millis(100), concurrency: 64, order, policy };
        Transactional { source: self, sink, handler, limits, letters: None, until: None }
    }
}

/// Consume, transform, produce: see [`KafkaSource::transactional`]. `.await` it to run it.
///
/// # Errors
///
/// [`SourceErrorKind`](super::SourceErrorKind):
/// `Handler` and `Decode` for the message that could not be handled; `Transaction` and `Fenced` with the sink's error as the
/// source; `DeadLetter` for the message whose dead letter is refused; `Config` if the source does not commit in transactions, if a
/// policy has a dead letter service, or if [`dead_letters`](Self::dead_letters) are set for a sink over a stack of your own. The
/// source has left its group then, and all that is not committed is read again by the next member.
///
/// # Cancel safety
///
/// Dropping the future cancels the handlers, aborts an open transaction in the background, and drops the source. A commit that
/// was requested goes on.
#[must_use = "nothing is read unless it is awaited"]
pub struct Transactional<T, U, H> {
    source: KafkaSource<T>,
    sink: KafkaSink<U>,
    handler: H,
    limits: Limits,
    letters: Option<DeadLetterLayer>,
    until: Option<BoxFuture<()>>,
}

impl<T, U, H> Transactional<T, U, H> {
    /// Sets the maximum number of messages in a transaction, at least 1. As many may be handled while it is committed. Default:
    /// 1 000.
    pub fn max_records(mut self, records: usize) -> Self {
        self.limits.records = records.max(1);
        self
    }

    /// Sets how long the outputs of a handled message wait for those of others before a transaction is begun. Default: 100 ms.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.limits.age = age;
        self
    }

    /// Sets the maximum number of handlers that run at the same time, at least 1. Default: 64.
    ///
    /// Of each partition, at most four times as many messages (at least 64) are handled or wait for their lane or a place.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.limits.concurrency = handlers.max(1);
        self
    }

    /// Sets which messages are handled one at a time, in the order of their offsets. Default: [`Order::Key`].
    ///
    /// Whatever it is, the outputs of a partition's messages are sent in the order of these messages.
    pub fn order(mut self, order: Order) -> Self {
        self.limits.order = order;
        self
    }

    /// Sets what happens to a message whose handler failed or panicked. Default: [`FailurePolicy::fail`].
    ///
    /// A message that is handled again is read again from Kafka, with what follows it in its partition. A policy with a dead
    /// letter service is refused, because its dead letters would not be in the transaction:
    /// [`dead_letters`](Self::dead_letters) are.
    pub fn on_failure(mut self, policy: FailurePolicy) -> Self {
        self.limits.policy = policy;
        self
    }

    /// Sends the dead letter of what would end it with the kinds [`Handler`](super::SourceErrorKind::Handler) and
    /// [`Decode`](super::SourceErrorKind::Decode), and goes on: messages for which the [policy](Self::on_failure) has no retry
    /// left, and records that cannot be decoded. What policies skip is skipped. Default: no dead letters.
    ///
    /// A dead letter takes the place of the outputs: it is in the transaction with the offset of its message, so that it is there
    /// exactly once for a `read_committed` reader. The sink's transport sends it, past its serializer and your layers. The topic has to
    /// exist, and the layer's [`timeout`](DeadLetterLayer::timeout) has no effect: `send_timeout_ms` counts. If a dead letter is
    /// [refused](crate::layers::dead_letter#loops), it ends with the kind [`DeadLetter`](super::SourceErrorKind::DeadLetter).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use kafka_tower::layers::dead_letter::DeadLetterLayer;
    /// use kafka_tower::memory::MemoryKafka;
    /// use kafka_tower::source::FailurePolicy;
    /// use kafka_tower::{CommitStrategy, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, Record, SourceMessage};
    /// use tower::ServiceExt;
    ///
    /// async fn bill(order: SourceMessage<u32>) -> Result<Option<u32>, String> {
    ///     match order.value() {
    ///         Some(13) => Err("it was not paid".to_string()),
    ///         order => Ok(order.copied()),
    ///     }
    /// }
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 1).with_topic("orders.dlq", 1).with_topic("bills", 1);
    /// # for value in ["12", "13", "no number", "14"] {
    /// #     kafka.transport().oneshot(Record::new("orders").with_value(value)).await?;
    /// # }
    /// let config = KafkaSourceConfig {
    ///     group_id: "billing".into(),
    ///     topics: vec!["orders".into()],
    ///     commit: CommitStrategy::Transaction,
    ///     ..Default::default()
    /// };
    /// let source = KafkaSource::<u32>::builder(config).transport(kafka.clone()).build().await?;
    /// let config = KafkaSinkConfig::exactly_once("memory", "bills", "billing-1");
    /// let sink = KafkaSink::<u32>::builder(config).transport(kafka.transactional_transport("billing-1")).build().await?;
    ///
    /// let report = source
    ///     .transactional(sink, bill)
    ///     .on_failure(FailurePolicy::retry(2))
    ///     .dead_letters(DeadLetterLayer::default())
    ///     .until(tokio::time::sleep(Duration::from_secs(10)))
    ///     .await?;
    /// assert_eq!((report.settled, report.dead_lettered), (2, 2));
    /// assert_eq!((kafka.committed("bills").len(), kafka.committed("orders.dlq").len()), (2, 2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn dead_letters(mut self, layer: DeadLetterLayer) -> Self {
        self.letters = Some(layer);
        self
    }

    /// Ends when `shutdown` is ready: no message is received any more, and those that are being handled are committed, within
    /// `drain_timeout_ms`. Default: it ends when the source is closed by its [control](KafkaSource::control).
    pub fn until<F>(mut self, shutdown: F) -> Self
    where
        F: Future + Send + 'static,
    {
        self.until = Some(Box::pin(async move {
            shutdown.await;
        }));
        self
    }
}

impl<T, U, H, Fut, I, E> IntoFuture for Transactional<T, U, H>
where
    T: Send + 'static,
    U: Send + 'static,
    H: FnMut(SourceMessage<T>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<I, E>> + Send + 'static,
    I: IntoIterator + 'static,
    I::Item: Into<SinkMessage<U>>,
    E: Into<BoxError> + 'static,
{
    type Output = Result<SourceCloseReport, SourceError>;

    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { mut source, sink, handler, limits, letters, until } = self;
        Box::pin(async move {
            if !source.shared.is_transactional() {
                return Err(SourceError::not_transactional());
            }
            if source.reader.has_dead_letters() || limits.policy.letters().is_some() {
                return Err(SourceError::with_dead_letters());
            }
            let letters = match letters {
                Some(layer) => {
                    source.reader.keep_raw();
                    source.reader.hand_out_undecoded();
                    let encoded = sink.encoded().ok_or_else(SourceError::foreign_stack)?;
                    Some(DeadLetters { layer, encoded })
                }
                None => None,
            };
            Driver::new(source, sink, handler, limits, letters, until).run().await
        })
    }
}

impl<T, U, H> fmt::Debug for Transactional<T, U, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactional")
            .field("source", &self.source)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
