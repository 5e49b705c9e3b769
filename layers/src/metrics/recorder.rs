use std::array;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_tower_core::Error;

use super::buckets::{self, percentile};
use super::{CountBytesLayer, SinkMetrics};

/// Counts what is sent. A clone counts into the same.
///
/// [`MetricsLayer`](super::MetricsLayer) and [`CountBytesLayer`] record what they see; other parts of a stack record
/// what only they know, [a retry](Self::record_retry) and [a trip of the breaker](Self::record_trip). All of it is a
/// few relaxed atomics, without a lock or an allocation but for a failure.
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

/// What a delivery touches is together and apart from all else: a line that two threads write to for different
/// reasons costs both. 128 bytes, as processors fetch two lines at once.
#[derive(Default)]
struct Recorder {
    delivered: Delivered,
    rare: Rare,
    histogram: Histogram,
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
    /// Becomes text when somebody asks.
    last_error: Mutex<Option<Error>>,
}

/// Deliveries by latency; their sum is the number of deliveries, which therefore needs no count of its own.
#[repr(align(128))]
struct Histogram([AtomicU64; buckets::COUNT]);

impl Default for Histogram {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Metrics {
    /// Metrics that have counted nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The layer that counts the bytes of delivered records: for a place where there are records, inside of
    /// `SerializeLayer` and outside of retry.
    #[must_use]
    pub fn bytes_layer(&self) -> CountBytesLayer {
        CountBytesLayer::new(self.clone())
    }

    /// Counts a send that was answered with a delivery, so long after its call.
    pub fn record_delivered(&self, latency: Duration) {
        let micros = micros(latency);
        let delivered = &self.0.delivered;
        delivered.micros.fetch_add(micros, Relaxed);
        // A read is cheap, and almost always enough.
        if micros > delivered.max_micros.load(Relaxed) {
            delivered.max_micros.fetch_max(micros, Relaxed);
        }
        self.0.histogram.0[buckets::index(micros)].fetch_add(1, Relaxed);
    }

    /// Counts bytes of records that were delivered.
    pub fn record_bytes(&self, bytes: u64) {
        self.0.delivered.bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts a send that was answered with an error, and keeps it as the last.
    pub fn record_failed(&self, error: &Error) {
        self.0.rare.failed.fetch_add(1, Relaxed);
        let error = Some(error.clone());
        let mut last = self.0.rare.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *last, error);
        // Its source may be anything: not under the lock.
        drop(last);
        drop(before);
    }

    /// Counts a send whose future was dropped before the answer.
    pub fn record_abandoned(&self) {
        self.0.rare.abandoned.fetch_add(1, Relaxed);
    }

    /// Counts an attempt after the first.
    pub fn record_retry(&self) {
        self.0.rare.retries.fetch_add(1, Relaxed);
    }

    /// Counts that the circuit breaker opened.
    pub fn record_trip(&self) {
        self.0.rare.trips.fetch_add(1, Relaxed);
    }

    /// What was counted up to now.
    #[must_use]
    pub fn snapshot(&self) -> SinkMetrics {
        let Recorder { delivered, rare, histogram } = &*self.0;
        let counts: [u64; buckets::COUNT] = array::from_fn(|bucket| histogram.0[bucket].load(Relaxed));
        let messages_sent = counts.iter().sum();
        let max_latency_us = delivered.max_micros.load(Relaxed);
        let percentile = |percent| percentile(&counts, percent, max_latency_us);
        let last_error = rare.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
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
        }
    }
}

/// Rounded: the mean of many short latencies would be too low by half a µs.
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
