//! Messages that wait for their turn, and handlers that run.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::wakers::guarded;
use kafka_tower_core::{RawRecord, TopicPartition};

use super::cut::Place;
use crate::source::SourceMessage;
use crate::source::serve::lanes::{Lanes, Ticket};
use crate::source::telemetry::Processing;
use crate::waker_group::{ReadyQueue, WakerGroup};

/// The result of a handler, or its panic.
pub(super) type Finished<R> = Result<R, Panicked>;

/// The handler has panicked.
#[derive(Debug)]
pub(super) struct Panicked;

/// Handlers that run in one task, each with a waker of its own, and the messages that wait for their lane or a place.
pub(super) struct Handlers<T, Fut> {
    lanes: Lanes<Waiting<T>>,
    /// Numbers of the partitions in the lanes.
    partitions: BTreeMap<TopicPartition, usize>,
    slots: Vec<Slot<Fut>>,
    free: Vec<usize>,
    queue: Arc<ReadyQueue>,
    /// Slots to poll.
    woken: Vec<usize>,
}

/// A message whose handler has not begun.
pub(super) struct Waiting<T> {
    pub(super) place: Place,
    pub(super) message: SourceMessage<T>,
}

struct Slot<Fut> {
    waker: WakerGroup,
    running: Option<Running<Fut>>,
}

struct Running<Fut> {
    place: Place,
    raw: Option<Box<RawRecord>>,
    ticket: Ticket,
    span: Processing,
    future: Pin<Box<Fut>>,
}

/// A handler that has ended.
pub(super) struct Answered<R> {
    pub(super) place: Place,
    /// The original, if it was kept.
    pub(super) raw: Option<Box<RawRecord>>,
    pub(super) span: Processing,
    pub(super) result: Finished<R>,
}

impl<T, Fut: Future> Handlers<T, Fut> {
    pub(super) fn new(lanes: Lanes<Waiting<T>>) -> Self {
        let (slots, free, queue, woken) = (Vec::new(), Vec::new(), Arc::default(), Vec::new());
        Self { lanes, partitions: BTreeMap::new(), slots, free, queue, woken }
    }

    /// Whether no message is handled or waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.running() == 0 && !self.lanes.has_ready()
    }

    /// Number of messages of a partition that may be offered.
    pub(super) fn room(&self, at: &TopicPartition) -> usize {
        // One that is not known has no messages here.
        self.lanes.room(self.partitions.get(at).copied().unwrap_or(usize::MAX))
    }

    /// Adds a message: the next one of its partition.
    pub(super) fn offer(&mut self, place: Place, message: SourceMessage<T>) {
        let partition = match self.partitions.get(&place.at) {
            Some(partition) => *partition,
            None => {
                let next = self.partitions.len();
                self.partitions.insert(place.at.clone(), next);
                next
            }
        };
        let lane = self.lanes.lane(partition, message.key().map(|key| &**key));
        self.lanes.offer(partition, lane, message.contents.bytes, Waiting { place, message });
    }

    /// The next message whose handler may begin. [`push`](Self::push) or [`finish`](Self::finish) has to follow.
    pub(super) fn next(&mut self) -> Option<(Ticket, Waiting<T>)> {
        self.lanes.next()
    }

    /// Adds a handler. Call [`poll`](Self::poll) before the task sleeps.
    pub(super) fn push(
        &mut self,
        ticket: Ticket,
        place: Place,
        raw: Option<Box<RawRecord>>,
        span: Processing,
        future: Fut,
    ) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { waker: WakerGroup::new(self.slots.len(), &self.queue), running: None });
            self.slots.len() - 1
        });
        self.slots[index].running = Some(Running { place, raw, ticket, span, future: Box::pin(future) });
        self.woken.push(index);
    }

    /// A message has no handler any more: the next one of its lane may begin.
    pub(super) fn finish(&mut self, ticket: Ticket) {
        self.lanes.finish(ticket);
    }

    /// Polls the handlers that were woken. Returns those that have ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Vec<Answered<Fut::Output>> {
        let mut ended = Vec::new();
        let mut due = std::mem::take(&mut self.woken);
        self.queue.take(cx.waker(), &mut self.woken);
        due.append(&mut self.woken);
        for index in due {
            let slot = &mut self.slots[index];
            slot.waker.begin_poll();
            let Some(running) = &mut slot.running else { continue };
            let mut cx = Context::from_waker(slot.waker.waker());
            let polled = {
                let _current = running.span.attach();
                catch_unwind(AssertUnwindSafe(|| running.future.as_mut().poll(&mut cx)))
            };
            let result = match polled {
                Ok(Poll::Pending) => continue,
                Ok(Poll::Ready(result)) => Ok(result),
                Err(_) => Err(Panicked),
            };
            if let Some(Running { place, raw, ticket, span, .. }) = slot.running.take() {
                self.free.push(index);
                self.lanes.finish(ticket);
                ended.push(Answered { place, raw, span, result });
            }
        }
        ended
    }

    /// Forgets the messages for which `keep` is false, and cancels their handlers.
    pub(super) fn retain(&mut self, keep: impl Fn(&Place) -> bool) {
        drop(self.lanes.retain(|waiting| keep(&waiting.place)));
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.running.as_ref().is_some_and(|running| !keep(&running.place)) {
                if let Some(running) = slot.running.take() {
                    self.lanes.finish(running.ticket);
                    guarded("a future of a handler", || drop(running));
                    self.free.push(index);
                }
            }
        }
    }
}
