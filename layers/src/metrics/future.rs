use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use kafka_tower_core::{Delivery, Error, Result};
use pin_project::pin_project;
use tokio::time::Instant;

use super::Metrics;

/// Response future of [`Metered`](super::Metered). If it is dropped before it resolves, the send counts as abandoned.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct MeteredFuture<F> {
    #[pin]
    inner: F,
    send: CountedSend,
}

/// A send that counts once, however it ends.
struct CountedSend {
    /// Taken when the future resolves.
    metrics: Option<Metrics>,
    called: Instant,
}

impl CountedSend {
    fn answered(&mut self, answer: &Result<Delivery>) {
        let Some(metrics) = self.metrics.take() else {
            return;
        };
        match answer {
            Ok(_) => metrics.record_delivered(self.called.elapsed()),
            Err(error) => metrics.record_failed(error),
        }
    }
}

impl Drop for CountedSend {
    fn drop(&mut self) {
        if let Some(metrics) = &self.metrics {
            metrics.record_abandoned();
        }
    }
}

impl<F> MeteredFuture<F> {
    pub(super) fn new(inner: F, metrics: Metrics, called: Instant) -> Self {
        Self { inner, send: CountedSend { metrics: Some(metrics), called } }
    }
}

impl<F, E> Future for MeteredFuture<F>
where
    F: Future<Output = Result<Delivery, E>>,
    E: Into<Error>,
{
    type Output = Result<Delivery>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx)).map_err(Into::into);
        this.send.answered(&answer);
        Poll::Ready(answer)
    }
}

impl<F> fmt::Debug for MeteredFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeteredFuture").field("answered", &self.send.metrics.is_none()).finish_non_exhaustive()
    }
}

/// Response future of [`CountBytes`](super::CountBytes).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct CountBytesFuture<F> {
    #[pin]
    inner: F,
    metrics: Metrics,
    bytes: u64,
}

impl<F> CountBytesFuture<F> {
    pub(super) fn new(inner: F, metrics: Metrics, bytes: u64) -> Self {
        Self { inner, metrics, bytes }
    }
}

impl<F: Future<Output = Result<R, E>>, R, E> Future for CountBytesFuture<F> {
    type Output = Result<R, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        if answer.is_ok() {
            this.metrics.record_bytes(*this.bytes);
        }
        Poll::Ready(answer)
    }
}

impl<F> fmt::Debug for CountBytesFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountBytesFuture").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
