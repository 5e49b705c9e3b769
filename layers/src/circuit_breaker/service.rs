use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::{Error, Result};
use tower_service::Service;

use super::admission::Admission;
use super::inner::{BreakerInner, Waiter};
use super::state::Ticket;
use super::{CircuitBreakerFuture, CircuitBreakerHandle, Classify, errors};

/// Service that calls the service below while that one is healthy. Created by
/// [`CircuitBreakerLayer`](super::CircuitBreakerLayer).
pub struct CircuitBreaker<S, C> {
    inner: S,
    shared: Arc<BreakerInner>,
    classifier: C,
    readiness: Readiness,
    /// Number of deliveries through the breaker before the service below was polled.
    deliveries: u32,
    waiter: Option<Waiter>,
}

/// Readiness of the service below since the last call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    NotPolled,
    /// It may hold a place in a queue for room.
    Waiting,
    /// It may hold reserved room.
    Ready,
}

impl<S, C> CircuitBreaker<S, C> {
    pub(super) fn new(inner: S, shared: Arc<BreakerInner>, classifier: C) -> Self {
        Self { inner, shared, classifier, readiness: Readiness::NotPolled, deliveries: 0, waiter: None }
    }

    /// Handle to observe and force the breaker.
    #[must_use]
    pub fn handle(&self) -> CircuitBreakerHandle {
        CircuitBreakerHandle { shared: Arc::clone(&self.shared) }
    }

    inner_service!();
}

impl<S: Clone, C> CircuitBreaker<S, C> {
    /// Releases room that is reserved below, or a place in a queue, because no call will follow soon. A clone holds
    /// neither.
    fn withdraw(&mut self) {
        if self.readiness != Readiness::NotPolled {
            self.inner = self.inner.clone();
            self.readiness = Readiness::NotPolled;
        }
        self.waiter = None;
    }
}

impl<S: Clone, C> CircuitBreaker<S, C> {
    #[cold]
    fn reject(&mut self, admitted: Result<Ticket>) -> Error {
        let error = match admitted {
            // It became half-open after the poll, which therefore reserved no room.
            Ok(ticket) => {
                drop(Admission::new(&self.shared, ticket, self.deliveries));
                errors::not_ready()
            }
            Err(error) => error,
        };
        self.withdraw();
        error
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

    /// Polls the service below. Ready at once while a call would be rejected, so that the caller gets the rejection
    /// and does not wait for room.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.shared.would_admit() {
            if self.readiness == Readiness::NotPolled {
                self.deliveries = self.shared.deliveries();
            }
            self.readiness = Readiness::Waiting;
            if let Poll::Ready(ready) = self.inner.poll_ready(cx) {
                self.readiness = Readiness::Ready;
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
        let ticket = match self.shared.admit() {
            Ok(ticket) if self.readiness == Readiness::Ready => ticket,
            admitted => return CircuitBreakerFuture::rejected(self.reject(admitted)),
        };
        self.readiness = Readiness::NotPolled;
        let admission = Admission::new(&self.shared, ticket, self.deliveries);
        CircuitBreakerFuture::called(self.inner.call(request), admission, self.classifier.clone())
    }
}

/// A clone shares the breaker, and waits for readiness on its own.
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
