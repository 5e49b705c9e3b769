use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::state::{Admission, Limits, Permit, Refused, State};
use crate::InFlight;

/// Admission shared by the handles of a transport. See the [module](super) for its rules.
///
/// `P` is the parked item: a record together with whatever settles it.
///
/// ```
/// use std::sync::Arc;
/// use kafka_tower_core::gate::{Gate, Limits};
///
/// let gate = Gate::new(Limits { records: 1, bytes: 100 });
/// let mut handle = gate.handle();
/// let mut sent = Vec::new();
/// let mut permits = Vec::new();
/// for name in ["first", "second"] {
///     handle.call(name, 10, |name, permit| { sent.push(name); permits.push(permit); Ok(()) }).unwrap();
/// }
/// assert_eq!(sent, ["first"], "the second is parked");
///
/// // The report of the first one hands over the second one.
/// gate.release(permits, |name, _permit| { sent.push(name); Ok(()) });
/// assert_eq!(sent, ["first", "second"]);
/// ```
pub struct Gate<P> {
    state: Mutex<State<P>>,
    /// Copy of [`State::fast_ready`] that is read without the lock. It may be stale when it is read, as any answer of
    /// `poll_ready`.
    fast_ready: AtomicBool,
}

impl<P> Gate<P> {
    /// Creates a gate. A limit of 0 counts as 1.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::new(limits)), fast_ready: AtomicBool::new(true) })
    }

    /// The current limits.
    pub fn limits(&self) -> Limits {
        self.lock().limits()
    }

    /// Changes the limits, for example when a topic's partitions become known. Hands over parked records that now
    /// fit, then wakes all waiting handles if there is room left.
    pub fn set_limits(&self, limits: Limits, enqueue: impl FnMut(P, Permit) -> Result<(), Permit>) {
        self.lock().set_limits(limits);
        self.settle(Vec::new(), usize::MAX, enqueue);
    }

    /// Counts of the records that are in flight.
    pub fn in_flight(&self) -> InFlight {
        self.lock().in_flight()
    }

    /// Returns the room of settled records: the delivery report calls it. Hands over parked records with `enqueue`,
    /// then wakes waiting handles. `enqueue` must not panic, and returns the permit if it did not accept the record.
    pub fn release(
        &self,
        permits: impl IntoIterator<Item = Permit>,
        enqueue: impl FnMut(P, Permit) -> Result<(), Permit>,
    ) {
        self.settle(permits, 0, enqueue);
    }

    fn settle(
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

    /// Withdraws the parked records for which `expired` returns true, in order, and returns their number. Each one is
    /// passed to `settle` and counts as settled afterwards, so that a [`flush`](Self::flush) resolves only after its
    /// outcome is known.
    pub fn withdraw(
        &self,
        mut expired: impl FnMut(&P) -> bool,
        mut settle: impl FnMut(P),
        enqueue: impl FnMut(P, Permit) -> Result<(), Permit>,
    ) -> usize {
        let mut withdrawn = Vec::new();
        {
            let mut state = self.lock();
            for (item, permit) in std::mem::take(&mut state.parked) {
                if expired(&item) {
                    withdrawn.push((item, permit));
                } else {
                    state.parked.push_back((item, permit));
                }
            }
        }
        let count = withdrawn.len();
        if count == 0 {
            return 0;
        }
        let permits: Vec<_> = withdrawn
            .into_iter()
            .map(|(item, permit)| {
                settle(item);
                permit
            })
            .collect();
        let mut state = self.lock();
        permits.iter().for_each(|permit| state.settle(permit));
        drop(state);
        // The withdrawn record may have been the head of the queue, which did not fit and blocked the others.
        self.settle(Vec::new(), count, enqueue);
        count
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

    /// Whether a [`flush`](Self::flush) is waiting.
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
        Locked { state: self.state.lock().unwrap_or_else(PoisonError::into_inner), fast_ready: &self.fast_ready }
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

/// Wakes all wakers even if one panics: they are no longer in any list, so a skipped one would be lost.
fn wake_all(wakers: Vec<Waker>) {
    struct Rest(std::vec::IntoIter<Waker>);
    impl Drop for Rest {
        fn drop(&mut self) {
            self.0.by_ref().for_each(Waker::wake);
        }
    }
    let mut rest = Rest(wakers.into_iter());
    rest.0.by_ref().for_each(Waker::wake);
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
