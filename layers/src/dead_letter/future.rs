use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use kafka_tower_core::{Error, Record, Result};
use pin_project::pin_project;
use tower_service::Service;

use super::decide::lacks_partition;

/// Response future of [`DeadLetter`](super::DeadLetter).
///
/// # Errors
///
/// That of the service below, or [`ErrorKind::Refused`](kafka_tower_core::ErrorKind::Refused). The record may be in no log but
/// its own, and must not be skipped.
///
/// # Cancel safety
///
/// Dropping it makes no further attempt, and drops the future of the current one.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct DeadLetterFuture<S: Service<Record>> {
    #[pin]
    state: State<S, S::Future>,
}

#[pin_project(project = StateProj)]
enum State<S, F> {
    Refused(Option<Error>),
    /// With its partition: the letter and the service for a second attempt.
    First(#[pin] F, Option<Box<(Record, S)>>),
    /// The topic does not have the partition.
    Between(Box<(Record, S)>),
    Second(#[pin] F),
    Over,
}

impl<S: Service<Record>> DeadLetterFuture<S> {
    pub(super) fn new(first: S::Future, letter: Record, again: S) -> Self {
        Self { state: State::First(first, Some(Box::new((letter, again)))) }
    }

    pub(super) fn refused(error: Error) -> Self {
        Self { state: State::Refused(Some(error)) }
    }
}

impl<S> Future for DeadLetterFuture<S>
where
    S: Service<Record>,
    S::Error: Into<Error>,
{
    type Output = Result<S::Response>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let (next, result) = match state.as_mut().project() {
                StateProj::Refused(error) => (State::Over, error.take().map(Err)),
                StateProj::First(attempt, again) => match ready!(attempt.poll(cx)).map_err(Into::into) {
                    Err(error) if lacks_partition(&error) => match again.take() {
                        Some(again) => (State::Between(again), None),
                        None => (State::Over, Some(Err(error))),
                    },
                    result => (State::Over, Some(result)),
                },
                StateProj::Between(again) => {
                    let (letter, service) = &mut **again;
                    match ready!(service.poll_ready(cx)) {
                        Ok(()) => {
                            letter.partition = None;
                            (State::Second(service.call(letter.clone())), None)
                        }
                        Err(error) => (State::Over, Some(Err(error.into()))),
                    }
                }
                StateProj::Second(attempt) => (State::Over, Some(ready!(attempt.poll(cx)).map_err(Into::into))),
                StateProj::Over => return Poll::Pending,
            };
            state.set(next);
            if let Some(result) = result {
                return Poll::Ready(result);
            }
        }
    }
}

impl<S: Service<Record>> fmt::Debug for DeadLetterFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Refused(_) => "refused",
            State::First(..) => "sending",
            State::Between(_) => "waiting for room without its partition",
            State::Second(_) => "sending without its partition",
            State::Over => "over",
        };
        f.debug_struct("DeadLetterFuture").field("state", &state).finish_non_exhaustive()
    }
}
