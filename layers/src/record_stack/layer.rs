use tower_layer::Layer;

use super::RecordStack;
use crate::circuit_breaker::CircuitBreakerLayer;
use crate::metrics::Metrics;
use crate::partition::PartitionLayer;
use crate::retry::RetryLayer;

/// Layer that creates [`RecordStack`] services. See the [module](super).
#[derive(Clone, Debug)]
pub struct RecordStackLayer {
    partition: PartitionLayer,
    breaker: CircuitBreakerLayer,
    retry: RetryLayer,
    metrics: Metrics,
}

impl RecordStackLayer {
    /// Creates a layer that does what these layers do in this order, the first outermost. `metrics` gets the bytes of
    /// delivered records.
    #[must_use]
    pub fn new(partition: PartitionLayer, breaker: CircuitBreakerLayer, retry: RetryLayer, metrics: Metrics) -> Self {
        Self { partition, breaker, retry, metrics }
    }
}

impl<S: Clone> Layer<S> for RecordStackLayer {
    type Service = RecordStack<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let composed = self.partition.layer(self.breaker.layer(self.retry.layer(inner)));
        RecordStack::new(composed, self.metrics.clone())
    }
}
