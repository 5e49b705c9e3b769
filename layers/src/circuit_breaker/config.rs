use std::time::Duration;

/// Configuration of a circuit breaker: when it opens and closes.
///
/// ```
/// use std::time::Duration;
/// use kafka_tower_layers::circuit_breaker::CircuitBreakerConfig;
///
/// let config = CircuitBreakerConfig::new()
///     .failure_threshold(3)
///     .open_for(Duration::from_secs(10))
///     .probes(4)
///     .probe_successes(2);
/// # let _ = config;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitBreakerConfig {
    pub(super) failure_threshold: u32,
    pub(super) open_for: Duration,
    pub(super) probes: u32,
    pub(super) probe_successes: u32,
    pub(super) probe_lease: Duration,
}

impl CircuitBreakerConfig {
    /// Creates the default configuration: opens after 5 failures in a row, for 60 s; then one call at a time probes,
    /// and its success closes the breaker.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            failure_threshold: 5,
            open_for: Duration::from_secs(60),
            probes: 1,
            probe_successes: 1,
            probe_lease: Duration::from_secs(60),
        }
    }

    /// Number of failures in a row that open the breaker. Default: 5. 0 counts as 1.
    #[must_use]
    pub const fn failure_threshold(mut self, failures: u32) -> Self {
        self.failure_threshold = failures;
        self
    }

    /// How long the breaker stays open before it admits probes. Default: 60 s.
    #[must_use]
    pub const fn open_for(mut self, duration: Duration) -> Self {
        self.open_for = duration;
        self
    }

    /// Number of calls that may probe while the breaker is half-open. Default: 1. 0 counts as 1.
    #[must_use]
    pub const fn probes(mut self, probes: u32) -> Self {
        self.probes = probes;
        self
    }

    /// Number of successful probes that close the breaker, from 1 to [`probes`](Self::probes). Default: 1.
    #[must_use]
    pub const fn probe_successes(mut self, successes: u32) -> Self {
        self.probe_successes = successes;
        self
    }

    /// Maximum duration of probes; set it longer than a send may take. Default: 60 s. If the last probe was admitted
    /// this long ago, the unfinished probes are given up: the next call starts a new half-open period, and their
    /// results no longer count.
    #[must_use]
    pub const fn probe_lease(mut self, duration: Duration) -> Self {
        self.probe_lease = duration;
        self
    }

    pub(super) fn in_bounds(mut self) -> Self {
        self.failure_threshold = self.failure_threshold.max(1);
        self.probes = self.probes.max(1);
        self.probe_successes = self.probe_successes.clamp(1, self.probes);
        self
    }
}

impl Default for CircuitBreakerConfig {
    fn default() -> Self {
        Self::new()
    }
}
