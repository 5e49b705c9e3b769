use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use kafka_tower_core::unanswered::{self, Unanswered};
use kafka_tower_core::{Error, Result};
use pin_project::{pin_project, pinned_drop};

use super::admission::Admission;
use super::{Classify, Outcome};

/// Response future of [`CircuitBreaker`](super::CircuitBreaker).
///
/// # Errors
///
/// [`ErrorKind::CircuitOpen`](kafka_tower_core::ErrorKind::CircuitOpen), not persisted, if the call was rejected;
/// otherwise the errors of the service below.
///
/// # Cancel safety
///
/// Dropping it drops the future below. That counts as a failure if Kafka's client had the record for long enough, see
/// the [module](super#time-outs-and-dropped-sends). Otherwise it is neutral, and frees the place if this call was a
/// probe.
#[pin_project(PinnedDrop)]
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
        admission: Admission,
        classifier: C,
    },
    Over,
}

impl<F, C> CircuitBreakerFuture<F, C> {
    pub(super) fn rejected(error: Error) -> Self {
        Self { state: State::Rejected(Some(error)) }
    }

    pub(super) fn called(future: F, admission: Admission, classifier: C) -> Self {
        Self { state: State::Called { future, admission, classifier } }
    }
}

impl<F, R, E, C> Future for CircuitBreakerFuture<F, C>
where
    F: Future<Output = Result<R, E>>,
    E: Into<Error>,
    C: Classify<R>,
{
    type Output = Result<R>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        match state.as_mut().project() {
            StateProj::Rejected(error) => error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
            StateProj::Called { future, admission, classifier } => {
                let result = ready!(future.poll(cx)).map_err(Into::into);
                // Take the admission first: if the classifier panics, dropping it frees the probe's place.
                if let Some(admission) = admission.take() {
                    match classifier.classify(&result) {
                        Outcome::Success => admission.succeed(),
                        outcome => state.failed(admission, outcome, &result),
                    }
                }
                Poll::Ready(result)
            }
            StateProj::Over => Poll::Pending,
        }
    }
}

#[pinned_drop]
impl<F, C> PinnedDrop for CircuitBreakerFuture<F, C> {
    fn drop(self: Pin<&mut Self>) {
        let mut state = self.project().state;
        let admission = match state.as_mut().project() {
            StateProj::Called { admission, .. } => admission.take(),
            StateProj::Rejected(_) | StateProj::Over => None,
        };
        if let Some(admission) = admission {
            admission.abandoned(state.end().as_ref());
        }
    }
}

impl<F, C> State<F, C> {
    #[cold]
    fn failed<R>(self: Pin<&mut Self>, admission: Admission, outcome: Outcome, result: &Result<R>) {
        match outcome {
            // A layer below that times out does not know where the record was, but its transport does.
            Outcome::Unanswered => admission.timed_out(result, self.end().as_ref()),
            outcome => admission.settle(outcome, result),
        }
    }

    /// Drops the future below, and returns what a transport reported about its record.
    #[cold]
    fn end(mut self: Pin<&mut Self>) -> Option<Unanswered> {
        unanswered::listen(|| self.set(Self::Over))
    }
}

impl<F, C> fmt::Debug for CircuitBreakerFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Rejected(_) => "rejected",
            State::Called { .. } => "called",
            State::Over => "over",
        };
        f.debug_struct("CircuitBreakerFuture").field("state", &state).finish()
    }
}
