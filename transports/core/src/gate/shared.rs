use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::state::{Admission, Limits, Permit, Refused, State};
use crate::InFlight;
use crate::sync::lock;
use crate::wakers::wake_all;

/// Admission shared by the handles of a transport. See the [module](super) for its rules.
///
/// `P` is the parked item: a record together with whatever settles it. A transport owns its gate and implements
/// [`Gated`](super::Gated).
pub struct Gate<P> {
    state: Mutex<State<P>>,
    /// Copy of [`State::fast_ready`] that is read without the lock. It may be stale when it is read, as any answer of
    /// `poll_ready`. No wake-up is lost, because a handle goes to sleep only under the lock.
    fast_ready: AtomicBool,
}

impl<P> Gate<P> {
    /// Creates a gate. A limit of 0 counts as 1.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { state: Mutex::new(State::new(limits)), fast_ready: AtomicBool::new(true) }
    }

    /// The current limits.
    pub fn limits(&self) -> Limits {
        self.lock().limits()
    }

    /// Counts of the records that are in flight.
    pub fn in_flight(&self) -> InFlight {
        self.lock().in_flight()
    }

    /// Returns the room of settled records, hands over parked ones with `enqueue`, and wakes as many handles as there are
    /// freed places, `freed` of which were free before.
    pub(super) fn settle(
        &self,
        permits: impl IntoIterator<Item = Permit>,
        freed: usize,
        mut enqueue: impl FnMut(P, Permit) -> Result<(), Permit>,
    ) {
        let mut freed = freed;
        let mut state = self.lock();
        for permit in permits {
            state.release(&permit);
            freed = freed.saturating_add(1);
        }
        // Hand-over runs outside the lock, one record at a time; new calls park behind, so no record overtakes
        // another.
        while !state.draining {
            let Some((item, permit)) = state.next_parked() else { break };
            state.draining = true;
            drop(state);
            let draining = Draining(self);
            let refused = enqueue(item, permit).err();
            state = draining.end();
            if let Some(permit) = refused {
                state.release(&permit);
                freed = freed.saturating_add(1);
            }
        }
        if !state.is_awaited() {
            return;
        }
        let mut wake = Vec::new();
        state.take_wakers(freed, &mut wake);
        drop(state);
        wake_all(wake);
    }

    /// Takes out the parked records for which `which` returns true and settles them. Returns their number.
    pub(super) fn take_parked(&self, mut which: impl FnMut(&P) -> bool, mut settle: impl FnMut(P)) -> usize {
        let mut withdrawn = Vec::new();
        let mut state = self.lock();
        for (item, permit) in std::mem::take(&mut state.parked) {
            if which(&item) {
                withdrawn.push((item, permit));
            } else {
                state.parked.push_back((item, permit));
            }
        }
        state.withdrawing += withdrawn.len();
        drop(state);
        let settle = |(item, permit)| {
            settle(item);
            permit
        };
        let permits: Vec<Permit> = withdrawn.into_iter().map(settle).collect();
        let mut state = self.lock();
        permits.iter().for_each(|permit| state.settle(permit));
        state.withdrawing -= permits.len();
        permits.len()
    }

    /// Refuses all later calls and wakes all waiting handles. Records called before continue.
    pub fn close(&self) {
        let mut wake = Vec::new();
        let mut state = self.lock();
        state.closed = true;
        state.take_wakers(0, &mut wake);
        drop(state);
        wake_all(wake);
    }

    /// Whether the gate is closed.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether a [`flush`](super::Gated::flush) is waiting.
    pub fn is_flushing(&self) -> bool {
        !self.lock().flushing.is_empty()
    }

    pub(super) fn admit(
        &self,
        item: P,
        bytes: usize,
        enqueue: impl FnOnce(P, Permit) -> Result<(), Permit>,
    ) -> Result<Option<Permit>, Refused<P>> {
        // A separate statement: the lock must not be held during the hand-over.
        let admission = self.lock().call(item, bytes);
        match admission {
            Admission::Admitted(item, permit) => Ok(enqueue(item, permit).err()),
            Admission::Parked => Ok(None),
            Admission::Refused(refused) => Err(refused),
        }
    }

    /// Whether a handle that neither waits nor was woken is ready. If false, take the lock to decide.
    pub(super) fn fast_ready(&self) -> bool {
        self.fast_ready.load(Ordering::Acquire)
    }

    pub(super) fn lock(&self) -> Locked<'_, P> {
        // A poisoned lock is safe to use: counts and queues are consistent whenever the lock is released.
        Locked { state: lock(&self.state), fast_ready: &self.fast_ready }
    }
}

/// The locked state. Dropping it updates the copy that is read without the lock.
pub(super) struct Locked<'a, P> {
    state: MutexGuard<'a, State<P>>,
    fast_ready: &'a AtomicBool,
}

impl<P> Deref for Locked<'_, P> {
    type Target = State<P>;

    fn deref(&self) -> &State<P> {
        &self.state
    }
}

impl<P> DerefMut for Locked<'_, P> {
    fn deref_mut(&mut self) -> &mut State<P> {
        &mut self.state
    }
}

impl<P> Drop for Locked<'_, P> {
    fn drop(&mut self) {
        let fast_ready = self.state.fast_ready();
        // Only the holder of the lock writes it.
        if self.fast_ready.load(Ordering::Relaxed) != fast_ready {
            self.fast_ready.store(fast_ready, Ordering::Release);
        }
    }
}

/// Marks a hand-over of parked records as running. Ends it also after a panic: otherwise later records would stay
/// parked.
struct Draining<'a, P>(&'a Gate<P>);

impl<'a, P> Draining<'a, P> {
    fn end(self) -> Locked<'a, P> {
        let mut state = self.0.lock();
        state.draining = false;
        std::mem::forget(self);
        state
    }
}

impl<P> Drop for Draining<'_, P> {
    fn drop(&mut self) {
        self.0.lock().draining = false;
    }
}

impl<P> fmt::Debug for Gate<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Gate")
            .field("limits", &state.limits())
            .field("in_flight", &state.in_flight())
            .field("waiting", &state.waiting.len())
            .field("closed", &state.closed)
            .finish()
    }
}
