use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use kafka_tower_core::{Delivery, Result, handover};
use pin_project::pin_project;

use super::Part;

/// Answer of a send whose record the transport did not accept during the call. If it is dropped before the transport
/// accepts the record or it returns the answer, the send is missing from its transaction.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub(in crate::sink) struct WatchedFuture<F> {
    #[pin]
    inner: F,
    /// Present until the transport accepts the record. Declared after the future, so that it is dropped after it.
    part: Option<Part>,
}

impl<F> WatchedFuture<F> {
    pub(super) fn new(inner: F, part: Part) -> Self {
        Self { inner, part: Some(part) }
    }
}

impl<F: Future<Output = Result<Delivery>>> Future for WatchedFuture<F> {
    type Output = Result<Delivery>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(part) = this.part else { return this.inner.poll(cx) };
        if let Some(error) = part.is_late_on_its_way() {
            *this.part = None;
            return Poll::Ready(Err(error));
        }
        let (answer, taken) = handover::watch_inside(|| this.inner.poll(cx));
        if taken || answer.is_ready() {
            this.part.take().into_iter().for_each(Part::done);
        }
        answer
    }
}
