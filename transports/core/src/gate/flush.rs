use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Gate;

/// Future of [`Gate::flush`]. Dropping it stops the waiting.
#[must_use = "futures do nothing unless polled"]
pub struct Flush<P> {
    gate: Arc<Gate<P>>,
    epoch: u64,
    id: u64,
}

impl<P> Gate<P> {
    /// Resolves when all records called before are settled.
    pub fn flush(self: &Arc<Self>) -> Flush<P> {
        let (epoch, id) = {
            let mut state = self.lock();
            (state.begin_flush(), state.ticket())
        };
        Flush { gate: Arc::clone(self), epoch, id }
    }
}

impl<P> Future for Flush<P> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.gate.lock();
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

impl<P> Drop for Flush<P> {
    fn drop(&mut self) {
        let waker = self.gate.lock().flushing.remove(&(self.epoch, self.id));
        drop(waker);
    }
}

impl<P> fmt::Debug for Flush<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flush").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
