use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::Closing;
use crate::sync::lock;
use crate::wakers::wake;
use crate::{Record, Result};

/// Waits for the records that it is [attached](super::Slot::attach) to: for a flush or a close of one tenant.
///
/// A future that resolves when the outcome of all of them is known.
#[derive(Debug)]
pub(super) struct Wait {
    /// The close to which the records are reported.
    closing: Option<Arc<Closing>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Records without an outcome, and one for who attaches it.
    left: usize,
    waker: Option<Waker>,
}

impl Wait {
    /// Creates one that does not resolve before [`end`](Self::end) was called once more than [`begin`](Self::begin), when
    /// it is attached to all its records.
    pub(super) fn new(closing: Option<Arc<Closing>>) -> Arc<Self> {
        Arc::new(Self { closing, state: Mutex::new(State { left: 1, waker: None }) })
    }

    /// A record begins to be waited for.
    pub(super) fn begin(&self) {
        lock(&self.state).left += 1;
    }

    /// Reports the outcome of a record. May be called under the record's lock.
    pub(super) fn count<A>(&self, record: &Record, outcome: &Result<A>) {
        if let Some(closing) = &self.closing {
            closing.count(record, outcome);
        }
    }

    /// A record is not waited for any more. Must not be called under a lock, because it wakes.
    pub(super) fn end(&self) {
        let mut state = lock(&self.state);
        state.left -= 1;
        if state.left > 0 {
            return;
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(closing) = &self.closing {
            closing.done(|| unreachable!("a tenant ends no transaction"));
        }
        waker.into_iter().for_each(wake);
    }
}

/// The future of a [`Wait`].
pub(super) struct Waiting(pub(super) Arc<Wait>);

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0.state);
        if state.left == 0 {
            return Poll::Ready(());
        }
        let old = state.waker.replace(cx.waker().clone());
        drop(state);
        drop(old);
        Poll::Pending
    }
}
