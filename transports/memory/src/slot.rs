//! Holds a record's outcome until the caller takes it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use kafka_tower_core::outstanding::{Outstanding, Place};
use kafka_tower_core::unanswered::LateReport;
use kafka_tower_core::{Delivery, Result};
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Slot {
    state: Mutex<State>,
    /// Time of the hand-over, if the record was parked before.
    left_gate: OnceLock<Instant>,
    /// Set for a failure that the caller's future has not seen.
    unseen: Mutex<Option<Place>>,
    /// The caller's future was dropped. Read and written under the lock of `state`.
    abandoned: AtomicBool,
}

#[derive(Debug)]
enum State {
    Open(Option<Waker>),
    Settled(Result<Delivery>),
    /// The outcome was taken, or the caller's future was dropped: then the report goes to the `LateReport`.
    Empty(Option<LateReport>),
}

impl Slot {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::Open(None)),
            left_gate: OnceLock::new(),
            unseen: Mutex::default(),
            abandoned: AtomicBool::new(false),
        })
    }

    /// Sets the outcome; only the first one counts. Wakes the waiting future. A failure is `unseen` until the outcome
    /// is taken or the caller's future is dropped.
    pub(crate) fn settle(&self, outcome: Result<Delivery>, unseen: &Outstanding<()>) {
        let mut state = self.lock();
        match &mut *state {
            State::Open(waker) => {
                let waker = waker.take();
                if outcome.is_err() && !self.abandoned.load(Ordering::Relaxed) {
                    *self.unseen() = Some(unseen.begin(unseen.epoch(), ()));
                }
                *state = State::Settled(outcome);
                drop(state);
                waker.into_iter().for_each(Waker::wake);
            }
            State::Settled(_) => {}
            State::Empty(late) => {
                let late = late.take();
                drop(state);
                late.into_iter().for_each(|late| late.arrive(outcome.is_ok()));
            }
        }
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Delivery>> {
        let mut state = self.lock();
        let old = match &mut *state {
            State::Open(Some(waker)) if waker.will_wake(cx.waker()) => return Poll::Pending,
            State::Open(waker) => waker.replace(cx.waker().clone()),
            State::Settled(_) | State::Empty(_) => {
                drop(state);
                return Poll::Ready(self.take().expect("polled after completion"));
            }
        };
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Takes the outcome, if there is one. Otherwise a later outcome is discarded.
    pub(crate) fn take(&self) -> Option<Result<Delivery>> {
        // A separate statement: the old state must be dropped outside the lock.
        let old = std::mem::replace(&mut *self.lock(), State::Empty(None));
        match old {
            State::Settled(outcome) => Some(outcome),
            State::Open(_) | State::Empty(_) => None,
        }
    }

    /// Takes the outcome, if there is one. Otherwise the later report goes to `late`.
    pub(crate) fn leave(&self, late: &LateReport) -> Option<Result<Delivery>> {
        let mut state = self.lock();
        let next = State::Empty(matches!(*state, State::Open(_)).then(|| late.clone()));
        let old = std::mem::replace(&mut *state, next);
        drop(state);
        match old {
            State::Settled(outcome) => Some(outcome),
            State::Open(_) | State::Empty(_) => None,
        }
    }

    /// Records that a parked record got room.
    #[cold]
    pub(crate) fn leave_gate(&self) {
        let _only_once = self.left_gate.set(Instant::now());
    }

    /// Time of the hand-over, if the record was parked before and is not any more.
    pub(crate) fn left_gate(&self) -> Option<Instant> {
        self.left_gate.get().copied()
    }

    /// Records that the caller's future was dropped, so it cannot see a failure any more.
    pub(crate) fn abandon(&self, unseen: &Outstanding<()>) {
        let state = self.lock();
        self.abandoned.store(true, Ordering::Relaxed);
        drop(state);
        self.seen(unseen);
    }

    /// Records that the caller's future has seen the failure, if there was one.
    pub(crate) fn seen(&self, unseen: &Outstanding<()>) {
        let place = self.unseen().take();
        place.into_iter().for_each(|place| unseen.end(place));
    }

    fn unseen(&self) -> MutexGuard<'_, Option<Place>> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
