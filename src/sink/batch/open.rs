//! The messages of a batch or a stream that are on their way, and the results in order.

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

/// Neighbours that share a bell: all are polled when one rings. More of them cost polls in vain while delivery reports
/// come in, fewer cost memory.
const NEIGHBOURS: usize = 32;

pub(in crate::sink) struct Open {
    slots: VecDeque<Slot>,
    /// The number of the first slot, counted from the first message on.
    first: usize,
    /// Slots whose messages are on their way.
    open: usize,
    /// All bells that were ever needed at once.
    bells: Vec<Bell>,
    /// The bells of the slots, one for each `NEIGHBOURS` numbers.
    hung: VecDeque<usize>,
    /// Bells whose messages are done, for the next ones.
    spare: Vec<usize>,
    desk: Arc<Desk>,
    /// Bells that rang. Empty between two polls, and kept for its memory.
    rang: Vec<usize>,
    watch: Watch,
}

/// Who waits for messages that are on their way.
struct Watch {
    /// In a sink with transactions: the messages that it has to wait for, by their numbers.
    parts: Option<Parts>,
    sends: OpenSends,
    /// Those that no transport answers for, by their numbers.
    kept: BTreeMap<usize, OpenSend>,
}

enum Slot {
    /// With the epoch of its call.
    Open(BoxFuture, u64),
    Done(Result<Delivery>),
}

struct Bell {
    /// The number of the first of its neighbours. One that is rung for earlier ones polls others in vain.
    number: usize,
    rope: Arc<Rope>,
    waker: Waker,
}

/// The end of a bell that futures pull.
struct Rope {
    pulled: AtomicBool,
    /// The bell's place.
    bell: usize,
    desk: Arc<Desk>,
}

/// Where all bells are heard.
#[derive(Default)]
struct Desk(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    /// The task that polls the batch.
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

    /// A message on its way, polled here once: to ring for it would poll its neighbours. [`poll`](Self::poll) has to
    /// follow before the task rests, because the desk may know an older task.
    pub(in crate::sink) fn push(&mut self, epoch: u64, known: Known, call: impl FnOnce() -> BoxFuture) {
        let number = self.first + self.slots.len();
        let bell = self.bell();
        let mut cx = Context::from_waker(&self.bells[bell].waker);
        let slot = self.watch.call((number, epoch), known, call, &mut cx);
        self.open += usize::from(matches!(slot, Slot::Open(..)));
        self.slots.push_back(slot);
    }

    /// A message that did not get to the stack.
    pub(in crate::sink) fn failed(&mut self, error: Error) {
        if let Some(parts) = &mut self.watch.parts {
            parts.failed(self.first + self.slots.len());
        }
        self.late(error);
    }

    /// One whose transaction is over: the present one has nothing to do with it.
    pub(in crate::sink) fn late(&mut self, error: Error) {
        self.bell();
        self.slots.push_back(Slot::Done(Err(error)));
    }

    /// The bell of the next message.
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

    /// Polls those that rang; ready when no message is on its way.
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
        // Before its futures are polled: one that pulls it from now on is heard again.
        rope.pulled.swap(false, Ordering::AcqRel);
        let mut cx = Context::from_waker(waker);
        // The first of them may be gone already, and the last not there yet.
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

    /// All results in the order of the messages, once [`poll`](Self::poll) was ready.
    pub(super) fn take(&mut self) -> Vec<Result<Delivery>> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The next result in the order of the messages, if it is known.
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

    /// Messages whose results were not known at the last [`poll`](Self::poll).
    pub(in crate::sink) fn on_their_way(&self) -> usize {
        self.open
    }

    /// Messages whose results were not taken.
    pub(in crate::sink) fn held(&self) -> usize {
        self.slots.len()
    }
}

impl Watch {
    /// Calls the stack and polls the answer.
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

    /// Polls a message's future.
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
    /// Takes what rang; from now on this task is woken.
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
        // Whoever was first has woken the task, and it listens before it rests.
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
