use std::array;
use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicU64, fence};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_tower_core::Error;
use kafka_tower_core::sync::lock;
use tokio::time::Instant;

use super::SinkMetrics;
use super::buckets::{self, percentile};

/// Counters of sends. Clones share the same counters.
///
/// [`MetricsLayer`](super::MetricsLayer) counts sends, and [`CountBytesLayer`](super::CountBytesLayer) their bytes. The
/// retry layer and the circuit breaker count [retries](Self::record_retry) and [trips](Self::record_trip). Each count is
/// a few relaxed atomic operations; only a failure needs a lock and an allocation.
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

/// Counters. Those that each delivery changes have a cache line of their own, so that threads that update other counters
/// do not slow them down. 128 bytes, because processors fetch cache lines in pairs.
struct Recorder {
    delivered: Delivered,
    rare: Rare,
    histogram: Histogram,
    created: Instant,
}

impl Default for Recorder {
    fn default() -> Self {
        let (delivered, rare, histogram) = Default::default();
        Self { delivered, rare, histogram, created: Instant::now() }
    }
}

#[derive(Default)]
#[repr(align(128))]
struct Delivered {
    micros: AtomicU64,
    max_micros: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Default)]
#[repr(align(128))]
struct Rare {
    failed: AtomicU64,
    abandoned: AtomicU64,
    retries: AtomicU64,
    trips: AtomicU64,
    /// Formatted only for a snapshot.
    last_error: Mutex<Option<Error>>,
}

/// Deliveries by latency. Their sum is the number of deliveries, which needs no counter of its own.
#[repr(align(128))]
struct Histogram([AtomicU64; buckets::COUNT]);

impl Default for Histogram {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Metrics {
    /// Creates counters at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a delivered send and its latency, from its call.
    pub fn record_delivered(&self, latency: Duration) {
        let micros = micros(latency);
        let delivered = &self.0.delivered;
        delivered.micros.fetch_add(micros, Relaxed);
        // Read first: it is cheap, and almost always sufficient.
        if micros > delivered.max_micros.load(Relaxed) {
            delivered.max_micros.fetch_max(micros, Relaxed);
        }
        self.0.histogram.0[buckets::index(micros)].fetch_add(1, Relaxed);
    }

    /// Counts bytes of delivered records.
    pub fn record_bytes(&self, bytes: u64) {
        self.0.delivered.bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts a failed send, and keeps its error as the last one.
    pub fn record_failed(&self, error: &Error) {
        self.0.rare.failed.fetch_add(1, Relaxed);
        let mut error = error.clone();
        // Its record would stay until the next failure.
        let _record = error.take_record();
        let mut last = lock(&self.0.rare.last_error);
        let before = last.replace(error);
        // Dropped outside the lock: its source may run foreign code.
        drop(last);
        drop(before);
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
        let (Recorder { delivered, rare, histogram, .. }, other) = (&*self.0, &*other.0);
        let add = |to: &AtomicU64, from: &AtomicU64| {
            to.fetch_add(from.load(Relaxed), Relaxed);
        };
        add(&delivered.micros, &other.delivered.micros);
        add(&delivered.bytes, &other.delivered.bytes);
        delivered.max_micros.fetch_max(other.delivered.max_micros.load(Relaxed), Relaxed);
        let pairs = [
            (&rare.failed, &other.rare.failed),
            (&rare.abandoned, &other.rare.abandoned),
            (&rare.retries, &other.rare.retries),
            (&rare.trips, &other.rare.trips),
        ];
        pairs.into_iter().chain(histogram.0.iter().zip(&other.histogram.0)).for_each(|(to, from)| add(to, from));
        let error = lock(&other.rare.last_error).clone();
        let before = error.and_then(|error| lock(&rare.last_error).replace(error));
        drop(before);
    }

    /// Whether this is the last handle of its counters, so that they do not change any more.
    #[must_use]
    pub fn is_last(&self) -> bool {
        let is_last = Arc::strong_count(&self.0) == 1;
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
        let Recorder { delivered, rare, histogram, created } = &*self.0;
        let counts: [u64; buckets::COUNT] = array::from_fn(|bucket| histogram.0[bucket].load(Relaxed));
        let messages_sent = counts.iter().sum();
        let max_latency_us = delivered.max_micros.load(Relaxed);
        let percentile = |percent| percentile(&counts, percent, max_latency_us);
        let last_error = lock(&rare.last_error).clone();
        SinkMetrics {
            messages_sent,
            messages_failed: rare.failed.load(Relaxed),
            bytes_sent: delivered.bytes.load(Relaxed),
            retries: rare.retries.load(Relaxed),
            circuit_breaker_trips: rare.trips.load(Relaxed),
            avg_latency_us: delivered.micros.load(Relaxed).checked_div(messages_sent).unwrap_or(0),
            max_latency_us,
            p50_latency_us: percentile(50),
            p90_latency_us: percentile(90),
            p99_latency_us: percentile(99),
            abandoned: rare.abandoned.load(Relaxed),
            last_error_msg: last_error.map(|error| error.message_with_causes()),
            uptime: created.elapsed(),
        }
    }
}

/// Rounded to the nearest µs: truncation would make the mean of short latencies too low by half a µs.
fn micros(latency: Duration) -> u64 {
    let rounded = (u64::from(latency.subsec_nanos()) + 500) / 1000;
    latency.as_secs().saturating_mul(1_000_000).saturating_add(rounded)
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.snapshot()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_rounded_to_microseconds() {
        let nanos = |nanos| micros(Duration::from_nanos(nanos));
        assert_eq!([nanos(0), nanos(499), nanos(500), nanos(1_499), nanos(1_500)], [0, 0, 1, 1, 2]);
        assert_eq!(nanos(2_000_000_000), 2_000_000);
        assert_eq!(micros(Duration::MAX), u64::MAX);
    }
}
