use std::time::Duration;

use super::Rates;
use super::rates::Totals;

/// Snapshot of a sink's metrics. See the [module](super) for what counts.
///
/// The counters are read one after another while sends continue: each is exact, at slightly different moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkMetrics {
    /// Sends that were delivered.
    pub messages_sent: u64,
    /// Sends that failed.
    pub messages_failed: u64,
    /// Bytes of keys, values and headers of delivered records.
    pub bytes_sent: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Number of times that the circuit breaker opened.
    pub circuit_breaker_trips: u64,
    /// Mean latency of delivered sends, from call to delivery, in µs.
    pub avg_latency_us: u64,
    /// Maximum latency of delivered sends, in µs.
    pub max_latency_us: u64,
    /// 50th percentile of the latency of delivered sends, in µs. Percentiles are never too low, and less than a
    /// quarter too high.
    pub p50_latency_us: u64,
    /// 90th percentile of the latency of delivered sends, in µs.
    pub p90_latency_us: u64,
    /// 99th percentile of the latency of delivered sends, in µs.
    pub p99_latency_us: u64,
    /// Sends whose future was dropped before it resolved. Their records may have been written.
    pub abandoned: u64,
    /// Message and causes of the last error that a send returned, without persistence and help.
    pub last_error_msg: Option<String>,
    /// Time from the creation of the counters, which is that of the sink, to this snapshot.
    pub uptime: Duration,
}

impl SinkMetrics {
    /// Returns what happened per second between an earlier snapshot of the same sink and this one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kafka_tower_layers::metrics::Metrics;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let metrics = Metrics::new(); // of a sink: `sink.metrics().await`
    /// let mut before = metrics.snapshot();
    /// for sends in [10, 30] {
    ///     tokio::time::sleep(Duration::from_secs(5)).await;
    ///     (0..sends).for_each(|_| metrics.record_delivered(Duration::from_millis(2)));
    ///
    ///     let now = metrics.snapshot();
    ///     println!("{}", now.since(&before)); // 2.0 messages/s, 0 B/s, …; then 6.0 messages/s
    ///     assert_eq!(now.since(&before).messages_per_sec, f64::from(sends) / 5.0);
    ///     before = now;
    /// }
    /// assert_eq!(before.rates().messages_per_sec, 4.0);
    /// # }
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Rates {
        Rates::between(self.totals(), earlier.totals())
    }

    /// Returns the mean rates since the sink was made.
    #[must_use]
    pub fn rates(&self) -> Rates {
        self.since(&Self::default())
    }

    fn totals(&self) -> Totals {
        Totals {
            uptime: self.uptime,
            messages: self.messages_sent,
            bytes: self.bytes_sent,
            failures: self.messages_failed,
            retries: self.retries,
        }
    }
}
