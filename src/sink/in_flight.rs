//! Messages of a batch or a stream in flight, and their results in order.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::ticket::Ticket;
use kafka_tower_core::{Delivery, Error, Result};

use super::called::{Called, ObservedCall, Tracked, Tracker};
use super::stack_future::StackFuture;
use crate::waker_group::{ReadyQueue, WakerGroup};

/// Number of neighbouring messages that share a waker: all are polled when it is woken. More per group cost useless
/// polls while delivery reports arrive; fewer cost memory.
const GROUP: usize = 32;

pub(super) struct InFlightSet {
    slots: VecDeque<Slot>,
    /// Number of the message in the first slot, counted from the first message.
    first: usize,
    /// Number of slots whose messages are in flight.
    in_flight: usize,
    /// All groups ever needed at once, with the number of their first message. A late wake-up for an earlier use of a
    /// group only causes useless polls.
    groups: Vec<(usize, WakerGroup)>,
    /// Indices of the groups of the slots, one for each `GROUP` messages.
    used: VecDeque<usize>,
    /// The last of them.
    current: usize,
    /// Indices of groups whose messages are done, for reuse.
    spare: Vec<usize>,
    queue: Arc<ReadyQueue>,
    /// Buffer for groups that were woken. Empty between polls; kept to reuse its memory.
    woken: Vec<usize>,
    tracker: Tracker,
    /// In a sink with transactions: tickets of messages that failed and whose errors were not taken, by number.
    unread: BTreeMap<usize, Ticket>,
}

enum Slot {
    InFlight(Called),
    Done(Result<Delivery>),
}

impl InFlightSet {
    pub(super) fn new(tracker: Tracker) -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            in_flight: 0,
            groups: Vec::new(),
            used: VecDeque::new(),
            current: 0,
            spare: Vec::new(),
            queue: Arc::default(),
            woken: Vec::new(),
            tracker,
            unread: BTreeMap::new(),
        }
    }

    /// Makes room for as many messages more, so that those in flight are not moved when there are more of them.
    pub(super) fn reserve(&mut self, messages: usize) {
        self.slots.reserve(messages);
    }

    /// Adds a message that was called, and polls it once: a wake-up would poll its whole group. The caller must call
    /// [`poll`](Self::poll) before the task sleeps, because the stored waker may be of an older task.
    #[inline(always)]
    pub(super) fn push(&mut self, mut future: StackFuture, call: ObservedCall, tracked: Tracked) {
        let group = self.group();
        let mut cx = Context::from_waker(self.groups[group].1.waker());
        let slot = match self.tracker.first_poll(&mut future, tracked.called, &mut cx) {
            Poll::Pending => {
                self.in_flight += 1;
                Slot::InFlight(call.called(&self.tracker, future, tracked))
            }
            Poll::Ready(result) => {
                if let Some(ticket) = tracked.ticket {
                    settle(&mut self.unread, self.first + self.slots.len(), &result, ticket);
                }
                Slot::Done(result)
            }
        };
        self.slots.push_back(slot);
    }

    /// Adds a message that did not reach the stack.
    pub(super) fn failed(&mut self, error: Error, ticket: Option<Ticket>) {
        self.group();
        let result = Err(error);
        if let Some(ticket) = ticket {
            settle(&mut self.unread, self.first + self.slots.len(), &result, ticket);
        }
        self.slots.push_back(Slot::Done(result));
    }

    /// Returns the group of the next message.
    #[inline]
    fn group(&mut self) -> usize {
        let next = self.first + self.slots.len();
        if next % GROUP == 0 {
            self.next_group(next);
        }
        self.current
    }

    #[inline(never)]
    fn next_group(&mut self, first: usize) {
        // It has its group if its first poll panicked, and the message was not added.
        if self.used.back().is_some_and(|last| self.groups[*last].0 == first) {
            return;
        }
        self.current = self.spare.pop().unwrap_or_else(|| {
            self.groups.push((0, WakerGroup::new(self.groups.len(), &self.queue)));
            self.groups.len() - 1
        });
        self.groups[self.current].0 = first;
        self.used.push_back(self.current);
    }

    /// Polls the groups that were woken. Ready when no message is in flight.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.queue.take(cx.waker(), &mut self.woken);
        for i in 0..self.woken.len() {
            self.poll_group(self.woken[i]);
        }
        self.woken.clear();
        if self.in_flight == 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_group(&mut self, group: usize) {
        let (number, group) = &self.groups[group];
        group.begin_poll();
        let mut cx = Context::from_waker(group.waker());
        // The first messages of the group may be taken already, and the last ones not called yet.
        let from = number.saturating_sub(self.first);
        let to = (number + GROUP).saturating_sub(self.first).min(self.slots.len());
        for i in from..to {
            if let Slot::InFlight(called) = &mut self.slots[i] {
                if let Poll::Ready(result) = called.poll(&self.tracker, &mut cx) {
                    if let Some(ticket) = called.take_ticket() {
                        settle(&mut self.unread, self.first + i, &result, ticket);
                    }
                    self.slots[i] = Slot::Done(result);
                    self.in_flight -= 1;
                }
            }
        }
    }

    /// Returns all results in the order of the messages, once [`poll`](Self::poll) was ready.
    pub(super) fn take(&mut self) -> Vec<Result<Delivery>> {
        let mut results = Vec::with_capacity(self.slots.len());
        while let Some(result) = self.next() {
            results.push(result);
        }
        results
    }

    /// Returns the next result in the order of the messages, if it is known.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Result<Delivery>> {
        if let Slot::InFlight(_) = self.slots.front()? {
            return None;
        }
        let Some(Slot::Done(result)) = self.slots.pop_front() else { return None };
        if !self.unread.is_empty() {
            self.unread.remove(&self.first).inspect(Ticket::account);
        }
        self.first += 1;
        if self.first % GROUP == 0 {
            self.spare.extend(self.used.pop_front());
        }
        Some(result)
    }

    /// Number of messages without a result at the last [`poll`](Self::poll).
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Number of messages whose results were not taken.
    pub(super) fn held(&self) -> usize {
        self.slots.len()
    }
}

impl Drop for InFlightSet {
    fn drop(&mut self) {
        for slot in &self.slots {
            if let Slot::InFlight(called) = slot {
                called.dropped(&self.tracker);
            }
        }
    }
}

/// A delivered message is accounted for. One that failed is when its caller takes the error.
fn settle(unread: &mut BTreeMap<usize, Ticket>, number: usize, result: &Result<Delivery>, ticket: Ticket) {
    if result.is_ok() {
        ticket.account();
    } else {
        unread.insert(number, ticket);
    }
}
