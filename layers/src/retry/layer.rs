use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tower_layer::Layer;

use super::event::Hooks;
use super::inner::{Profiles, RetryInner};
use super::{Retry, RetryEvent, RetryPolicy};

/// Layer that creates [`Retry`] services. See the [module](super).
#[derive(Clone, Debug, Default)]
pub struct RetryLayer {
    policy: RetryPolicy,
    hooks: Hooks,
    seed: Option<u64>,
    profiles: Profiles,
}

impl RetryLayer {
    /// Creates a layer with this policy.
    #[must_use]
    pub fn new(policy: RetryPolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Adds a hook that is called whenever a record is about to be sent again, before its back-off starts. It runs
    /// while the record's future is polled, and must not block.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use kafka_tower_layers::retry::RetryLayer;
    ///
    /// let retries = Arc::new(AtomicU64::new(0));
    /// let count = Arc::clone(&retries);
    /// let layer = RetryLayer::default().on_retry(move |event| {
    ///     if !event.isolated {
    ///         count.fetch_add(1, Ordering::Relaxed);
    ///     }
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn on_retry(mut self, hook: impl Fn(&RetryEvent<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.push(hook);
        self
    }

    /// Sets what other policies the records of [profiles](kafka_tower_core::Record::profile) have.
    #[doc(hidden)] // only a sink calls it
    #[must_use]
    pub fn profiles(mut self, profiles: impl Fn(u8) -> Option<RetryPolicy> + Send + Sync + 'static) -> Self {
        self.profiles = Profiles(Some(Arc::new(profiles)));
        self
    }

    /// Seeds the jitter, so that a run can be repeated. Default: each service has a random seed.
    #[must_use]
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

impl From<RetryPolicy> for RetryLayer {
    fn from(policy: RetryPolicy) -> Self {
        Self::new(policy)
    }
}

impl<S: Clone> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let shared =
            RetryInner::new(self.policy.clone(), self.profiles.clone(), self.hooks.clone(), seed, inner.clone());
        Retry::new(inner, shared)
    }
}
