use std::time::Duration;

/// When a circuit breaker opens and closes.
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
    /// Opens after 5 failures in a row, for 60 s; then one call at a time probes, and its success closes.
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

    /// How many failures in a row open the breaker; 0 counts as 1.
    #[must_use]
    pub const fn failure_threshold(mut self, failures: u32) -> Self {
        self.failure_threshold = failures;
        self
    }

    /// How long it stays open before it lets probes through.
    #[must_use]
    pub const fn open_for(mut self, duration: Duration) -> Self {
        self.open_for = duration;
        self
    }

    /// How many calls may probe while it is half-open; 0 counts as 1.
    #[must_use]
    pub const fn probes(mut self, probes: u32) -> Self {
        self.probes = probes;
        self
    }

    /// How many of the probes have to succeed before it closes: from 1 up to [`probes`](Self::probes).
    #[must_use]
    pub const fn probe_successes(mut self, successes: u32) -> Self {
        self.probe_successes = successes;
        self
    }

    /// How long probes may take: longer than a send may. When the last one was let through this long ago, those that are
    /// on their way are given up: the next call begins a new half-open period, and their results change nothing.
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
