//! Counts for each topic, as a layer that a stack has only if it is asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use kafka_tower_core::{Delivery, Record};
use pin_project::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::Rates;
use super::rates::Totals;
use crate::topics::SharedTopics;

/// Counters of sends for each topic. Clones share them. A sink has none by default: add [`layer`](Self::layer) to its
/// layers of records.
///
/// The first topics, up to the number given to [`new`](Self::new), have counters of their own. All later ones share those
/// of [`OTHER`](Self::OTHER), so that topics that are computed from data cannot fill the memory.
///
/// A send counts once, whatever is retried below. One that fails above the layer, because it cannot be encoded or finds no
/// room, has no topic yet and is counted only by [`SinkMetrics`](super::SinkMetrics).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kafka_tower_core::Result<()> {
/// use kafka_tower_core::Record;
/// use kafka_tower_layers::metrics::TopicMetrics;
/// use kafka_tower_memory::MemoryKafka;
/// use tower::{Service, ServiceBuilder, ServiceExt};
///
/// let kafka = MemoryKafka::new().with_topic("orders", 3).with_topic("payments", 3);
/// let topics = TopicMetrics::new(100);
/// // Of a sink: `KafkaSink::builder(config).record_layer(topics.layer())`.
/// let mut service = ServiceBuilder::new().layer(topics.layer()).service(kafka.transport());
/// for topic in ["orders", "orders", "payments"] {
///     service.ready().await?.call(Record::new(topic).with_value("1234")).await?;
/// }
///
/// let counts = topics.snapshot();
/// assert_eq!((counts["orders"].messages_sent, counts["orders"].bytes_sent), (2, 8));
/// assert_eq!(counts["payments"].messages_sent, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TopicMetrics(Arc<Recorder>);

struct Recorder {
    topics: SharedTopics<Arc<Counters>>,
    other: Arc<Counters>,
    created: Instant,
}

/// A cache line of its own for each topic, as in `recorder.rs`.
#[derive(Default)]
#[repr(align(128))]
struct Counters {
    delivered: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
}

/// Snapshot of the counters of a topic. The names mean the same as in [`SinkMetrics`](super::SinkMetrics).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicCounts {
    /// Sends that were delivered.
    pub messages_sent: u64,
    /// Sends that failed.
    pub messages_failed: u64,
    /// Bytes of keys, values and headers of delivered records.
    pub bytes_sent: u64,
    /// Sends whose future was dropped before it resolved. Their records may have been written.
    pub abandoned: u64,
    /// Time from the creation of the [`TopicMetrics`] to this snapshot.
    pub uptime: Duration,
}

impl TopicMetrics {
    /// Name in a snapshot of all topics beyond the limit.
    pub const OTHER: &'static str = "_other";

    /// Creates counters for up to `max` topics.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let (topics, other) = (SharedTopics::new(max), Arc::default());
        Self(Arc::new(Recorder { topics, other, created: Instant::now() }))
    }

    /// Creates the layer that counts. Put it where requests are records, outside of retry.
    #[must_use]
    pub fn layer(&self) -> TopicMetricsLayer {
        TopicMetricsLayer { topics: self.clone() }
    }

    /// Returns the current counts by topic. [`OTHER`](Self::OTHER) is there once a topic was beyond the limit.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, TopicCounts> {
        let uptime = self.0.created.elapsed();
        let counts =
            self.0.topics.all().into_iter().map(|(topic, counters)| (topic.to_string(), counters.read(uptime)));
        let mut counts: BTreeMap<_, _> = counts.collect();
        let other = self.0.other.read(uptime);
        if other != (TopicCounts { uptime, ..TopicCounts::default() }) {
            counts.insert(Self::OTHER.to_owned(), other);
        }
        counts
    }

    fn of(&self, topic: &Arc<str>) -> Arc<Counters> {
        self.0.topics.get_or_insert(topic, Arc::default).unwrap_or_else(|| Arc::clone(&self.0.other))
    }
}

impl fmt::Debug for TopicMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TopicMetrics").field(&self.snapshot()).finish()
    }
}

impl Counters {
    fn read(&self, uptime: Duration) -> TopicCounts {
        let Self { delivered, bytes, failed, abandoned } = self;
        let [messages_sent, bytes_sent, messages_failed, abandoned] =
            [delivered, bytes, failed, abandoned].map(|counter| counter.load(Relaxed));
        TopicCounts { messages_sent, messages_failed, bytes_sent, abandoned, uptime }
    }
}

impl TopicCounts {
    /// Returns what happened per second between an earlier snapshot of the same topic and this one. For a topic that the
    /// earlier snapshot did not have, use `TopicCounts::default()`: then it is the mean since the counters were created.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Rates {
        Rates::between(self.totals(), earlier.totals())
    }

    fn totals(&self) -> Totals {
        let Self { uptime, messages_sent: messages, bytes_sent: bytes, messages_failed: failures, .. } = *self;
        Totals { uptime, messages, bytes, failures, retries: 0 }
    }
}

/// Layer that creates [`CountTopics`] services. Made by [`TopicMetrics::layer`].
#[derive(Clone, Debug)]
pub struct TopicMetricsLayer {
    topics: TopicMetrics,
}

impl<S> Layer<S> for TopicMetricsLayer {
    type Service = CountTopics<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CountTopics { inner, topics: self.topics.clone(), last: None }
    }
}

/// Service that counts sends by their topic. Created by [`TopicMetricsLayer`].
#[derive(Clone)]
pub struct CountTopics<S> {
    inner: S,
    topics: TopicMetrics,
    /// Most handles send to one topic: it is looked up once.
    last: Option<(Arc<str>, Arc<Counters>)>,
}

impl<S> CountTopics<S> {
    fn counters(&mut self, topic: &Arc<str>) -> Arc<Counters> {
        match &self.last {
            Some((last, counters)) if Arc::ptr_eq(last, topic) => Arc::clone(counters),
            _ => {
                let counters = self.topics.of(topic);
                self.last = Some((Arc::clone(topic), Arc::clone(&counters)));
                counters
            }
        }
    }

    inner_service!();
}

impl<S: Service<Record, Response = Delivery>> Service<Record> for CountTopics<S> {
    type Response = Delivery;
    type Error = S::Error;
    type Future = CountTopicsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, record: Record) -> Self::Future {
        let (bytes, counters) = (record.size() as u64, self.counters(&record.topic));
        CountTopicsFuture { inner: self.inner.call(record), send: CountedSend { counters: Some(counters), bytes } }
    }
}

impl<S: fmt::Debug> fmt::Debug for CountTopics<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountTopics").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// Response future of [`CountTopics`]. If it is dropped before it resolves, the send counts as abandoned.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct CountTopicsFuture<F> {
    #[pin]
    inner: F,
    send: CountedSend,
}

/// A send that counts once, however it ends.
struct CountedSend {
    /// Taken when the future resolves.
    counters: Option<Arc<Counters>>,
    bytes: u64,
}

impl Drop for CountedSend {
    fn drop(&mut self) {
        if let Some(counters) = &self.counters {
            counters.abandoned.fetch_add(1, Relaxed);
        }
    }
}

impl<F: Future<Output = Result<Delivery, E>>, E> Future for CountTopicsFuture<F> {
    type Output = Result<Delivery, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        if let Some(counters) = this.send.counters.take() {
            if answer.is_ok() {
                counters.delivered.fetch_add(1, Relaxed);
                counters.bytes.fetch_add(this.send.bytes, Relaxed);
            } else {
                counters.failed.fetch_add(1, Relaxed);
            }
        }
        Poll::Ready(answer)
    }
}

impl<F> fmt::Debug for CountTopicsFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountTopicsFuture").field("answered", &self.send.counters.is_none()).finish_non_exhaustive()
    }
}
