use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use kafka_tower_core::{Delivery, Error, Result};
use pin_project::pin_project;
use tokio::time::Instant;

use super::counters::Topic;

/// Response future of [`MetricsFacade`](super::MetricsFacade). If it is dropped before it resolves, the send counts as abandoned.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct MetricsFacadeFuture<F> {
    #[pin]
    inner: F,
    send: CountedSend,
}

/// A send that counts once, however it ends.
struct CountedSend {
    /// Taken when the future resolves.
    topic: Option<Arc<Topic>>,
    called: Instant,
}

impl Drop for CountedSend {
    fn drop(&mut self) {
        if let Some(topic) = self.topic.take() {
            topic.abandoned(self.called.elapsed());
        }
    }
}

impl<F> MetricsFacadeFuture<F> {
    pub(super) fn new(inner: F, topic: Arc<Topic>, called: Instant) -> Self {
        Self { inner, send: CountedSend { topic: Some(topic), called } }
    }
}

impl<F, E> Future for MetricsFacadeFuture<F>
where
    F: Future<Output = Result<Delivery, E>>,
    E: Into<Error>,
{
    type Output = Result<Delivery>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx)).map_err(Into::into);
        if let Some(topic) = this.send.topic.take() {
            topic.answered(&answer, this.send.called.elapsed());
        }
        Poll::Ready(answer)
    }
}

impl<F> fmt::Debug for MetricsFacadeFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsFacadeFuture").field("answered", &self.send.topic.is_none()).finish_non_exhaustive()
    }
}
