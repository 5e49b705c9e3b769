use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use kafka_tower_core::{Delivery, Error, Result};
use pin_project::pin_project;

use super::open::Open;

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
    open: Option<Open>,
}

impl<F> TracedFuture<F> {
    pub(super) fn new(inner: F, open: Option<Open>) -> Self {
        Self { inner, open }
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
        match this.open {
            None => this.inner.poll(cx).map_err(Into::into),
            Some(open) => tell(this.inner, open, cx),
        }
    }
}

#[inline(never)]
fn tell<F, E>(inner: Pin<&mut F>, open: &mut Open, cx: &mut Context<'_>) -> Poll<Result<Delivery>>
where
    F: Future<Output = Result<Delivery, E>>,
    E: Into<Error>,
{
    // The span is current only within this poll: this thread may poll another task next.
    let current = open.attach();
    let answer = ready!(inner.poll(cx)).map_err(Into::into);
    drop(current);
    open.answered(&answer);
    Poll::Ready(answer)
}

impl<F> fmt::Debug for TracedFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedFuture").field("traced", &self.open.is_some()).finish_non_exhaustive()
    }
}
