use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::{Error, Result};
use tower_service::Service;

use super::admission::Admission;
use super::shared::{Shared, Waiter};
use super::{CircuitBreakerFuture, CircuitBreakerHandle, Classify, errors};

/// Lets calls through to the service below while that is well. Made by
/// [`CircuitBreakerLayer`](super::CircuitBreakerLayer).
pub struct CircuitBreaker<S, C> {
    inner: S,
    shared: Arc<Shared>,
    classifier: C,
    asked: Asked,
    /// Deliveries through the breaker before the service below was asked.
    deliveries: u64,
    waiter: Option<Waiter>,
}

/// What the service below was asked for since the last call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    /// It may have a place among those who wait for room.
    Waiting,
    /// It may have reserved some.
    Ready,
}

impl<S, C> CircuitBreaker<S, C> {
    pub(super) fn new(inner: S, shared: Arc<Shared>, classifier: C) -> Self {
        Self { inner, shared, classifier, asked: Asked::Nothing, deliveries: 0, waiter: None }
    }

    /// The hand on the breaker.
    #[must_use]
    pub fn handle(&self) -> CircuitBreakerHandle {
        CircuitBreakerHandle { shared: Arc::clone(&self.shared) }
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service below, to change.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the service below out.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone, C> CircuitBreaker<S, C> {
    /// No call will follow soon: room that is reserved below, or a place in a queue, would be kept from others. A clone
    /// has neither.
    fn withdraw(&mut self) {
        if self.asked != Asked::Nothing {
            self.inner = self.inner.clone();
            self.asked = Asked::Nothing;
        }
        self.waiter = None;
    }
}

impl<S, C, Req> Service<Req> for CircuitBreaker<S, C>
where
    S: Service<Req> + Clone,
    S::Error: Into<Error>,
    C: Classify<S::Response> + Clone,
{
    type Response = S::Response;
    type Error = Error;
    type Future = CircuitBreakerFuture<S::Future, C>;

    /// As the service below; ready without asking it while a call would be rejected, so that the caller is told at once
    /// and does not wait for room that nobody makes.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.shared.would_admit() {
            if self.asked == Asked::Nothing {
                self.deliveries = self.shared.deliveries();
            }
            self.asked = Asked::Waiting;
            if let Poll::Ready(ready) = self.inner.poll_ready(cx) {
                self.asked = Asked::Ready;
                self.waiter = None;
                return Poll::Ready(ready.map_err(Into::into));
            }
            if self.shared.wait(&mut self.waiter, cx.waker()) {
                return Poll::Pending;
            }
        }
        self.withdraw();
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let admission = match Admission::new(&self.shared, self.deliveries) {
            // It became half-open after the poll, which then asked nobody for room.
            Ok(_) if self.asked != Asked::Ready => Err(errors::not_ready()),
            admission => admission,
        };
        match admission {
            Ok(admission) => {
                self.asked = Asked::Nothing;
                CircuitBreakerFuture::called(self.inner.call(request), admission, self.classifier.clone())
            }
            Err(error) => {
                self.withdraw();
                CircuitBreakerFuture::rejected(error)
            }
        }
    }
}

/// Shares the breaker, and waits for itself.
impl<S: Clone, C: Clone> Clone for CircuitBreaker<S, C> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.shared), self.classifier.clone())
    }
}

impl<S: fmt::Debug, C> fmt::Debug for CircuitBreaker<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("shared", &self.shared)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
