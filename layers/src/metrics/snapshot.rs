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
}
