use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Gated;

/// Future of [`Gated::flush`]. Dropping it stops the waiting.
#[must_use = "futures do nothing unless polled"]
pub struct Flush<T: Gated> {
    transport: Arc<T>,
    epoch: u64,
    id: u64,
}

impl<T: Gated> Flush<T> {
    pub(super) fn new(transport: Arc<T>) -> Self {
        let mut state = transport.gate().lock();
        let (epoch, id) = (state.begin_flush(), state.ticket());
        drop(state);
        Self { transport, epoch, id }
    }
}

impl<T: Gated> Future for Flush<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.transport.gate().lock();
        let key = (self.epoch, self.id);
        let old = if state.flushed(self.epoch) {
            let old = state.flushing.remove(&key);
            drop(state);
            drop(old);
            return Poll::Ready(());
        } else {
            state.flushing.insert(key, cx.waker().clone())
        };
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl<T: Gated> Drop for Flush<T> {
    fn drop(&mut self) {
        let waker = self.transport.gate().lock().flushing.remove(&(self.epoch, self.id));
        drop(waker);
    }
}

impl<T: Gated> fmt::Debug for Flush<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flush").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
