//! Where a record's outcome waits for the one who asks for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use kafka_tower_core::{Delivery, Result};

#[derive(Debug)]
pub(crate) struct Slot(Mutex<State>);

#[derive(Debug)]
enum State {
    Open(Option<Waker>),
    Settled(Result<Delivery>),
    /// The outcome was taken, or nobody wants it.
    Empty,
}

impl Slot {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::Open(None))))
    }

    /// The first outcome counts. Wakes who waits.
    pub(crate) fn settle(&self, outcome: Result<Delivery>) {
        let mut state = self.lock();
        if !matches!(*state, State::Open(_)) {
            return;
        }
        let old = std::mem::replace(&mut *state, State::Settled(outcome));
        drop(state);
        if let State::Open(Some(waker)) = old {
            waker.wake();
        }
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Delivery>> {
        let mut state = self.lock();
        let old = match &mut *state {
            State::Open(Some(waker)) if waker.will_wake(cx.waker()) => return Poll::Pending,
            State::Open(waker) => waker.replace(cx.waker().clone()),
            State::Settled(_) | State::Empty => {
                drop(state);
                return Poll::Ready(self.take().expect("polled after it was ready"));
            }
        };
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// The outcome, if it is there; else nobody will ask for it any more.
    pub(crate) fn take(&self) -> Option<Result<Delivery>> {
        // A statement of its own: what is replaced is dropped outside the lock.
        let old = std::mem::replace(&mut *self.lock(), State::Empty);
        match old {
            State::Settled(outcome) => Some(outcome),
            State::Open(_) | State::Empty => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
