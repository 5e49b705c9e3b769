use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Whether the last message of a handle has been passed to the service below.
#[derive(Debug, Default)]
pub(super) struct Turn(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    over: bool,
    waiting: Option<Waker>,
}

/// Held by the message's future. Dropping it ends the turn, whatever the outcome.
#[derive(Debug)]
pub(super) struct TurnGuard(Arc<Turn>);

impl Turn {
    pub(super) fn begin() -> (Arc<Self>, TurnGuard) {
        let turn = Arc::new(Self::default());
        (Arc::clone(&turn), TurnGuard(turn))
    }

    pub(super) fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.over {
            return Poll::Ready(());
        }
        let old = state.waiting.replace(cx.waker().clone());
        drop(state);
        drop(old);
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.over = true;
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}
