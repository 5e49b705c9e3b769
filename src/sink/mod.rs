//! The sink: one type parameter, with any stack and transport behind it.
//!
//! [`KafkaSink`] boxes its stack, so that a struct that holds a sink names neither layers nor transport: the same field
//! holds a sink over librdkafka in production and over the memory transport in a test. Over a transport of another package, or
//! with layers of the user, that costs one allocation per message; [`stack::default`] is the same stack without the box.

mod admission;
mod batch;
mod boxed;
mod builder;
mod called;
mod client;
mod client_transport;
mod close;
mod commit_doubt;
mod completeness;
#[cfg(feature = "rdkafka")]
mod connect_rdkafka;
mod control;
mod deadline;
mod drain;
mod in_flight;
mod inner;
mod many;
mod of_type;
mod open_sends;
mod options;
mod send;
mod service;
mod service_options;
mod shard;
pub mod stack;
mod stack_future;
mod stack_layer;
mod stream;
mod telemetry;
mod transaction;
mod transaction_batch;
mod with;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use kafka_tower_core::{Control, Delivery, Error, Result, SinkMessage};
use kafka_tower_layers::circuit_breaker::CircuitBreakerHandle;
use kafka_tower_layers::metrics::SinkMetrics;
use tower_service::Service;

use boxed::DynStack;
use control::SharedTransactions;
use inner::{SharedParts, SinkInner};
use shard::Shards;

pub use batch::SendBatch;
pub use builder::{Connect, DefaultSerializer, Given, NoSerializer, SinkBuilder};
pub use client::{KafkaClient, KafkaClientBuilder, Shared};
pub use client_transport::ClientTransport;
pub use close::CloseError;
pub use send::SendFuture;
pub use service::ResponseFuture;
pub use service_options::ServiceOptions;
pub use stack_layer::{StackLayer, StackService};
pub use stream::SendStream;
pub use transaction::{Transaction, TransactionOptions, TransactionSink};
pub use transaction_batch::{Batched, Lanes, TransactionBatchOptions};

/// Sends messages of type `T` to Kafka.
///
/// A clone is a handle to the same sink: cloning increments a reference count, and closing one clone closes them all.
/// All methods take `&self`, and one sink can have any number of sends in flight at once.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kafka_tower::Result<()> {
/// use kafka_tower::memory::MemoryKafka;
/// use kafka_tower::{KafkaSink, KafkaSinkConfig};
///
/// struct App { sink: KafkaSink<String> } // whichever transport
///
/// let kafka = MemoryKafka::new().with_topic("greetings", 1);
/// let config = KafkaSinkConfig { topic: "greetings".into(), ..Default::default() };
/// let app = App { sink: KafkaSink::builder(config).transport(kafka.transport()).build().await? };
/// app.sink.send("hello".to_string()).await?;
/// # Ok(())
/// # }
/// ```
///
/// As a `tower::Service<SinkMessage<T>>`, each clone has its own readiness:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kafka_tower::Result<()> {
/// # use kafka_tower::memory::MemoryKafka;
/// # use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage};
/// use tower::{Service, ServiceExt};
/// # let kafka = MemoryKafka::new().with_topic("greetings", 1);
/// # let config = KafkaSinkConfig { topic: "greetings".into(), ..Default::default() };
/// # let sink = KafkaSink::<String>::builder(config).transport(kafka.transport()).build().await?;
///
/// let mut sink = sink.clone();
/// let delivery = sink.ready().await?.call(SinkMessage::new("hello".to_string())).await?;
/// # let _ = delivery;
/// # Ok(())
/// # }
/// ```
pub struct KafkaSink<T> {
    inner: Arc<Shards<T>>,
    /// The handle that `poll_ready` prepared for `call`.
    stack: Option<Box<dyn DynStack<T>>>,
}

impl<T> KafkaSink<T> {
    /// Returns a builder, for another transport, another serializer, layers, or a sink that does not check the
    /// connection.
    pub fn builder(config: crate::KafkaSinkConfig) -> SinkBuilder<T> {
        SinkBuilder::new(config)
    }

    /// Makes a sink over your own stack; `control` is the [`Control`] of the transport below it.
    ///
    /// `flush` and `close` also wait for records that a layer of the stack holds. Your own transport reports the
    /// records that it has accepted with [`handover`](crate::handover); if it does not, a send counts until its answer
    /// was polled.
    ///
    /// `send_timeout` is the budget of a message without a deadline. The stack's error can be any type that converts
    /// into [`Error`], including tower's boxed error. The sink's metrics are recorded around the stack, so they do not
    /// include retries and breaker trips inside it. For spans, make a [telemetry layer](crate::layers) the outermost
    /// layer of the stack; each message, including each message of a batch, then gets its own send span.
    /// [`from_service_with`](Self::from_service_with) has neither restriction.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kafka_tower::Result<()> {
    /// use std::time::Duration;
    /// use kafka_tower::KafkaSink;
    /// use kafka_tower::layers::serialize::SerializeLayer;
    /// use kafka_tower::memory::MemoryKafka;
    /// use tower::{ServiceBuilder, ServiceExt};
    ///
    /// let kafka = MemoryKafka::new().with_topic("greetings", 1);
    /// let transport = kafka.transport();
    /// let control = transport.control();
    /// let stack = ServiceBuilder::new()
    ///     .map_request(|message: kafka_tower::SinkMessage<String>| message.with_header("via", "my stack"))
    ///     .layer(SerializeLayer::json("greetings"))
    ///     .service(transport);
    /// let sink = KafkaSink::from_service(stack, control, Duration::from_secs(5));
    /// sink.send("hello".to_string()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn from_service<S>(stack: S, control: Arc<dyn Control>, send_timeout: Duration) -> Self
    where
        T: 'static,
        S: Service<SinkMessage<T>, Response = Delivery, Error: Into<Error>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Self::from_service_with(stack, control, ServiceOptions::new(send_timeout))
    }

    /// Makes a sink over your own stack, with what a sink over the default stack has too: counters that layers inside the
    /// stack share, a handle on the stack's circuit breaker, and telemetry.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kafka_tower::Result<()> {
    /// use std::time::Duration;
    /// use kafka_tower::layers::circuit_breaker::CircuitBreakerLayer;
    /// use kafka_tower::layers::metrics::Metrics;
    /// use kafka_tower::layers::retry::{RetryLayer, RetryPolicy};
    /// use kafka_tower::memory::MemoryKafka;
    /// use kafka_tower::{KafkaServiceBuilderExt, KafkaSink, ServiceOptions};
    /// use tower::ServiceBuilder;
    ///
    /// let kafka = MemoryKafka::new().with_topic("greetings", 1);
    /// let transport = kafka.transport();
    /// let (control, metrics, breaker) = (transport.control(), Metrics::new(), CircuitBreakerLayer::default());
    /// let options = ServiceOptions::new(Duration::from_secs(5)).metrics(metrics.clone()).circuit_breaker(breaker.handle());
    /// let retries = metrics.clone();
    /// let stack = ServiceBuilder::new()
    ///     .serialize_json::<String>("greetings")
    ///     .count_bytes(&metrics)
    ///     .circuit_breaker(breaker)
    ///     .retry_deliveries(RetryLayer::new(RetryPolicy::new()).on_retry(move |_| retries.record_retry()))
    ///     .service(transport);
    /// let sink = KafkaSink::from_service_with(stack, control, options);
    /// sink.send("hello".to_string()).await?;
    /// let metrics = sink.metrics().await;
    /// assert_eq!((metrics.messages_sent, metrics.bytes_sent), (1, 7));
    /// assert!(sink.circuit_breaker().is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn from_service_with<S>(stack: S, control: Arc<dyn Control>, options: ServiceOptions) -> Self
    where
        T: 'static,
        S: Service<SinkMessage<T>, Response = Delivery, Error: Into<Error>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let ServiceOptions { send_timeout, metrics, breaker, telemetry } = options;
        telemetry.watch(breaker.as_ref(), &control);
        let stack = telemetry.erase(stack);
        let transactions = SharedTransactions::of(&control, &telemetry);
        let parts = SharedParts::new(control, transactions, send_timeout, metrics, telemetry, breaker, true);
        Self::of(SinkInner::over(stack, parts))
    }

    fn of(inner: SinkInner<T>) -> Self {
        Self { inner: Shards::new(inner), stack: None }
    }

    /// A sink over the same transport, and with the same transactions, that sends values as they are, past the serializer
    /// and the user's layers. `None` for a sink over the user's own stack.
    pub(crate) fn encoded(&self) -> Option<KafkaSink<Bytes>> {
        self.inner.encoded().map(KafkaSink::of)
    }

    /// Sends one message and resolves with its outcome: a [`Delivery`], or an [`Error`] that says whether the record
    /// may be in the log.
    ///
    /// Lazy: nothing happens before the first poll, which determines the message's place in the order of this sink.
    /// (Messages that wait for room keep the order in which the runtime polls the woken tasks.) The send ends by the
    /// message's deadline, or without one `send_timeout_ms` after the first poll.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) with `NotPersisted` if there was no room in time;
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) after [`close`](Self::close); otherwise the error of the stack.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before the record is handed to the transport sends nothing. Dropping it after hand-over does
    /// not cancel the record. In a transaction, dropping it earlier makes the [commit](Self::commit_transaction) fail,
    /// unless the future was never polled.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a timer, if it has to wait for room or for its serializer, or to back off before
    /// a retry; over the memory transport also if it has to wait for its answer.
    pub fn send(&self, message: impl Into<SinkMessage<T>>) -> SendFuture<T> {
        SendFuture::new(self.inner.shard(), message.into())
    }

    /// Sends messages in order and resolves with the outcome of each, in the same order.
    ///
    /// Takes messages from the iterator as there is room for them. The budget of a message begins when its turn comes.
    /// If there was no room for the whole of `send_timeout_ms`, that message and all remaining ones fail together.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the sink was closed before the first message. Every other
    /// error belongs to one message and is in its result.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future sends no further messages; records that were handed over before continue. In a transaction
    /// the [commit](Self::commit_transaction) then fails, unless the last message was handed over and none had failed.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kafka_tower::Result<()> {
    /// # use kafka_tower::memory::MemoryKafka;
    /// # use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage};
    /// # let kafka = MemoryKafka::new().with_topic("numbers", 1);
    /// # let config = KafkaSinkConfig { topic: "numbers".into(), ..Default::default() };
    /// # let sink = KafkaSink::<u32>::builder(config).transport(kafka.transport()).build().await?;
    /// let results = sink.send_batch(1..=1000).await?;
    /// assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_batch<I>(&self, messages: I) -> SendBatch<T, I::IntoIter>
    where
        I: IntoIterator,
        I::Item: Into<SinkMessage<T>>,
    {
        SendBatch::new(self.inner.inner(), messages.into_iter())
    }

    /// Sends messages as they arrive from a stream, and yields the outcome of each, in the same order. Use it to send
    /// millions of messages: it takes as many messages ahead of their results as the transport has room for, or as
    /// [`look_ahead`](SendStream::look_ahead) says.
    ///
    /// The budget of a message begins when its turn comes. An error of one message does not end the stream.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kafka_tower::Result<()> {
    /// # use kafka_tower::memory::MemoryKafka;
    /// # use kafka_tower::{KafkaSink, KafkaSinkConfig};
    /// # let kafka = MemoryKafka::new().with_topic("numbers", 1);
    /// # let config = KafkaSinkConfig { topic: "numbers".into(), ..Default::default() };
    /// # let sink = KafkaSink::<u32>::builder(config).transport(kafka.transport()).build().await?;
    /// use futures_util::{StreamExt, stream};
    ///
    /// let mut results = sink.send_stream(stream::iter(0..100_000));
    /// let mut delivered = 0;
    /// while let Some(result) = results.next().await {
    ///     delivered += usize::from(result.is_ok());
    /// }
    /// assert_eq!(delivered, 100_000);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn send_stream<S>(&self, messages: S) -> SendStream<T, S>
    where
        S: Stream,
        S::Item: Into<SinkMessage<T>>,
    {
        SendStream::new(self.inner.inner(), messages)
    }

    /// Returns a snapshot of the sink's counters. Cheap enough to call often.
    ///
    /// [`SinkMetrics::since`] an earlier snapshot has rates, such as messages and bytes per second. For counters of each topic, add the
    /// layer of [`TopicMetrics`](crate::layers::metrics::TopicMetrics) with [`record_layer`](SinkBuilder::record_layer).
    ///
    /// Sinks derived from this one with `with_…` share its counters.
    #[allow(clippy::unused_async)] // the specification awaits it
    pub async fn metrics(&self) -> SinkMetrics {
        self.inner.parts.metrics.snapshot()
    }

    /// Handle to observe and force the circuit breaker. `None` for a sink over your own stack, and for a sink with
    /// transactions, whose breaker always stays closed.
    #[must_use]
    pub fn circuit_breaker(&self) -> Option<&CircuitBreakerHandle> {
        self.inner.parts.breaker.as_ref()
    }

    /// Resolves when every send that was called before has its answer. Sends lingering batches at once. Sends that are
    /// called later are not waited for.
    ///
    /// A send is called when its future is first polled, or by `Service::call`. From then on it counts wherever it is:
    /// waiting for room, in a serializer, in a layer of your own (tower's `Buffer`, a spawned task), between two
    /// attempts. It progresses only while its future is polled. Once the transport has accepted its record, the send
    /// counts until the record is settled, whether or not the future is polled. If the record failed, a layer may retry
    /// it at the next poll; the flush waits for that retry if the future is polled within 1 s.
    ///
    /// A send whose future was dropped does not count, but its record does if the transport had accepted it. A record
    /// that a layer has given to a task is tracked only by that layer (`Buffer` drops it).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if an answer is missing after `send_timeout_ms`, with the
    /// number of sends and their topics; flush again to go on waiting. Also if the transport cannot flush. Per-record
    /// errors are reported by the records' own futures.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only stops the waiting.
    ///
    /// # Panics
    ///
    /// If it has to wait outside of a tokio runtime with a timer.
    pub async fn flush(&self) -> Result<()> {
        let parts = &self.inner.parts;
        drain::flush(&[parts.member()], &*parts.transport, parts.send_timeout).await
    }

    /// Closes the sink and all its clones. Later sends fail, sends that wait for room fail at once, and sends that were
    /// called before are awaited for `send_timeout_ms`, wherever they are: see [`flush`](Self::flush).
    ///
    /// An open transaction is aborted within the same time, so that `read_committed` readers are not held back; a
    /// commit in progress is continued. Dropping the last clone does the same, within a short time: see
    /// [`begin_transaction`](Self::begin_transaction).
    ///
    /// # Errors
    ///
    /// [`CloseError`] if a record was not delivered or is in doubt, if a send has no answer, or if it is unknown how
    /// the open transaction ended. Its report holds the records; the error has the number of sends without an
    /// answer, and what is known of them. It converts into [`Error`]. An aborted transaction is not an error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the sink closed; call it again to go on waiting.
    ///
    /// # Panics
    ///
    /// If it has to wait for a send above the transport outside of a tokio runtime with a timer; over the memory
    /// transport also if it has to wait for a record in flight.
    pub async fn close(&self) -> Result<(), CloseError> {
        self.close_within(self.inner.parts.send_timeout).await
    }

    /// Closes like [`close`](Self::close), waiting at most `within`.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    ///
    /// # Cancel safety
    ///
    /// As [`close`](Self::close).
    ///
    /// # Panics
    ///
    /// As [`close`](Self::close).
    pub async fn close_within(&self, within: Duration) -> Result<(), CloseError> {
        let parts = &self.inner.parts;
        // With transactions the transport aborts an open one and rejects the sends above it in any case: no wait.
        let waits = parts.completeness.is_none() || !parts.owns_transport();
        let closed = drain::close(&[parts.member()], &*parts.transport, waits, within).await;
        if let (Ok(closed), true) = (&closed, parts.owns_transport()) {
            drain::ended(closed, parts.completeness.as_ref(), &parts.claims, &parts.telemetry);
        }
        CloseError::check(closed)
    }

    /// The control side of the transport: records in flight, partition counts, transactions.
    #[must_use]
    pub fn control(&self) -> &Arc<dyn Control> {
        &self.inner.parts.control
    }
}

impl<T> Clone for KafkaSink<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), stack: None }
    }
}

impl<T> fmt::Debug for KafkaSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink")
            .field("in_flight", &self.inner.parts.control.in_flight())
            .field("closed", &self.inner.is_closed())
            .finish_non_exhaustive()
    }
}
