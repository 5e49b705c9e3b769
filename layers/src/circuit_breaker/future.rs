use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use kafka_tower_core::{Error, Result};
use pin_project::pin_project;

use super::Classify;
use super::admission::Admission;

/// The answer of [`CircuitBreaker`](super::CircuitBreaker).
///
/// # Errors
///
/// [`ErrorKind::CircuitOpen`](kafka_tower_core::ErrorKind::CircuitOpen), not persisted, if the call was not let through;
/// else those of the service below.
///
/// # Cancel safety
///
/// Dropping it counts for nothing, and lets another call probe if this one did.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct CircuitBreakerFuture<F, C> {
    #[pin]
    state: State<F, C>,
}

#[pin_project(project = StateProj)]
enum State<F, C> {
    Rejected(Option<Error>),
    Called {
        #[pin]
        future: F,
        admission: Option<Admission>,
        classifier: C,
    },
}

impl<F, C> CircuitBreakerFuture<F, C> {
    pub(super) fn rejected(error: Error) -> Self {
        Self { state: State::Rejected(Some(error)) }
    }

    pub(super) fn called(future: F, admission: Admission, classifier: C) -> Self {
        Self { state: State::Called { future, admission: Some(admission), classifier } }
    }
}

impl<F, R, E, C> Future for CircuitBreakerFuture<F, C>
where
    F: Future<Output = Result<R, E>>,
    E: Into<Error>,
    C: Classify<R>,
{
    type Output = Result<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Rejected(error) => error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
            StateProj::Called { future, admission, classifier } => {
                let result = ready!(future.poll(cx)).map_err(Into::into);
                // Out first: a classifier that panics gives the probe's place back.
                if let Some(admission) = admission.take() {
                    admission.settle(classifier.classify(&result), &result);
                }
                Poll::Ready(result)
            }
        }
    }
}

impl<F, C> fmt::Debug for CircuitBreakerFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Rejected(_) => "rejected",
            State::Called { .. } => "called",
        };
        f.debug_struct("CircuitBreakerFuture").field("state", &state).finish()
    }
}
