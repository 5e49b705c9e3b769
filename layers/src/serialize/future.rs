use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use kafka_tower_core::{Error, Record, Result};
use pin_project::pin_project;
use tokio::sync::oneshot;
use tokio::time::Sleep;
use tower_service::Service;

use super::errors::{not_encoded_in_time, serialization};

pub(super) type Encode = Pin<Box<dyn Future<Output = Result<Vec<u8>>> + Send>>;

/// Response future of [`Serialize`](super::Serialize).
///
/// Dropping it while the serializer waits sends nothing. Dropping it later drops the future of the service below.
///
/// # Panics
///
/// If the serializer of a message with a deadline waits outside a tokio runtime with time enabled.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct SerializeFuture<S: Service<Record>> {
    #[pin]
    state: State<S, S::Future>,
}

#[pin_project(project = StateProj)]
enum State<S, F> {
    Called(#[pin] F),
    Failed(Option<Error>),
    // Boxed: rare, and much larger than the other states.
    Encoding(Box<Encoding<S>>),
}

/// A value whose serializer waits, with everything needed to send it.
pub(super) struct Encoding<S> {
    encode: Encode,
    deadline: Option<Pin<Box<Sleep>>>,
    service: S,
    record: Option<Record>,
    /// Makes the handle ready for its next message when it is dropped. The last field: dropped after all others.
    _passed_on: Option<oneshot::Sender<Infallible>>,
}

impl<S> Encoding<S> {
    pub(super) fn new(
        encode: Encode,
        service: S,
        record: Record,
        passed_on: Option<oneshot::Sender<Infallible>>,
    ) -> Self {
        Self { encode, deadline: None, service, record: Some(record), _passed_on: passed_on }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Record>> {
        if let Poll::Ready(value) = self.encode.as_mut().poll(cx) {
            let Some(mut record) = self.record.take() else {
                return Poll::Pending;
            };
            return Poll::Ready(value.map_err(serialization).map(|value| {
                record.value = Some(value.into());
                record
            }));
        }
        let Some(expires_at) = self.record.as_ref().and_then(|record| record.expires_at) else {
            return Poll::Pending;
        };
        ready!(self.deadline.get_or_insert_with(|| timer(expires_at)).as_mut().poll(cx));
        Poll::Ready(Err(not_encoded_in_time()))
    }
}

fn timer(at: Instant) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep_until(at.into()))
}

impl<S: Service<Record>> SerializeFuture<S> {
    pub(super) fn called(future: S::Future) -> Self {
        Self { state: State::Called(future) }
    }

    pub(super) fn failed(error: Error) -> Self {
        Self { state: State::Failed(Some(error)) }
    }

    pub(super) fn encoding(encoding: Encoding<S>) -> Self {
        Self { state: State::Encoding(Box::new(encoding)) }
    }
}

impl<S> Future for SerializeFuture<S>
where
    S: Service<Record>,
    S::Error: Into<Error>,
{
    type Output = Result<S::Response>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Called(future) => return future.poll(cx).map_err(Into::into),
                StateProj::Failed(error) => {
                    return error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
                }
                StateProj::Encoding(encoding) => match ready!(encoding.poll(cx)) {
                    Ok(record) => State::Called(encoding.service.call(record)),
                    Err(error) => {
                        state.set(State::Failed(None));
                        return Poll::Ready(Err(error));
                    }
                },
            };
            state.set(next);
        }
    }
}

impl<S: Service<Record>> fmt::Debug for SerializeFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Called(_) => "called",
            State::Failed(_) => "failed",
            State::Encoding(_) => "encoding",
        };
        f.debug_struct("SerializeFuture").field("state", &state).finish()
    }
}
