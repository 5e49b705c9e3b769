//! The server of a service, and what runs beside it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout;

use super::hurry::Hurry;

/// A server that is polled whenever something else is waited for, so that its handlers go on.
pub(super) struct Server<'a, F: Future> {
    running: Pin<&'a mut F>,
    pub(super) output: Option<F::Output>,
}

impl<'a, F: Future> Server<'a, F> {
    pub(super) fn new(running: Pin<&'a mut F>) -> Self {
        Self { running, output: None }
    }

    /// Runs until the server ends, or the signal comes. Returns whether it came.
    pub(super) async fn run_until(&mut self, signal: &mut impl FnMut(&mut Context<'_>) -> Poll<()>) -> bool {
        poll_fn(|cx| match self.poll(cx) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending => signal(cx).map(|()| true),
        })
        .await
    }

    /// Runs until the server ends, for at most `time`. If the shutdown is to end at once, only looks whether it has ended.
    pub(super) async fn run_for(&mut self, time: Duration, hurry: &mut Hurry) {
        let ended = poll_fn(|cx| match self.poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => hurry.poll(cx),
        });
        let _elapsed = timeout(time, ended).await;
    }

    /// Runs until all others have ended, whether or not the server does. Their outputs are in their order.
    pub(super) async fn run_beside<O>(
        &mut self,
        others: Vec<Pin<Box<dyn Future<Output = O> + Send>>>,
        hurry: &mut Hurry,
    ) -> Vec<O> {
        let mut others: Vec<_> = others.into_iter().map(|other| (other, None)).collect();
        poll_fn(|cx| {
            let _has_ended = self.poll(cx);
            // What runs beside it is told.
            let _is_raised = hurry.poll(cx);
            let mut all = Poll::Ready(());
            for (other, output) in others.iter_mut().filter(|(_, output)| output.is_none()) {
                match other.as_mut().poll(cx) {
                    Poll::Ready(ended) => *output = Some(ended),
                    Poll::Pending => all = Poll::Pending,
                }
            }
            all
        })
        .await;
        others.into_iter().filter_map(|(_, output)| output).collect()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.output.is_none() {
            let Poll::Ready(output) = self.running.as_mut().poll(cx) else { return Poll::Pending };
            self.output = Some(output);
        }
        Poll::Ready(())
    }
}
