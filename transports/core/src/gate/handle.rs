use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Gate, Permit, Refused};

/// Handle that sends through a [`Gate`]. Each clone waits for itself: a clone does not inherit readiness.
pub struct GateHandle<P> {
    gate: Arc<Gate<P>>,
    /// Position among the waiting handles.
    ticket: Option<u64>,
    /// This handle was woken for free room and has not called yet.
    woken: bool,
}

impl<P> Gate<P> {
    /// Creates a handle. Each handle of the transport needs its own.
    #[must_use]
    pub fn handle(self: &Arc<Self>) -> GateHandle<P> {
        GateHandle::new(Arc::clone(self))
    }
}

impl<P> GateHandle<P> {
    fn new(gate: Arc<Gate<P>>) -> Self {
        Self { gate, ticket: None, woken: false }
    }

    /// The gate of this handle.
    #[must_use]
    pub fn gate(&self) -> &Arc<Gate<P>> {
        &self.gate
    }

    /// Returns `Ready` if there is room. It is a hint and reserves nothing. A closed gate is always ready: `call`
    /// returns the error.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ticket.is_none() && !self.woken && self.gate.fast_ready() {
            return Poll::Ready(());
        }
        let mut state = self.gate.lock();
        let mine = self.ticket.take();
        let was_notified = mine.is_some_and(|ticket| !state.waiting.contains_key(&ticket));
        state.woken_pending -= usize::from(was_notified);
        let was_woken = self.woken || was_notified;
        let nobody_before = state.waiting.first_key_value().is_none_or(|(first, _)| mine == Some(*first));
        // A newcomer yields once to waiters that were already woken for the free room. Only once: a woken handle may
        // never be used.
        if state.woken_pending > 0 && mine.is_none() && !was_woken && nobody_before && state.room() && !state.closed {
            self.ticket = Some(state.ticket());
            state.woken_pending += 1; // this handle counts as woken too
            drop(state);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if state.closed || (state.room() && (was_woken || nobody_before)) {
            let old = mine.and_then(|ticket| state.waiting.remove(&ticket));
            self.woken = was_woken;
            let next = (was_woken && state.room_for_two()).then(|| state.wake_next()).flatten();
            drop(state);
            drop(old);
            if let Some(waker) = next {
                waker.wake();
            }
            return Poll::Ready(());
        }
        let ticket = mine.unwrap_or_else(|| state.ticket());
        let old = match state.waiting.get_mut(&ticket) {
            Some(waker) if waker.will_wake(cx.waker()) => None,
            Some(waker) => Some(std::mem::replace(waker, cx.waker().clone())),
            None => state.waiting.insert(ticket, cx.waker().clone()),
        };
        drop(state);
        drop(old);
        self.ticket = Some(ticket);
        self.woken = false;
        Poll::Pending
    }

    /// Admits a record of `bytes` bytes and hands it over with `enqueue`, or parks it until there is room.
    ///
    /// `enqueue` runs before `call` returns unless the record is parked. It must not panic, and returns the permit if
    /// it did not accept the record.
    ///
    /// # Errors
    ///
    /// [`Refused`] returns the record: it is larger than the whole limit, or the gate is closed.
    pub fn call(
        &mut self,
        item: P,
        bytes: usize,
        mut enqueue: impl FnMut(P, Permit) -> Result<(), Permit>,
    ) -> Result<(), Refused<P>> {
        let refused = match self.gate.admit(item, bytes, &mut enqueue) {
            Ok(refused) => refused,
            Err(refused) => {
                self.pass_on();
                return Err(refused);
            }
        };
        self.woken = false;
        if let Some(permit) = refused {
            self.gate.release([permit], enqueue);
        }
        Ok(())
    }

    /// Gives up this handle's place in the queue, and a wake-up for free room, which goes to the next waiting handle.
    /// Call it if a ready handle takes no room, for example because its record is refused before
    /// [`call`](Self::call). A call that is refused here does it by itself, and so does a drop.
    pub fn pass_on(&mut self) {
        if self.ticket.is_none() && !self.woken {
            return;
        }
        let mut state = self.gate.lock();
        let ticket = self.ticket.take();
        let still_waiting = ticket.and_then(|ticket| state.waiting.remove(&ticket));
        let was_notified = ticket.is_some() && still_waiting.is_none();
        state.woken_pending -= usize::from(was_notified);
        let was_woken = std::mem::take(&mut self.woken) || was_notified;
        let next = (was_woken && state.room()).then(|| state.wake_next()).flatten();
        drop(state);
        drop(still_waiting);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

impl<P> Clone for GateHandle<P> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.gate))
    }
}

impl<P> Drop for GateHandle<P> {
    fn drop(&mut self) {
        self.pass_on();
    }
}

impl<P> fmt::Debug for GateHandle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateHandle").field("gate", &self.gate).field("ticket", &self.ticket).finish_non_exhaustive()
    }
}
