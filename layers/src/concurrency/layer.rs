use tower::limit::{ConcurrencyLimit, ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower_layer::Layer;

/// Layer that creates tower's [`ConcurrencyLimit`] services. See the [module](super) for what they limit and what
/// they do not.
#[derive(Clone, Debug)]
pub struct ConcurrencyLayer(Limit);

#[derive(Clone, Debug)]
enum Limit {
    Each(ConcurrencyLimitLayer),
    All(GlobalConcurrencyLimitLayer),
}

impl ConcurrencyLayer {
    /// Limits each service that the layer creates, together with its clones, to `max` calls at a time.
    ///
    /// A limit of 0 never admits a call.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self(Limit::Each(ConcurrencyLimitLayer::new(max)))
    }

    /// Limits all services together that this layer and its clones create to `max` calls at a time.
    #[must_use]
    pub fn global(max: usize) -> Self {
        Self(Limit::All(GlobalConcurrencyLimitLayer::new(max)))
    }
}

impl<S> Layer<S> for ConcurrencyLayer {
    type Service = ConcurrencyLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        match &self.0 {
            Limit::Each(limit) => limit.layer(inner),
            Limit::All(limit) => limit.layer(inner),
        }
    }
}
