use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use kafka_tower_core::{Delivery, Error, Result};
use pin_project::pin_project;
use tokio::time::Instant;

use super::shard::Shard;

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
    shard: Option<Arc<Shard>>,
    called: Instant,
}

impl CountedSend {
    fn answered(&mut self, answer: &Result<Delivery>) {
        let Some(shard) = self.shard.take() else {
            return;
        };
        match answer {
            Ok(_) => shard.record_delivered(self.called.elapsed()),
            Err(error) => shard.record_failed(error),
        }
    }
}

impl Drop for CountedSend {
    fn drop(&mut self) {
        if let Some(shard) = &self.shard {
            shard.record_abandoned();
        }
    }
}

impl<F> MeteredFuture<F> {
    pub(super) fn new(inner: F, shard: Arc<Shard>, called: Instant) -> Self {
        Self { inner, send: CountedSend { shard: Some(shard), called } }
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
        f.debug_struct("MeteredFuture").field("answered", &self.send.shard.is_none()).finish_non_exhaustive()
    }
}

/// Response future of [`CountBytes`](super::CountBytes).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct CountBytesFuture<F> {
    #[pin]
    inner: F,
    shard: Arc<Shard>,
    bytes: u64,
}

impl<F> CountBytesFuture<F> {
    pub(super) fn new(inner: F, shard: Arc<Shard>, bytes: u64) -> Self {
        Self { inner, shard, bytes }
    }
}

impl<F: Future<Output = Result<R, E>>, R, E> Future for CountBytesFuture<F> {
    type Output = Result<R, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        if answer.is_ok() {
            this.shard.record_bytes(*this.bytes);
        }
        Poll::Ready(answer)
    }
}

impl<F> fmt::Debug for CountBytesFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountBytesFuture").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
