use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use kafka_tower_core::handover::Observing;
use kafka_tower_core::{Delivery, Error, Result, SinkMessage};
use tower_service::Service;

use super::edge::BoxFuture;
use super::open_sends::Counted;
use super::{KafkaSink, deadline, whole};

/// Each clone is a handle with its own readiness. The call determines the place in the order.
///
/// A message without a deadline gets `send_timeout_ms` from the call on; the caller bounds the wait in `poll_ready`.
impl<T> Service<SinkMessage<T>> for KafkaSink<T> {
    type Response = Delivery;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.shared.refusal().is_some() {
            // `call` returns the refusal. An error here is permanent for the service, and `Buffer` would return it to
            // earlier requests too.
            return Poll::Ready(Ok(()));
        }
        let shared = &self.shared;
        let ready = self.mine.get_or_insert_with(|| shared.fresh()).poll_ready(cx);
        if matches!(ready, Poll::Ready(Err(_))) {
            self.mine = None;
        }
        ready
    }

    /// # Panics
    ///
    /// If `poll_ready` was not ready before, as tower's contract requires.
    fn call(&mut self, mut message: SinkMessage<T>) -> Self::Future {
        if let Some(error) = self.shared.refusal() {
            let error = self.shared.failed(Some(&message), None, error);
            return ResponseFuture(match self.shared.part() {
                Some(part) => Inner::Untold(whole::untold(error, part)),
                None => Inner::Failed(Some(error)),
            });
        }
        deadline::stamp(&mut message, deadline::now(), self.shared.send_timeout);
        let Some(mine) = &mut self.mine else { panic!("`poll_ready` must be ready before `call`") };
        let known = self.shared.known(&message);
        let sends = &self.shared.sends;
        let epoch = sends.epoch();
        // Not a closure: it would copy the message once more.
        let observing = Observing::begin();
        let future = mine.call(message);
        let seen = observing.end();
        ResponseFuture(Inner::Called(Counted::new(sends, epoch, known, future, seen)))
    }
}

/// Future of a message that was sent with `Service::call` of a [`KafkaSink`].
///
/// Dropping it does not cancel the record.
///
/// # Panics
///
/// As [`KafkaSink::send`].
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(Inner);

enum Inner {
    Called(Counted<BoxFuture>),
    /// Rejected in a sink with transactions: counts as observed only when the caller polls it.
    Untold(BoxFuture),
    Failed(Option<Error>),
}

impl Future for ResponseFuture {
    type Output = Result<Delivery>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Inner::Called(future) => Pin::new(future).poll(cx),
            Inner::Untold(future) => future.as_mut().poll(cx),
            Inner::Failed(error) => error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        }
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
