use std::array;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_tower_core::Error;
use kafka_tower_core::sync::lock;

use super::buckets;

/// Counters of the threads that share a shard: deliveries change no memory that other threads change, too. 128 bytes, because
/// processors fetch cache lines in pairs.
#[repr(align(128))]
pub struct Shard {
    micros: AtomicU64,
    max_micros: AtomicU64,
    bytes: AtomicU64,
    /// Deliveries by latency. Their sum is the number of deliveries, which needs no counter of its own.
    histogram: [AtomicU64; buckets::COUNT],
    rare: Arc<Rare>,
}

/// What all threads count together.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Rare {
    pub(super) failed: AtomicU64,
    pub(super) abandoned: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) trips: AtomicU64,
    /// Formatted only for a snapshot.
    pub(super) last_error: Mutex<Option<Error>>,
}

/// Sums of deliveries.
pub(super) struct Deliveries {
    pub(super) micros: u64,
    pub(super) max_micros: u64,
    pub(super) bytes: u64,
    pub(super) histogram: [u64; buckets::COUNT],
}

impl Shard {
    pub(super) fn new(rare: &Arc<Rare>) -> Self {
        Self {
            micros: AtomicU64::new(0),
            max_micros: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            histogram: array::from_fn(|_| AtomicU64::new(0)),
            rare: Arc::clone(rare),
        }
    }

    /// Counts a delivered send.
    #[inline]
    pub fn record_delivered(&self, latency: Duration) {
        let micros = micros(latency);
        self.micros.fetch_add(micros, Relaxed);
        // Read first: it is cheap, and almost always sufficient.
        if micros > self.max_micros.load(Relaxed) {
            self.max_micros.fetch_max(micros, Relaxed);
        }
        self.histogram[buckets::index(micros)].fetch_add(1, Relaxed);
    }

    #[inline]
    pub(crate) fn record_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts a failed send.
    pub fn record_failed(&self, error: &Error) {
        self.rare.record_failed(error);
    }

    /// Counts a send whose future was dropped before it resolved.
    pub fn record_abandoned(&self) {
        self.rare.abandoned.fetch_add(1, Relaxed);
    }

    /// Adds counts of elsewhere.
    pub(super) fn absorb(&self, deliveries: &Deliveries) {
        self.micros.fetch_add(deliveries.micros, Relaxed);
        self.max_micros.fetch_max(deliveries.max_micros, Relaxed);
        self.bytes.fetch_add(deliveries.bytes, Relaxed);
        for (to, from) in self.histogram.iter().zip(deliveries.histogram) {
            to.fetch_add(from, Relaxed);
        }
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsShard").finish_non_exhaustive()
    }
}

impl Rare {
    pub(super) fn record_failed(&self, error: &Error) {
        self.failed.fetch_add(1, Relaxed);
        let mut error = error.clone();
        // Its record would stay until the next failure.
        let _record = error.take_record();
        let mut last = lock(&self.last_error);
        let before = last.replace(error);
        // Dropped outside the lock: its source may run foreign code.
        drop(last);
        drop(before);
    }
}

impl Deliveries {
    pub(super) fn of<'a>(shards: impl Iterator<Item = &'a Arc<Shard>>) -> Self {
        let mut sum = Self { micros: 0, max_micros: 0, bytes: 0, histogram: [0; buckets::COUNT] };
        for shard in shards {
            sum.micros = sum.micros.wrapping_add(shard.micros.load(Relaxed));
            sum.max_micros = sum.max_micros.max(shard.max_micros.load(Relaxed));
            sum.bytes = sum.bytes.wrapping_add(shard.bytes.load(Relaxed));
            for (to, from) in sum.histogram.iter_mut().zip(&shard.histogram) {
                *to += from.load(Relaxed);
            }
        }
        sum
    }
}

/// Rounded to the nearest µs: truncation would make the mean of short latencies too low by half a µs.
fn micros(latency: Duration) -> u64 {
    let rounded = (u64::from(latency.subsec_nanos()) + 500) / 1000;
    latency.as_secs().saturating_mul(1_000_000).saturating_add(rounded)
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
