use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Gated, Refused};
use crate::wakers::wake_all;

/// Handle that sends through the [gate](super::Gate) of a transport. Each clone waits for itself: a clone does not
/// inherit readiness.
pub struct GateHandle<T: Gated> {
    transport: Arc<T>,
    /// Position among the waiting handles.
    ticket: Option<u64>,
    /// This handle was woken for free room and has not called yet.
    woken: bool,
}

impl<T: Gated> GateHandle<T> {
    pub(super) fn new(transport: Arc<T>) -> Self {
        Self { transport, ticket: None, woken: false }
    }

    /// The transport of this handle.
    #[must_use]
    pub fn transport(&self) -> &Arc<T> {
        &self.transport
    }

    /// Returns `Ready` if there is room. It is a hint and reserves nothing. A closed gate is always ready: `call`
    /// returns the error.
    #[inline]
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ticket.is_none() && !self.woken && self.transport.gate().fast_ready() {
            return Poll::Ready(());
        }
        self.poll_locked(cx)
    }

    #[inline(never)]
    fn poll_locked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.transport.gate().lock();
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
            wake_all(next);
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

    /// Admits a record of `bytes` bytes and [hands it over](Gated::enqueue) before it returns, or parks it until there
    /// is room.
    ///
    /// # Errors
    ///
    /// [`Refused`] returns the record: it is larger than the whole limit, or the gate is closed.
    pub fn call(&mut self, item: T::Item, bytes: usize) -> Result<(), Refused<T::Item>> {
        let enqueue = |item, permit| self.transport.enqueue(item, permit);
        let settled_at_once = match self.transport.gate().admit(item, bytes, enqueue) {
            Ok(settled) => settled,
            Err(refused) => {
                self.pass_on();
                return Err(refused);
            }
        };
        self.woken = false;
        if let Some(permit) = settled_at_once {
            self.transport.release([permit]);
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
        let mut state = self.transport.gate().lock();
        let ticket = self.ticket.take();
        let still_waiting = ticket.and_then(|ticket| state.waiting.remove(&ticket));
        let was_notified = ticket.is_some() && still_waiting.is_none();
        state.woken_pending -= usize::from(was_notified);
        let was_woken = std::mem::take(&mut self.woken) || was_notified;
        let next = (was_woken && state.room()).then(|| state.wake_next()).flatten();
        drop(state);
        drop(still_waiting);
        wake_all(next);
    }
}

impl<T: Gated> Clone for GateHandle<T> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.transport))
    }
}

impl<T: Gated> Drop for GateHandle<T> {
    fn drop(&mut self) {
        self.pass_on();
    }
}

impl<T: Gated> fmt::Debug for GateHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateHandle").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}
