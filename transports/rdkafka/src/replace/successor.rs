//! Hands a new instance to the event loop, which puts it in the client's place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use kafka_tower_core::sync::lock;

use crate::ffi::Instance;

/// Interval of the check whether the event loop has ended.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// A new instance on its way to the event loop.
#[derive(Default)]
pub(crate) struct Successor {
    state: Mutex<State>,
    changed: Condvar,
    is_offered: AtomicBool,
}

#[derive(Default)]
struct State {
    offered: Option<Instance>,
    is_in_place: bool,
}

impl Successor {
    /// Waits until the event loop has put the instance in the client's place. Returns the instance if `ended` before
    /// that. `wake` ends the event loop's present wait.
    pub(crate) fn hand_over(
        &self,
        new: Instance,
        wake: impl FnOnce(),
        ended: impl Fn() -> bool,
    ) -> Result<(), Instance> {
        let mut state = lock(&self.state);
        *state = State { offered: Some(new), is_in_place: false };
        self.is_offered.store(true, Ordering::Release);
        wake();
        loop {
            if state.is_in_place {
                return Ok(());
            }
            if ended() {
                self.is_offered.store(false, Ordering::Release);
                // If the event loop has it already, it has put it in place or destroys it.
                return state.offered.take().map_or(Ok(()), Err);
            }
            let woken = self.changed.wait_timeout(state, CHECK_INTERVAL);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes the instance, if there is one. For the event loop, which then calls [`in_place`](Self::in_place).
    pub(crate) fn take(&self) -> Option<Instance> {
        if !self.is_offered.swap(false, Ordering::AcqRel) {
            return None;
        }
        lock(&self.state).offered.take()
    }

    pub(crate) fn in_place(&self) {
        lock(&self.state).is_in_place = true;
        self.changed.notify_all();
    }
}
