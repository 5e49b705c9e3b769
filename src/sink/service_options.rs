use std::fmt;
use std::time::Duration;

use kafka_tower_layers::circuit_breaker::CircuitBreakerHandle;
use kafka_tower_layers::metrics::Metrics;

use super::telemetry::SinkTelemetry;

/// Options of a sink over your own stack: [`KafkaSink::from_service_with`](crate::KafkaSink::from_service_with).
#[derive(Clone)]
#[must_use = "options do nothing by themselves"]
pub struct ServiceOptions {
    pub(super) send_timeout: Duration,
    pub(super) metrics: Metrics,
    pub(super) breaker: Option<CircuitBreakerHandle>,
    pub(super) telemetry: SinkTelemetry,
}

impl ServiceOptions {
    /// Returns options without a breaker and telemetry. `send_timeout` is the budget of a message without a deadline.
    pub fn new(send_timeout: Duration) -> Self {
        Self { send_timeout, metrics: Metrics::new(), breaker: None, telemetry: SinkTelemetry::default() }
    }

    /// Counts in these counters, which layers inside the stack may share: they count bytes, retries and trips. The sink
    /// counts sends and latencies around the stack, so the stack needs no `metered` layer. Default: counters of its own.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Sets the handle of the stack's circuit breaker, which [`KafkaSink::circuit_breaker`](crate::KafkaSink::circuit_breaker)
    /// returns and telemetry observes. Default: none.
    pub fn circuit_breaker(mut self, breaker: CircuitBreakerHandle) -> Self {
        self.breaker = Some(breaker);
        self
    }

    /// Reports each send, batch and transaction of messages to `topic` to OpenTelemetry, around the stack. The stack then
    /// needs no telemetry layer. Default: none.
    #[cfg(feature = "opentelemetry")]
    #[cfg_attr(docsrs, doc(cfg(feature = "opentelemetry")))]
    pub fn telemetry(mut self, telemetry: &kafka_tower_layers::telemetry::Telemetry, topic: &str) -> Self {
        self.telemetry = crate::optional::TelemetrySetting(Some(telemetry.clone())).of_topic(topic);
        self
    }
}

impl fmt::Debug for ServiceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceOptions")
            .field("send_timeout", &self.send_timeout)
            .field("circuit_breaker", &self.breaker.is_some())
            .field("telemetry", &self.telemetry)
            .finish_non_exhaustive()
    }
}
