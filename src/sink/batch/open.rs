//! Messages of a batch or a stream in flight, and their results in order.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use kafka_tower_core::handover::Observing;
use kafka_tower_core::{Delivery, Error, Result};

use super::super::edge::BoxFuture;
use super::super::open_sends::{self, Known, OpenSend, OpenSends};
use super::super::whole::{Parts, Whole};

/// Number of neighbouring messages that share a bell (a waker): all are polled when it rings. More per bell cost
/// useless polls while delivery reports arrive; fewer cost memory.
const NEIGHBOURS: usize = 32;

pub(in crate::sink) struct Open {
    slots: VecDeque<Slot>,
    /// Number of the message in the first slot, counted from the first message.
    first: usize,
    /// Number of slots whose messages are in flight.
    open: usize,
    /// All bells ever needed at once.
    bells: Vec<Bell>,
    /// Indices of the bells of the slots, one for each `NEIGHBOURS` messages.
    hung: VecDeque<usize>,
    /// Indices of bells whose messages are done, for reuse.
    spare: Vec<usize>,
    desk: Arc<Desk>,
    /// Buffer for bells that rang. Empty between polls; kept to reuse its memory.
    rang: Vec<usize>,
    watch: Watch,
}

/// Tracks messages in flight for transactions, `flush` and `close`.
struct Watch {
    /// In a sink with transactions: messages that are not accounted for yet, by number.
    parts: Option<Parts>,
    sends: OpenSends,
    /// Open sends (not tracked by the transport), by number.
    kept: BTreeMap<usize, OpenSend>,
}

enum Slot {
    /// In flight, with the epoch of its call.
    Open(BoxFuture, u64),
    Done(Result<Delivery>),
}

struct Bell {
    /// Number of the first message of the group. A late ring for an earlier group only causes useless polls.
    number: usize,
    rope: Arc<Rope>,
    waker: Waker,
}

/// The waker of a bell, shared by the futures of its group.
struct Rope {
    pulled: AtomicBool,
    /// Index of the bell.
    bell: usize,
    desk: Arc<Desk>,
}

/// Collects the bells that rang.
#[derive(Default)]
struct Desk(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    /// Waker of the task that polls the batch.
    task: Option<Waker>,
    /// Bells that rang since the last poll.
    rang: Vec<usize>,
}

impl Open {
    pub(in crate::sink) fn new(whole: Option<Whole>, sends: OpenSends) -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            open: 0,
            bells: Vec::new(),
            hung: VecDeque::new(),
            spare: Vec::new(),
            desk: Arc::default(),
            rang: Vec::new(),
            watch: Watch { parts: whole.map(Parts::new), sends, kept: BTreeMap::new() },
        }
    }

    /// Calls a message and polls it once here: ringing for it would poll its whole group. The caller must call
    /// [`poll`](Self::poll) before the task sleeps, because the stored waker may be of an older task.
    pub(in crate::sink) fn push(&mut self, epoch: u64, known: Known, call: impl FnOnce() -> BoxFuture) {
        let number = self.first + self.slots.len();
        let bell = self.bell();
        let mut cx = Context::from_waker(&self.bells[bell].waker);
        let slot = self.watch.call((number, epoch), known, call, &mut cx);
        self.open += usize::from(matches!(slot, Slot::Open(..)));
        self.slots.push_back(slot);
    }

    /// Adds a message that did not reach the stack.
    pub(in crate::sink) fn failed(&mut self, error: Error) {
        if let Some(parts) = &mut self.watch.parts {
            parts.failed(self.first + self.slots.len());
        }
        self.late(error);
    }

    /// Adds a message whose transaction has ended; the current transaction does not track it.
    pub(in crate::sink) fn late(&mut self, error: Error) {
        self.bell();
        self.slots.push_back(Slot::Done(Err(error)));
    }

    /// Returns the bell of the next message.
    fn bell(&mut self) -> usize {
        let next = (self.first + self.slots.len()) / NEIGHBOURS;
        let place = next - self.first / NEIGHBOURS;
        if place == self.hung.len() {
            let bell = self.spare.pop().unwrap_or_else(|| {
                self.bells.push(Bell::new(self.bells.len(), &self.desk));
                self.bells.len() - 1
            });
            self.bells[bell].number = next * NEIGHBOURS;
            self.hung.push_back(bell);
        }
        self.hung[place]
    }

    /// Polls the groups whose bell rang. Ready when no message is in flight.
    pub(in crate::sink) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.desk.listen(cx.waker(), &mut self.rang);
        for i in 0..self.rang.len() {
            self.poll_neighbours(self.rang[i]);
        }
        self.rang.clear();
        if self.open == 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_neighbours(&mut self, bell: usize) {
        let Bell { number, rope, waker } = &self.bells[bell];
        // Cleared before the futures are polled, so that a ring from now on is recorded again.
        rope.pulled.swap(false, Ordering::AcqRel);
        let mut cx = Context::from_waker(waker);
        // The first messages of the group may be taken already, and the last ones not called yet.
        let from = number.saturating_sub(self.first);
        let to = (number + NEIGHBOURS).saturating_sub(self.first).min(self.slots.len());
        for i in from..to {
            if let Slot::Open(future, epoch) = &mut self.slots[i] {
                let number = self.first + i;
                if let Poll::Ready(result) = self.watch.poll((number, *epoch), future, &mut cx) {
                    self.slots[i] = Slot::Done(result);
                    self.open -= 1;
                }
            }
        }
    }

    /// Returns all results in the order of the messages, once [`poll`](Self::poll) was ready.
    pub(super) fn take(&mut self) -> Vec<Result<Delivery>> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Returns the next result in the order of the messages, if it is known.
    pub(in crate::sink) fn next(&mut self) -> Option<Result<Delivery>> {
        let result = match self.slots.pop_front()? {
            Slot::Done(result) => result,
            open @ Slot::Open(..) => {
                self.slots.push_front(open);
                return None;
            }
        };
        if let Some(parts) = &mut self.watch.parts {
            parts.told(self.first);
        }
        self.first += 1;
        if self.first % NEIGHBOURS == 0 {
            self.spare.extend(self.hung.pop_front());
        }
        Some(result)
    }

    /// Number of messages without a result at the last [`poll`](Self::poll).
    pub(in crate::sink) fn on_their_way(&self) -> usize {
        self.open
    }

    /// Number of messages whose results were not taken.
    pub(in crate::sink) fn held(&self) -> usize {
        self.slots.len()
    }
}

impl Watch {
    /// Calls the stack and polls the answer once.
    #[inline(always)]
    fn call(
        &mut self,
        (number, epoch): (usize, u64),
        known: Known,
        call: impl FnOnce() -> BoxFuture,
        cx: &mut Context<'_>,
    ) -> Slot {
        let Self { parts, sends, kept } = self;
        let observing = Observing::begin();
        let mut future = match parts {
            None => call(),
            Some(parts) => parts.call(number, call),
        };
        let answer = ask(parts, number, &mut future, cx);
        let seen = observing.end();
        match answer {
            Poll::Ready(result) => Slot::Done(result),
            Poll::Pending => {
                if let Some(open) = open_sends::after_call(sends, epoch, None, known, seen) {
                    kept.insert(number, open);
                }
                Slot::Open(future, epoch)
            }
        }
    }

    /// Polls the future of a message.
    fn poll(
        &mut self,
        (number, epoch): (usize, u64),
        future: &mut BoxFuture,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Delivery>> {
        let Self { parts, sends, kept } = self;
        let mut open = if kept.is_empty() { None } else { kept.remove(&number) };
        let answer = open_sends::poll(sends, epoch, &mut open, || ask(parts, number, future, cx));
        if let Some(open) = open {
            kept.insert(number, open);
        }
        answer
    }
}

#[inline]
fn ask(
    parts: &mut Option<Parts>,
    number: usize,
    future: &mut BoxFuture,
    cx: &mut Context<'_>,
) -> Poll<Result<Delivery>> {
    match parts {
        None => future.as_mut().poll(cx),
        Some(parts) => parts.poll(number, future, cx),
    }
}

impl Bell {
    fn new(place: usize, desk: &Arc<Desk>) -> Self {
        let rope = Arc::new(Rope { pulled: AtomicBool::new(false), bell: place, desk: Arc::clone(desk) });
        Self { number: 0, waker: Waker::from(Arc::clone(&rope)), rope }
    }
}

impl Desk {
    /// Takes the bells that rang, and registers the task to wake.
    fn listen(&self, task: &Waker, rang: &mut Vec<usize>) {
        let mut heard = self.heard();
        mem::swap(&mut heard.rang, rang);
        let old = match &heard.task {
            Some(known) if known.will_wake(task) => None,
            _ => heard.task.replace(task.clone()),
        };
        drop(heard);
        drop(old);
    }

    fn ring(&self, bell: usize) {
        let mut heard = self.heard();
        heard.rang.push(bell);
        // The first ring has woken the task, which takes the list before it sleeps.
        let task = if heard.rang.len() == 1 { heard.task.clone() } else { None };
        drop(heard);
        if let Some(task) = task {
            task.wake();
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.pulled.swap(true, Ordering::AcqRel) {
            self.desk.ring(self.bell);
        }
    }
}
