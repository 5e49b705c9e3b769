use tower_layer::Layer;

use super::{CountBytes, Metered, Metrics};

/// Layer that creates [`Metered`] services. See the [module](super).
#[derive(Clone, Debug, Default)]
pub struct MetricsLayer {
    metrics: Metrics,
}

impl MetricsLayer {
    /// Creates a layer that counts into `metrics`.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Metered<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Metered::new(inner, self.metrics.clone())
    }
}

/// Layer that creates [`CountBytes`] services. See the [module](super).
#[derive(Clone, Debug, Default)]
pub struct CountBytesLayer {
    metrics: Metrics,
}

impl CountBytesLayer {
    /// Creates a layer that counts into `metrics`.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }
}

impl Metrics {
    /// Creates the layer that counts the bytes of delivered records. Put it where requests are records: inside of
    /// `SerializeLayer` and outside of retry.
    #[must_use]
    pub fn bytes_layer(&self) -> CountBytesLayer {
        CountBytesLayer::new(self.clone())
    }
}

impl<S> Layer<S> for CountBytesLayer {
    type Service = CountBytes<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CountBytes::new(inner, self.metrics.clone())
    }
}
