use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use kafka_tower_core::ticket::Ticket;
use kafka_tower_core::{Delivery, Error, Result, SinkMessage};
use tower_service::Service;

use super::called::{Called, Tracked, Tracker};
use super::completeness::answered;
use super::{KafkaSink, deadline};

/// Each clone is a handle with its own readiness. The call determines the place in the order.
///
/// A message without a deadline gets `send_timeout_ms` from the call on; the caller bounds the wait in `poll_ready`.
impl<T> Service<SinkMessage<T>> for KafkaSink<T> {
    type Response = Delivery;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.inner.refusal().is_some() {
            // `call` returns the refusal. An error here is permanent for the service, and `Buffer` would return it to
            // earlier requests too.
            return Poll::Ready(Ok(()));
        }
        let inner = &self.inner;
        let ready = self.stack.get_or_insert_with(|| inner.fresh()).poll_ready(cx);
        if matches!(ready, Poll::Ready(Err(_))) {
            self.stack = None;
        }
        ready
    }

    /// # Panics
    ///
    /// If `poll_ready` was not ready before, as tower's contract requires.
    fn call(&mut self, mut message: SinkMessage<T>) -> Self::Future {
        let inner = &self.inner;
        if let Some(error) = inner.refusal() {
            let ticket = inner.ticket(&mut message).unwrap_or_default();
            let error = inner.failed(Some(&message), None, error);
            return ResponseFuture::new(State::Rejected(Some(error), ticket));
        }
        let Some(stack) = &mut self.stack else { panic!("`poll_ready` must be ready before `call`") };
        let called = deadline::now();
        let ticket = match inner.admit(&mut message, called) {
            Ok(ticket) => ticket,
            Err(error) => {
                self.stack = None; // its readiness was not used
                let error = inner.failed(Some(&message), None, error);
                return ResponseFuture::new(State::Rejected(Some(error), None));
            }
        };
        let tracker = &inner.shard().tracker;
        let (call, epoch) = (inner.observe(&message), tracker.sends.epoch());
        let tracked = Tracked { ticket, open: None, epoch, called };
        let called = call.called(tracker, stack.call(message), tracked);
        ResponseFuture::new(State::Called(called, Arc::clone(tracker)))
    }
}

/// Future of a message that was sent with `Service::call` of a [`KafkaSink`].
///
/// Dropping it does not cancel the record. It is `Sync`, as `ServiceBuilder::boxed_clone_sync` of tower requires.
///
/// # Panics
///
/// As [`KafkaSink::send`].
#[must_use = "futures do nothing unless polled"]
// The mutex is never locked: it makes the future `Sync`, although that of a stack need not be.
pub struct ResponseFuture(Mutex<State>);

impl ResponseFuture {
    fn new(state: State) -> Self {
        Self(Mutex::new(state))
    }
}

enum State {
    Called(Called, Arc<Tracker>),
    /// Rejected by the sink. If it is never polled, the send is missing from its transaction.
    Rejected(Option<Error>, Option<Ticket>),
}

impl Drop for State {
    fn drop(&mut self) {
        if let Self::Called(called, tracker) = self {
            called.dropped(tracker);
        }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Delivery>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0.get_mut().unwrap_or_else(PoisonError::into_inner) {
            State::Called(called, tracker) => {
                let answer = called.poll(tracker, cx);
                if answer.is_ready() {
                    answered(called.take_ticket());
                }
                answer
            }
            State::Rejected(error, ticket) => {
                answered(ticket.take());
                error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
            }
        }
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
