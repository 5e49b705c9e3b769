use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kafka_tower_core::sync::lock;

use super::event::Hooks;
use super::{RetryEvent, RetryPolicy};

/// State shared by the handles and their futures.
pub(super) struct RetryInner<S> {
    pub(super) policy: RetryPolicy,
    pub(super) hooks: Hooks,
    pub(super) seed: u64,
    /// Number of records that failed an attempt. Used to randomize the back-offs.
    failed: AtomicU64,
    /// Never polled, so it holds no reserved room. Cloned for each retry, not for each call.
    prototype: Mutex<S>,
}

impl<S: Clone> RetryInner<S> {
    pub(super) fn new(policy: RetryPolicy, hooks: Hooks, seed: u64, prototype: S) -> Self {
        Self { policy, hooks, seed, failed: AtomicU64::new(0), prototype: Mutex::new(prototype) }
    }

    /// Returns a service that must be polled ready before it is called.
    pub(super) fn unready(&self) -> S {
        lock(&self.prototype).clone()
    }
}

impl<S> RetryInner<S> {
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
