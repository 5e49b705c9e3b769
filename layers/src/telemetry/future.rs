use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use kafka_tower_core::{Delivery, Error, Result};
use pin_project::pin_project;

use super::send_span::SendSpan;

/// Response future of [`Traced`](super::Traced).
///
/// # Cancel safety
///
/// Dropping it drops the future below. The span ends with `error.type` `abandoned`.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct TracedFuture<F> {
    #[pin]
    inner: F,
    /// `None` if neither a span nor a metric is recorded.
    span: Option<SendSpan>,
}

impl<F> TracedFuture<F> {
    pub(super) fn new(inner: F, span: Option<SendSpan>) -> Self {
        Self { inner, span }
    }
}

impl<F, E> Future for TracedFuture<F>
where
    F: Future<Output = Result<Delivery, E>>,
    E: Into<Error>,
{
    type Output = Result<Delivery>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.span {
            None => this.inner.poll(cx).map_err(Into::into),
            Some(span) => poll_recorded(this.inner, span, cx),
        }
    }
}

#[inline(never)]
fn poll_recorded<F, E>(inner: Pin<&mut F>, span: &mut SendSpan, cx: &mut Context<'_>) -> Poll<Result<Delivery>>
where
    F: Future<Output = Result<Delivery, E>>,
    E: Into<Error>,
{
    // The span is current only within this poll: this thread may poll another task next.
    let current = span.attach();
    let answer = ready!(inner.poll(cx)).map_err(Into::into);
    drop(current);
    span.answered(&answer);
    Poll::Ready(answer)
}

impl<F> fmt::Debug for TracedFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedFuture").field("traced", &self.span.is_some()).finish_non_exhaustive()
    }
}
