use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use kafka_tower_core::{Error, Record, Result};
use tower_service::Service;

use super::event::Hooks;
use super::{DeliveryGuarantee, RetryEvent, RetryFuture, RetryLayer, RetryPolicy};

/// Service that retries records. Created by [`RetryLayer`].
#[derive(Clone)]
pub struct Retry<S> {
    inner: S,
    shared: Arc<RetryInner<S>>,
}

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

impl<S: Clone> Retry<S> {
    pub(super) fn new(inner: S, layer: &RetryLayer) -> Self {
        let shared = RetryInner {
            policy: layer.policy.clone(),
            hooks: layer.hooks.clone(),
            seed: layer.seed_of_a_service(),
            failed: AtomicU64::new(0),
            prototype: Mutex::new(inner.clone()),
        };
        Self { inner, shared: Arc::new(shared) }
    }
}

impl<S> Retry<S> {
    inner_service!(" Retries use the service as it was when the layer was applied.");
}

impl<S: Clone> RetryInner<S> {
    /// Returns a service that must be polled ready before it is called.
    pub(super) fn unready(&self) -> S {
        self.prototype.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

impl<S> Service<Record> for Retry<S>
where
    S: Service<Record> + Clone,
    S::Error: Into<Error>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = RetryFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    /// Makes the first attempt at once: call order is the order of the first attempts.
    fn call(&mut self, record: Record) -> Self::Future {
        // Not `then`: its closure would copy the record once more.
        let kept =
            if self.shared.policy.guarantee == DeliveryGuarantee::ExactlyOnce { None } else { Some(record.clone()) };
        let shared = Arc::clone(&self.shared);
        RetryFuture::new(self.inner.call(record), kept, shared)
    }
}

impl<S: fmt::Debug> fmt::Debug for Retry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("policy", &self.shared.policy).field("inner", &self.inner).finish_non_exhaustive()
    }
}
