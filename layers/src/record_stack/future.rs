use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use kafka_tower_core::{Error, Record, Result, unanswered};
use pin_project::{pin_project, pinned_drop};
use tower_service::Service;

use super::service::Shared;
use crate::circuit_breaker::{Admitted, Classify, DefaultClassifier, Outcome};
use crate::retry::{Between, History};

/// Response future of [`RecordStack`](super::RecordStack).
///
/// # Errors
///
/// [`ErrorKind::CircuitOpen`](kafka_tower_core::ErrorKind::CircuitOpen), not persisted, if the record was rejected.
/// Otherwise the error of the last attempt, as that of [`RetryFuture`](crate::retry::RetryFuture).
///
/// # Cancel safety
///
/// Dropping it makes no further attempt, and drops the future of the current one. The circuit breaker counts that as a
/// failure if Kafka's client had the record for long enough, see [its module](crate::circuit_breaker#time-outs-and-dropped-sends).
///
/// # Panics
///
/// If it has to back off outside a tokio runtime with time enabled.
#[pin_project(PinnedDrop)]
#[must_use = "futures do nothing unless polled"]
pub struct RecordStackFuture<S: Service<Record>> {
    #[pin]
    state: State<S, S::Future>,
    send: Send<S>,
}

#[pin_project(project = StateProj)]
enum State<S, F> {
    Attempting(#[pin] F),
    // Boxed: rare, and much larger than the other states.
    Between(Box<Between<S>>),
    Rejected(Option<Error>),
    Over,
}

/// A send through the stack.
pub(super) struct Send<S> {
    shared: Arc<Shared<S>>,
    /// Taken when the result counts in the circuit breaker.
    admitted: Option<Admitted>,
    bytes: usize,
    history: History,
    /// The record to send again, kept or given back.
    record: Option<Box<Record>>,
}

impl<S> Send<S> {
    #[inline]
    pub(super) fn new(
        shared: &Arc<Shared<S>>,
        admitted: Option<Admitted>,
        bytes: usize,
        record: Option<Box<Record>>,
    ) -> Self {
        Self { shared: Arc::clone(shared), admitted, bytes, history: History::default(), record }
    }

    pub(super) fn rejected(shared: &Arc<Shared<S>>) -> Self {
        Self::new(shared, None, 0, None)
    }

    #[inline]
    fn delivered(&mut self) {
        if let Some(admitted) = self.admitted.take() {
            admitted.succeed(&self.shared.breaker);
            self.shared.counters.record_bytes(self.bytes as u64);
        }
    }

    /// Counts the final error, and adds what is known of all attempts.
    #[cold]
    fn failed<R>(&mut self, error: Error) -> Result<R> {
        let result = Err(self.history.final_error(error, self.record.take().map(|record| *record)));
        let admission = self.admitted.take().map(|admitted| admitted.admission(&self.shared.breaker));
        if let Some(admission) = admission {
            match DefaultClassifier.classify(&result) {
                // The last attempt's future was dropped before.
                Outcome::Unanswered => admission.timed_out(&result, None),
                outcome => admission.settle(outcome, &result),
            }
        }
        result
    }
}

impl<S: Clone> Send<S> {
    /// Decides what to do after a failed attempt.
    #[cold]
    fn after(&mut self, mut error: Error) -> Result<Box<Between<S>>> {
        self.shared.breaker.watch();
        if self.record.is_none() {
            self.record = error.take_record().map(Box::new);
        }
        self.history.after(error, self.record.as_deref_mut(), &self.shared.retry).map(Box::new)
    }

    /// The record for another attempt. Not kept, if the next error gives it back.
    fn again(&mut self) -> Option<Record> {
        if self.shared.retry.keeps { self.record.as_deref().cloned() } else { self.record.take().map(|record| *record) }
    }
}

impl<S: Service<Record>> RecordStackFuture<S> {
    #[inline]
    pub(super) fn called(first: S::Future, send: Send<S>) -> Self {
        Self { state: State::Attempting(first), send }
    }

    #[cold]
    pub(super) fn rejected(error: Error, send: Send<S>) -> Self {
        Self { state: State::Rejected(Some(error)), send }
    }
}

impl<S> Future for RecordStackFuture<S>
where
    S: Service<Record> + Clone,
    S::Error: Into<Error>,
{
    type Output = Result<S::Response>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mut state, send) = (this.state, this.send);
        loop {
            let next = match state.as_mut().project() {
                StateProj::Attempting(attempt) => match attempt.poll(cx) {
                    Poll::Pending => {
                        send.shared.breaker.watch();
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(response)) => {
                        send.delivered();
                        return Poll::Ready(Ok(response));
                    }
                    Poll::Ready(Err(error)) => send.after(error.into()).map(State::Between),
                },
                StateProj::Between(between) => ready!(between.poll(cx)).and_then(|()| {
                    let Some(record) = send.again() else { return Ok(State::Over) };
                    Ok(State::Attempting(between.service.call(record)))
                }),
                StateProj::Rejected(error) => {
                    return error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
                }
                StateProj::Over => return Poll::Pending,
            };
            match next {
                // `set` drops the last attempt before the next one waits for room that it held.
                Ok(next) => state.set(next),
                Err(error) => {
                    state.set(State::Over);
                    return Poll::Ready(send.failed(error));
                }
            }
        }
    }
}

#[pinned_drop]
impl<S: Service<Record>> PinnedDrop for RecordStackFuture<S> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        let (mut state, send) = (this.state, this.send);
        if let Some(admitted) = send.admitted.take() {
            let dropped = unanswered::listen(|| state.set(State::Over));
            admitted.admission(&send.shared.breaker).abandoned(dropped.as_ref());
        }
    }
}

impl<S: Service<Record>> fmt::Debug for RecordStackFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Attempting(_) => "attempting",
            State::Between(_) => "between attempts",
            State::Rejected(_) => "rejected",
            State::Over => "over",
        };
        f.debug_struct("RecordStackFuture")
            .field("state", &state)
            .field("failed_attempts", &self.send.history.attempts())
            .finish_non_exhaustive()
    }
}
