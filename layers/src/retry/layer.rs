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
    takes_back: bool,
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

    /// Sets whether each send keeps a copy of its record for its retries. Default: true.
    ///
    /// False saves the copy where the error of a failed attempt [contains the record](kafka_tower_core::Error::take_record):
    /// over a transport that [gives records back](kafka_tower_core::Control::giver), if all layers between
    /// pass its errors on. A record that no error gives back is not sent again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> kafka_tower_core::Result<()> {
    /// use kafka_tower_core::{Error, ErrorKind, Persistence, Record};
    /// use kafka_tower_layers::retry::RetryLayer;
    /// use kafka_tower_memory::{MemoryKafka, MemoryTransport};
    /// use tower::{ServiceBuilder, ServiceExt};
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 3);
    /// let no_leader = Error::new(ErrorKind::Broker, "no leader").with_persistence(Persistence::NotPersisted);
    /// kafka.script().times(2).fail(no_leader);
    ///
    /// let transport = kafka.transport();
    /// let keep = !transport.control().gives_records_back::<MemoryTransport>();
    /// let service = ServiceBuilder::new().layer(RetryLayer::default().keep_records(keep)).service(transport);
    /// service.oneshot(Record::new("orders").with_value("first")).await?;
    /// assert!(!keep);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn keep_records(mut self, keep: bool) -> Self {
        self.takes_back = !keep;
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
        let (policy, keeps, profiles) = (self.policy.clone(), !self.takes_back, self.profiles.clone());
        Retry::new(inner.clone(), RetryInner::new(policy, keeps, profiles, self.hooks.clone(), seed, inner))
    }
}
