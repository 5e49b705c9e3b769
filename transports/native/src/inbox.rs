//! Records on their way from callers to the client's task.

use std::mem;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use kafka_tower_core::sync::lock;
use kafka_tower_core::wakers::wake;

use crate::slot::Slot;

/// Records in the order of their calls, and the waker of the task that takes them.
#[derive(Default)]
pub(crate) struct Inbox(Mutex<State>);

#[derive(Default)]
struct State {
    records: Vec<Arc<Slot>>,
    /// Set while the task sleeps. Taken by the first wake-up, so that a task which is awake costs callers nothing.
    sleeper: Option<Waker>,
    /// Something other than a record has changed.
    woken: bool,
    ended: bool,
}

impl Inbox {
    /// Adds a record, and wakes the task if it sleeps.
    ///
    /// # Errors
    ///
    /// The record, if the task has ended.
    pub(crate) fn push(&self, slot: Arc<Slot>) -> Result<(), Arc<Slot>> {
        let mut state = lock(&self.0);
        if state.ended {
            return Err(slot);
        }
        state.records.push(slot);
        let sleeper = state.sleeper.take();
        drop(state);
        sleeper.into_iter().for_each(wake);
        Ok(())
    }

    /// Makes the task look at everything.
    pub(crate) fn wake(&self) {
        let mut state = lock(&self.0);
        state.woken = true;
        let sleeper = state.sleeper.take();
        drop(state);
        sleeper.into_iter().for_each(wake);
    }

    /// Moves the records to `records`, which has to be empty. Returns whether there is anything to look at.
    pub(crate) fn take(&self, records: &mut Vec<Arc<Slot>>) -> bool {
        let mut state = lock(&self.0);
        mem::swap(&mut state.records, records);
        mem::take(&mut state.woken) || !records.is_empty()
    }

    /// Registers the task to be woken. False if there is something to look at.
    pub(crate) fn sleep(&self, cx: &Context<'_>) -> bool {
        let mut state = lock(&self.0);
        if state.woken || !state.records.is_empty() {
            return false;
        }
        let old = state.sleeper.replace(cx.waker().clone());
        drop(state);
        drop(old); // not under the lock: a waker is foreign code
        true
    }

    /// Ends the inbox, and returns what was not taken.
    pub(crate) fn end(&self) -> Vec<Arc<Slot>> {
        let mut state = lock(&self.0);
        state.ended = true;
        let (records, sleeper) = (mem::take(&mut state.records), state.sleeper.take());
        drop(state);
        drop(sleeper);
        records
    }
}
