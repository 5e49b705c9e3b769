/// What was sent up to now. See the [module](super) for what counts as what.
///
/// The counts are read one after the other while others are sending: they are each exact, and of slightly different
/// moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkMetrics {
    /// Sends that were answered with a delivery.
    pub messages_sent: u64,
    /// Sends that were answered with an error.
    pub messages_failed: u64,
    /// Bytes of keys, values and headers of delivered records.
    pub bytes_sent: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// How often the circuit breaker opened.
    pub circuit_breaker_trips: u64,
    /// From call to delivery, in µs: the mean of the sends that were delivered.
    pub avg_latency_us: u64,
    /// The longest of them.
    pub max_latency_us: u64,
    /// What half of them did not exceed. Percentiles are never too low, and less than a quarter too high.
    pub p50_latency_us: u64,
    /// What 90 of 100 did not exceed.
    pub p90_latency_us: u64,
    /// What 99 of 100 did not exceed.
    pub p99_latency_us: u64,
    /// Sends whose future was dropped before the answer. The record may have gone on.
    pub abandoned: u64,
    /// What happened in the last error that a send was answered with, and its causes: without persistence and help.
    pub last_error_msg: Option<String>,
}
