//! The sink: one type parameter, any stack and transport behind it.
//!
//! [`KafkaSink`] boxes the stack that it sends through, so that a struct which holds one names neither layers nor
//! transport: the same field holds librdkafka in production and the memory transport in a test. The price is one
//! allocation a message; [`stack::default`] is the same stack without it.

mod batch;
mod builder;
mod choices;
mod close;
mod deadline;
mod drain;
mod edge;
mod into_transport;
mod open_sends;
#[cfg(feature = "rdkafka")]
mod rdkafka;
mod recipe;
mod send;
mod service;
pub mod stack;
mod stream;
mod traces;
mod transaction;
mod whole;
mod with;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use kafka_tower_core::{Control, Delivery, Error, Result, SinkMessage};
use kafka_tower_layers::circuit_breaker::CircuitBreakerHandle;
use kafka_tower_layers::metrics::{Metrics, MetricsLayer, SinkMetrics};
use tower_layer::Layer;
use tower_service::Service;

use edge::{Edge, Shared};
use recipe::Stacks;
use whole::Whole;

pub use batch::SendBatch;
pub use builder::{Connect, DefaultSerializer, Given, NoSerializer, SinkBuilder};
pub use close::CloseError;
pub use into_transport::IntoTransport;
pub use send::SendFuture;
pub use service::ResponseFuture;
pub use stream::SendStream;

/// Sends messages of type `T` to Kafka.
///
/// A clone is the same sink: it costs one count, and what one closes is closed for all. Sends can go on side by side
/// from one sink or from clones; `&self` is enough.
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
/// As a `tower::Service<SinkMessage<T>>` a clone has back-pressure of its own:
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
    shared: Arc<Shared<T>>,
    /// What `poll_ready` made ready for `call`.
    mine: Option<Box<dyn Edge<T>>>,
}

impl<T> KafkaSink<T> {
    /// Makes a sink piece by piece: another transport, another serializer, no look at the broker.
    pub fn builder(config: crate::KafkaSinkConfig) -> SinkBuilder<T> {
        SinkBuilder::new(config)
    }

    /// A sink over a stack of your own, with the [`Control`] of the transport below it.
    ///
    /// `flush` and `close` wait for what any layer of the stack keeps. A transport of your own says which records it has with
    /// [`handover`](crate::handover); of one that does not, sends count until their answers were polled.
    ///
    /// `send_timeout` is the budget of messages without a deadline. Any error type will do that becomes an [`Error`], tower's
    /// boxed one too. The sink's metrics count around the stack; retries and trips are the stack's to record.
    /// For spans put a [telemetry layer](crate::layers) into the stack, outermost: each message, of a batch too, is a send of its own then.
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
        S: Service<SinkMessage<T>, Response = Delivery, Error: Into<Error>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let metrics = Metrics::new();
        let stack = MetricsLayer::new(metrics.clone()).layer(stack);
        let whole = Whole::of(&*control);
        let stacks =
            Stacks { prototype: edge::boxed(stack.clone(), whole.as_ref()), ordered: edge::boxed(stack, None) };
        Self::of(Shared::of_service(stacks, control, send_timeout, metrics, whole))
    }

    fn of(shared: Shared<T>) -> Self {
        Self { shared: Arc::new(shared), mine: None }
    }

    /// Sends one message and resolves with its fate: a [`Delivery`], or an [`Error`] that says whether the record may
    /// be in the log.
    ///
    /// Lazy: nothing happens before the first poll, which is the message's place in the order of this sink
    /// (of messages that wait for room, the order in which the runtime polls those it wakes). The message's deadline, or
    /// else `send_timeout_ms` from the first poll on, bounds it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), `NotPersisted`, when there was no room in time;
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) after [`close`](Self::close); else what the stack says.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before the record was handed over sends nothing; later it takes nothing back. In a transaction the first makes
    /// the [commit](Self::commit_transaction) a no, unless it was never polled.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a timer, if it has to wait for room or for its serializer, or backs off to send again; over the
    /// memory transport also if it has to wait for its answer.
    pub fn send(&self, message: impl Into<SinkMessage<T>>) -> SendFuture<T> {
        SendFuture::new(Arc::clone(&self.shared), message.into())
    }

    /// Sends messages in order and resolves with the fate of each, in the same order.
    ///
    /// Messages are taken from the iterator as there is room for them. The budget of each begins when it is its turn;
    /// when there was no room for all of `send_timeout_ms`, it and those behind it fail together.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the sink was closed before the first message. All other
    /// errors are those of single messages.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future sends no more; what was handed over before goes on. In a transaction its [commit](Self::commit_transaction)
    /// is a no then, unless the last message was handed over and nothing had failed.
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
        SendBatch::new(Arc::clone(&self.shared), messages.into_iter())
    }

    /// Sends messages as they come from a stream, and yields the fate of each, in the same order. How to send a million:
    /// as many are taken before their results are as the transport has room for, or [`look_ahead`](SendStream::look_ahead) says.
    ///
    /// The budget of each begins when it is its turn. An error of one message ends nothing.
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
        SendStream::new(Arc::clone(&self.shared), messages)
    }

    /// What was sent and what was not, so far: a copy of counters, cheap enough to ask for often.
    ///
    /// A sink and what was made of it with `with_…` count together.
    #[allow(clippy::unused_async)] // the specification awaits it
    pub async fn metrics(&self) -> SinkMetrics {
        self.shared.metrics.snapshot()
    }

    /// The hand on the circuit breaker: its state, its changes, and forcing it. `None` in a sink over a stack of your own, and in
    /// one with transactions, whose breaker stays closed for good.
    #[must_use]
    pub fn circuit_breaker(&self) -> Option<&CircuitBreakerHandle> {
        self.shared.breaker.as_ref()
    }

    /// Resolves when each send that was called before has its answer; lingering batches go out at once. Sends that are called later are
    /// not waited for.
    ///
    /// A send is called when its future is first polled, or by `Service::call`, and counts wherever it is: waiting for room, in a
    /// serializer, in a layer of your own (tower's `Buffer`, a task), between two attempts. It goes on only while its future is polled. One
    /// whose record the transport has counts until the record's fate is known, whether or not the future is polled then. If that is a
    /// failure, a layer may send it again when it is polled, and the flush waits for that if the future is polled within a second.
    ///
    /// A send whose future was dropped does not count: a record that the transport had before does, and one that a layer has given to a
    /// task of its own is that layer's affair (`Buffer` drops it).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if an answer is missing after `send_timeout_ms`, with the number of sends and their
    /// topics: flush again to go on waiting. Or if the transport cannot flush. Errors of single records are their senders' to see.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting and nothing else.
    ///
    /// # Panics
    ///
    /// If it has to wait outside of a tokio runtime with a timer.
    pub async fn flush(&self) -> Result<()> {
        drain::flush(&self.shared).await
    }

    /// Closes the sink and all its clones: later sends fail, and those that were called before are awaited for `send_timeout_ms`,
    /// wherever they are: see [`flush`](Self::flush). Sends that wait for room fail at once.
    ///
    /// A transaction that is open is aborted, within the same time, so that readers of committed records are not held back; a commit
    /// that is under way is continued. So does dropping the last clone, within a short time: see
    /// [`begin_transaction`](Self::begin_transaction).
    ///
    /// # Errors
    ///
    /// [`CloseError`] if a record was not delivered or may not have been, if a send has no answer, or if it is unknown how the open
    /// transaction ended. Its report holds the records, and how many sends have no answer and what is known of them. It converts into
    /// [`Error`]. That a transaction was aborted is no error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the sink closed; calling again goes on waiting.
    ///
    /// # Panics
    ///
    /// If it has to wait for a send above the transport outside of a tokio runtime with a timer; over the memory transport also for a
    /// record that is on its way.
    pub async fn close(&self) -> Result<(), CloseError> {
        self.close_within(self.shared.send_timeout).await
    }

    /// Closes as [`close`](Self::close) does, within a time of its own.
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
        CloseError::check(drain::close(&self.shared, within).await)
    }

    /// The transport's other side: what is on its way, how many partitions a topic has.
    #[must_use]
    pub fn control(&self) -> &Arc<dyn Control> {
        &self.shared.control
    }
}

impl<T> Clone for KafkaSink<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), mine: None }
    }
}

impl<T> fmt::Debug for KafkaSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink")
            .field("in_flight", &self.shared.control.in_flight())
            .field("closed", &self.shared.is_closed())
            .finish_non_exhaustive()
    }
}
