use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use kafka_tower_core::sync::lock;

use super::event::Hooks;
use super::{DeliveryGuarantee, RetryEvent, RetryPolicy};

/// State shared by the handles and their futures.
pub(crate) struct RetryInner<S> {
    pub(super) policy: RetryPolicy,
    /// Futures keep a copy of the record, because the error of an attempt may not contain it.
    pub(crate) keeps: bool,
    profiles: Profiles,
    pub(super) hooks: Hooks,
    pub(super) seed: u64,
    /// Number of records that failed an attempt. Used to randomize the back-offs.
    failed: AtomicU64,
    /// Never polled, so it holds no reserved room. Cloned for each retry, not for each call.
    prototype: Mutex<S>,
}

impl<S: Clone> RetryInner<S> {
    pub(super) fn new(
        policy: RetryPolicy,
        keeps: bool,
        profiles: Profiles,
        hooks: Hooks,
        seed: u64,
        prototype: S,
    ) -> Self {
        Self { policy, keeps, profiles, hooks, seed, failed: AtomicU64::new(0), prototype: Mutex::new(prototype) }
    }

    /// Returns a service that must be polled ready before it is called.
    pub(super) fn unready(&self) -> S {
        lock(&self.prototype).clone()
    }
}

/// The policy of the records of a [profile](kafka_tower_core::Record::profile).
#[derive(Clone, Default)]
#[allow(clippy::type_complexity)]
pub(super) struct Profiles(pub(super) Option<Arc<dyn Fn(u8) -> Option<RetryPolicy> + Send + Sync>>);

impl fmt::Debug for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Profiles").field(&self.0.is_some()).finish()
    }
}

impl<S> RetryInner<S> {
    /// The policy of a profile that is not 0.
    #[cold]
    #[inline(never)]
    fn policy_of_profile(&self, profile: u8) -> RetryPolicy {
        self.profiles.0.as_ref().and_then(|find| find(profile)).unwrap_or_else(|| self.policy.clone())
    }

    /// The policy of a record.
    pub(super) fn policy_of(&self, profile: u8) -> Cow<'_, RetryPolicy> {
        if profile == 0 { Cow::Borrowed(&self.policy) } else { Cow::Owned(self.policy_of_profile(profile)) }
    }

    /// Whether records of this profile are never sent again.
    #[inline]
    pub(super) fn never_retries(&self, profile: u8) -> bool {
        let guarantee = match profile {
            0 => self.policy.guarantee,
            _ => self.policy_of_profile(profile).guarantee,
        };
        guarantee == DeliveryGuarantee::ExactlyOnce
    }

    pub(super) fn number(&self) -> u64 {
        self.failed.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn notify(&self, event: &RetryEvent<'_>) {
        tracing::debug!(
            topic = &**event.topic,
            attempt = event.attempt,
            delay_ms = event.delay.as_millis() as u64,
            isolated = event.isolated,
            error.type = event.error.error_type(),
            persistence = %event.error.persistence(),
            // Without its cause, into which a foreign layer may write parts of the record.
            error = event.error.message(),
            "sending a record again"
        );
        self.hooks.call(event);
    }
}
