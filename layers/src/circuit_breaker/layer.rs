use std::sync::Arc;

use tower_layer::Layer;

use super::inner::BreakerInner;
use super::{CircuitBreaker, CircuitBreakerConfig, CircuitBreakerHandle, DefaultClassifier, Transition};

/// Layer that creates [`CircuitBreaker`] services. See the [module](super).
///
/// One layer is one breaker: its clones, the services that it creates and their clones share it.
#[derive(Clone, Debug)]
pub struct CircuitBreakerLayer<C = DefaultClassifier> {
    shared: Arc<BreakerInner>,
    classifier: C,
    waits: bool,
}

impl CircuitBreakerLayer {
    /// Creates a closed breaker.
    #[must_use]
    pub fn new(config: CircuitBreakerConfig) -> Self {
        Self { shared: BreakerInner::new(config), classifier: DefaultClassifier, waits: false }
    }
}

impl<C> CircuitBreakerLayer<C> {
    /// Sets the [classifier](super::Classify) of the services that the layer creates from now on.
    #[must_use]
    pub fn classifier<D>(self, classifier: D) -> CircuitBreakerLayer<D> {
        CircuitBreakerLayer { shared: self.shared, classifier, waits: self.waits }
    }

    /// Sets whether the services that the layer creates from now on are not ready while the breaker is open, instead of
    /// rejecting calls. Default: false. See [waiting](super#waiting). Their `poll_ready` needs a tokio runtime with its timer.
    #[must_use]
    pub fn wait_while_open(self, wait: bool) -> Self {
        Self { waits: wait, ..self }
    }

    /// Adds a hook, see [`CircuitBreakerHandle::on_transition`].
    #[must_use]
    pub fn on_transition(self, hook: impl Fn(&Transition) + Send + Sync + 'static) -> Self {
        self.handle().on_transition(hook);
        self
    }

    /// Handle to observe and force the breaker.
    #[must_use]
    pub fn handle(&self) -> CircuitBreakerHandle {
        CircuitBreakerHandle { shared: Arc::clone(&self.shared) }
    }
}

impl Default for CircuitBreakerLayer {
    fn default() -> Self {
        Self::new(CircuitBreakerConfig::default())
    }
}

impl<S, C: Clone> Layer<S> for CircuitBreakerLayer<C> {
    type Service = CircuitBreaker<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, Arc::clone(&self.shared), self.classifier.clone(), self.waits)
    }
}
