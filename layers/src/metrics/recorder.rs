use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::fence;
use std::time::Duration;

use kafka_tower_core::Error;
use kafka_tower_core::sharded::Sharded;
use kafka_tower_core::sync::lock;
use tokio::time::Instant;

use super::SinkMetrics;
use super::buckets::percentile;
use super::shard::{Deliveries, Rare, Shard};

/// Counters of sends. Clones share the same counters.
///
/// [`MetricsLayer`](super::MetricsLayer) counts sends, and [`CountBytesLayer`](super::CountBytesLayer) their bytes. The
/// retry layer and the circuit breaker count [retries](Self::record_retry) and [trips](Self::record_trip). Each count is
/// a few relaxed atomic operations; only a failure needs a lock and an allocation. Threads count deliveries in memory of their
/// own, some 1.2 KB for each, and at most for 64 threads.
///
/// ```
/// use std::time::Duration;
/// use kafka_tower_layers::metrics::Metrics;
///
/// let metrics = Metrics::new();
/// metrics.record_delivered(Duration::from_micros(250));
/// metrics.record_retry();
///
/// let snapshot = metrics.snapshot();
/// assert_eq!((snapshot.messages_sent, snapshot.retries), (1, 1));
/// assert_eq!((snapshot.avg_latency_us, snapshot.max_latency_us), (250, 250));
/// ```
#[derive(Clone, Default)]
pub struct Metrics(Arc<Recorder>);

struct Recorder {
    shards: Sharded<Shard>,
    rare: Arc<Rare>,
    created: Instant,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { shards: Sharded::default(), rare: Arc::default(), created: Instant::now() }
    }
}

impl Metrics {
    /// Creates counters at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The counters of the current thread. A handle or a send keeps them, and counts there on whatever thread it is polled.
    #[doc(hidden)]
    #[inline]
    pub fn shard(&self) -> &Arc<Shard> {
        self.0.shards.get_or_init(|| Shard::new(&self.0.rare))
    }

    /// Counts a delivered send and its latency, from its call.
    pub fn record_delivered(&self, latency: Duration) {
        self.shard().record_delivered(latency);
    }

    /// Counts bytes of delivered records.
    pub fn record_bytes(&self, bytes: u64) {
        self.shard().record_bytes(bytes);
    }

    /// Counts a failed send, and keeps its error as the last one.
    pub fn record_failed(&self, error: &Error) {
        self.0.rare.record_failed(error);
    }

    /// Counts a send whose future was dropped before it resolved.
    pub fn record_abandoned(&self) {
        self.0.rare.abandoned.fetch_add(1, Relaxed);
    }

    /// Counts an attempt after the first.
    pub fn record_retry(&self) {
        self.0.rare.retries.fetch_add(1, Relaxed);
    }

    /// Counts a trip of the circuit breaker.
    pub fn record_trip(&self) {
        self.0.rare.trips.fetch_add(1, Relaxed);
    }

    /// Adds the counts of `other` to these. The last error is the other one's, if it has one.
    pub fn absorb(&self, other: &Metrics) {
        self.shard().absorb(&Deliveries::of(other.0.shards.iter()));
        let (rare, other) = (&*self.0.rare, &*other.0.rare);
        let pairs = [
            (&rare.failed, &other.failed),
            (&rare.abandoned, &other.abandoned),
            (&rare.retries, &other.retries),
            (&rare.trips, &other.trips),
        ];
        for (to, from) in pairs {
            to.fetch_add(from.load(Relaxed), Relaxed);
        }
        let error = lock(&other.last_error).clone();
        let before = error.and_then(|error| lock(&rare.last_error).replace(error));
        drop(before);
    }

    /// Whether this is the last handle of its counters, so that they do not change any more.
    #[must_use]
    pub fn is_last(&self) -> bool {
        // The shards after the handles: only a handle gives a shard to a send.
        let is_last = Arc::strong_count(&self.0) == 1 && {
            fence(Acquire);
            self.0.shards.iter().all(|shard| Arc::strong_count(shard) == 1)
        };
        // What the others counted before they were dropped is seen from here on.
        fence(Acquire);
        is_last
    }

    /// Time since these counters were created.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.0.created.elapsed()
    }

    /// Returns the current counts.
    #[must_use]
    pub fn snapshot(&self) -> SinkMetrics {
        let Recorder { shards, rare, created } = &*self.0;
        let delivered = Deliveries::of(shards.iter());
        let messages_sent = delivered.histogram.iter().sum();
        let percentile = |percent| percentile(&delivered.histogram, percent, delivered.max_micros);
        let last_error = lock(&rare.last_error).clone();
        SinkMetrics {
            messages_sent,
            messages_failed: rare.failed.load(Relaxed),
            bytes_sent: delivered.bytes,
            retries: rare.retries.load(Relaxed),
            circuit_breaker_trips: rare.trips.load(Relaxed),
            avg_latency_us: delivered.micros.checked_div(messages_sent).unwrap_or(0),
            max_latency_us: delivered.max_micros,
            p50_latency_us: percentile(50),
            p90_latency_us: percentile(90),
            p99_latency_us: percentile(99),
            abandoned: rare.abandoned.load(Relaxed),
            last_error_msg: last_error.map(|error| error.message_with_causes()),
            uptime: created.elapsed(),
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.snapshot()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_threads_count_is_added_up() {
        let (metrics, other) = (Metrics::new(), Metrics::new());
        thread::scope(|scope| {
            for micros in 1..=20 {
                let (metrics, other) = (&metrics, &other);
                scope.spawn(move || {
                    metrics.record_delivered(Duration::from_micros(micros));
                    other.record_bytes(micros);
                });
            }
        });
        metrics.absorb(&other);
        let snapshot = metrics.snapshot();
        assert_eq!((snapshot.messages_sent, snapshot.bytes_sent), (20, 210));
        assert_eq!((snapshot.avg_latency_us, snapshot.max_latency_us), (10, 20));
    }

    #[test]
    fn a_send_that_is_not_answered_still_counts() {
        let metrics = Metrics::new();
        assert!(metrics.is_last());
        let handle = metrics.clone();
        assert!(!metrics.is_last());
        let counters = Arc::clone(handle.shard());
        drop(handle);
        assert!(!metrics.is_last());
        drop(counters);
        assert!(metrics.is_last());
    }
}
