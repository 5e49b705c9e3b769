use tower::limit::{ConcurrencyLimit, ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower_layer::Layer;

/// Makes tower's [`ConcurrencyLimit`] services. See the [module](super) for what they limit, and what not.
#[derive(Clone, Debug)]
pub struct ConcurrencyLayer(Limit);

#[derive(Clone, Debug)]
enum Limit {
    Each(ConcurrencyLimitLayer),
    All(GlobalConcurrencyLimitLayer),
}

impl ConcurrencyLayer {
    /// At most so many calls at a time in each service that the layer makes, shared with its clones.
    ///
    /// A limit of 0 lets nothing through, ever.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self(Limit::Each(ConcurrencyLimitLayer::new(max)))
    }

    /// At most so many calls at a time in all services together that this layer and its clones make.
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
