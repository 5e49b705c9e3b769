//! Checks whether a stack or a sink keeps its guarantee, under faults drawn from a seed.
//!
//! [`check_sink`] checks a sink as your application builds it; [`check()`] checks any service of records, and with
//! [`of_messages`] any service of messages. See [`kafka_tower_memory::sim`] for what is checked, and how a failing seed is
//! replayed.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::{Delivery, Error, Record, Result};
use kafka_tower_memory::MemoryTransport;
pub use kafka_tower_memory::sim::*;
use tower_service::Service;

use crate::{KafkaSink, SinkMessage};

/// Starts a check of a sink. `build` makes the sink of each run; `value` makes the value of the message with this number.
///
/// The topic in the sink's configuration has to be [`TOPIC`], the only one of a run. For runs that can be repeated it has a
/// [`jitter_seed`](crate::SinkBuilder::jitter_seed). With [`Guarantee::ExactlyOnce`] and transactions in its configuration, the check
/// begins and ends the sink's transactions.
///
/// ```
/// use kafka_tower::memory::sim::{Guarantee, TOPIC, check_sink};
/// use kafka_tower::{KafkaSink, KafkaSinkConfig};
///
/// #[derive(Clone, serde::Serialize)]
/// struct Order {
///     number: u32,
/// }
///
/// let config = KafkaSinkConfig { topic: TOPIC.into(), send_timeout_ms: 1_000, ..Default::default() };
/// let check = check_sink(
///     |transport| KafkaSink::builder(config.clone()).transport(transport).jitter_seed(1).build(),
///     |number| Order { number },
/// );
/// check.guarantee(Guarantee::AtLeastOnce).seeds(20).run().assert_clean();
/// ```
pub fn check_sink<T, Fut>(build: impl Fn(MemoryTransport) -> Fut, value: impl Fn(u32) -> T) -> Check<impl MakeStack>
where
    T: Send + Sync + 'static,
    Fut: Future<Output = Result<KafkaSink<T>>>,
{
    check_made(MakeSink { build, value: Arc::new(value) })
}

struct MakeSink<F, V> {
    build: F,
    value: Arc<V>,
}

impl<T, Fut, F, V> MakeStack for MakeSink<F, V>
where
    T: Send + Sync + 'static,
    Fut: Future<Output = Result<KafkaSink<T>>>,
    F: Fn(MemoryTransport) -> Fut,
    V: Fn(u32) -> T,
{
    type Stack = OfMessages<KafkaSink<T>, V>;

    async fn make(&self, transport: MemoryTransport) -> Result<Made<Self::Stack>> {
        let sink = (self.build)(transport).await?;
        let control = Arc::clone(sink.control());
        Ok((OfMessages { service: sink, value: Arc::clone(&self.value) }, Some(control)))
    }
}

/// Makes a service of records from one of messages, for [`check()`]. `value` makes the value of the message with this number.
///
/// ```
/// use std::sync::Arc;
/// use kafka_tower::memory::sim::{check, of_messages};
/// use kafka_tower::{JsonSerializer, KafkaSinkConfig, stack};
///
/// let config = KafkaSinkConfig { send_timeout_ms: 1_000, ..Default::default() };
/// let report = check(|transport| {
///     let control = transport.control();
///     of_messages(stack::seeded(&config, Arc::new(JsonSerializer), transport, control, 1), |number| number)
/// });
/// report.seeds(20).run().assert_clean();
/// ```
pub fn of_messages<S, V, T>(service: S, value: V) -> OfMessages<S, V>
where
    S: Service<SinkMessage<T>, Response = Delivery, Error: Into<Error>>,
    V: Fn(u32) -> T,
{
    OfMessages { service, value: Arc::new(value) }
}

/// A service of records over one of messages. Made by [`of_messages`].
pub struct OfMessages<S, V> {
    service: S,
    value: Arc<V>,
}

impl<S: Clone, V> Clone for OfMessages<S, V> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), value: Arc::clone(&self.value) }
    }
}

impl<S: fmt::Debug, V> fmt::Debug for OfMessages<S, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfMessages").field("service", &self.service).finish_non_exhaustive()
    }
}

impl<S, V, T> Service<Record> for OfMessages<S, V>
where
    S: Service<SinkMessage<T>>,
    V: Fn(u32) -> T,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, record: Record) -> S::Future {
        // Records without a number measure how many are admitted.
        let value = (self.value)(number_of(&record).unwrap_or(u32::MAX));
        let mut message = SinkMessage::new(value).with_topic(record.topic).with_headers(record.headers);
        if let Some(key) = record.key {
            message = message.with_key(key);
        }
        if let Some(at) = record.expires_at {
            message = message.with_deadline(at);
        }
        self.service.call(message)
    }
}
