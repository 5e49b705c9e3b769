use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use kafka_tower_core::{Error, Result};
use tower_service::Service;

use super::admission::{Admission, Admitted};
use super::inner::{BreakerInner, Waiter};
use super::state::{Admits, Ticket};
use super::wait::Wait;
use super::{CircuitBreakerFuture, CircuitBreakerHandle, Classify, errors};

/// Service that calls the service below while that one is healthy. Created by
/// [`CircuitBreakerLayer`](super::CircuitBreakerLayer).
pub struct CircuitBreaker<S, C> {
    inner: S,
    shared: Arc<BreakerInner>,
    classifier: C,
    readiness: Readiness,
    /// The owner [watches](BreakerInner::watch) for deliveries after a call.
    watches_late: bool,
    waiter: Option<Waiter>,
    /// Set if it is not ready while the breaker is open.
    wait: Option<Box<Wait>>,
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
    pub(super) fn new(inner: S, shared: Arc<BreakerInner>, classifier: C, waits: bool) -> Self {
        let wait = waits.then(Box::default);
        Self { inner, shared, classifier, readiness: Readiness::NotPolled, watches_late: false, waiter: None, wait }
    }

    /// Leaves it to the owner to watch for deliveries after a call. Not so in a clone.
    #[cfg(feature = "record-stack")]
    pub(crate) fn watch_late(&mut self) {
        self.watches_late = true;
    }

    /// State that the services of the breaker share.
    #[cfg(feature = "record-stack")]
    pub(crate) fn shared(&self) -> &Arc<BreakerInner> {
        &self.shared
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
                drop(Admitted::new(ticket, self.shared.deliveries()).admission(&self.shared));
                errors::not_ready()
            }
            Err(error) => error,
        };
        self.withdraw();
        error
    }
}

impl<S: Clone, C> CircuitBreaker<S, C> {
    /// Admits a call of the service below, which must follow, or returns the rejection.
    #[inline]
    pub(crate) fn admit(&mut self) -> Result<Admitted> {
        if !self.watches_late {
            self.shared.watch();
        }
        let waited = self.wait.as_mut().and_then(|wait| wait.take());
        if let Some(admitted) = waited.and_then(Admission::into_admitted) {
            self.readiness = Readiness::NotPolled;
            return Ok(admitted.called(&self.shared));
        }
        match self.shared.admit() {
            Ok(ticket) if self.readiness == Readiness::Ready => {
                self.readiness = Readiness::NotPolled;
                Ok(Admitted::new(ticket, self.shared.deliveries()))
            }
            admitted => Err(self.reject(admitted)),
        }
    }

    #[inline]
    fn poll_inner<Req>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req>,
    {
        self.readiness = Readiness::Waiting;
        let ready = self.inner.poll_ready(cx);
        if ready.is_ready() {
            self.readiness = Readiness::Ready;
        }
        ready
    }

    /// Polls the service below while a call is admitted, and admits the next call as soon as it is ready: one that waits
    /// for room takes no probe's place.
    fn poll_admission<Req>(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>
    where
        S: Service<Req>,
        S::Error: Into<Error>,
    {
        if self.wait.as_mut().is_some_and(|wait| wait.is_admitted()) {
            return Poll::Ready(Ok(()));
        }
        loop {
            if self.shared.would_admit() {
                match self.poll_inner(cx) {
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                    Poll::Ready(Ok(())) => {
                        if let (Some(ticket), Some(wait)) = (self.shared.try_admit(), &mut self.wait) {
                            wait.admit(Admitted::new(ticket, self.shared.deliveries()).admission(&self.shared));
                            self.waiter = None;
                            return Poll::Ready(Ok(()));
                        }
                    }
                    Poll::Pending if self.shared.wait(&mut self.waiter, cx.waker()) == Admits::Now => {
                        return Poll::Pending;
                    }
                    Poll::Pending => {}
                }
            }
            self.withdraw();
            let at = match self.shared.wait(&mut self.waiter, cx.waker()) {
                Admits::Now => continue,
                Admits::At(at) => Some(at),
                Admits::AfterChange => None,
            };
            if let Some(wait) = &mut self.wait {
                ready!(wait.poll(at, cx));
            }
        }
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

    /// Polls the service below. While a call would be rejected, it is ready at once, so that the caller gets the rejection
    /// and does not wait for room; or it is not ready, if it [waits](super::CircuitBreakerLayer::wait_while_open).
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.wait.is_some() {
            return self.poll_admission(cx);
        }
        if self.shared.would_admit() {
            if let Poll::Ready(ready) = self.poll_inner(cx) {
                self.waiter = None;
                return Poll::Ready(ready.map_err(Into::into));
            }
            if self.shared.wait(&mut self.waiter, cx.waker()) == Admits::Now {
                return Poll::Pending;
            }
        }
        self.withdraw();
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.admit() {
            Ok(admitted) => {
                let admission = admitted.admission(&self.shared);
                CircuitBreakerFuture::called(self.inner.call(request), admission, self.classifier.clone())
            }
            Err(error) => CircuitBreakerFuture::rejected(error),
        }
    }
}

/// A clone shares the breaker, and waits for readiness on its own.
impl<S: Clone, C: Clone> Clone for CircuitBreaker<S, C> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.shared), self.classifier.clone(), self.wait.is_some())
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
