//! Handlers that run.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::wakers::guarded;

use super::cut::Place;
use crate::source::telemetry::Processing;
use crate::waker_group::{ReadyQueue, WakerGroup};

/// The result of a handler, or its panic.
pub(super) type Finished<R> = Result<R, Panicked>;

/// The handler has panicked.
#[derive(Debug)]
pub(super) struct Panicked;

/// Handlers that run in one task. Each has a waker of its own.
pub(super) struct Handlers<Fut> {
    slots: Vec<Slot<Fut>>,
    free: Vec<usize>,
    queue: Arc<ReadyQueue>,
    /// Slots to poll.
    woken: Vec<usize>,
}

struct Slot<Fut> {
    waker: WakerGroup,
    running: Option<(Place, Processing, Pin<Box<Fut>>)>,
}

/// A handler that has ended.
pub(super) struct Answered<R> {
    pub(super) place: Place,
    pub(super) span: Processing,
    pub(super) result: Finished<R>,
}

impl<Fut: Future> Handlers<Fut> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), queue: Arc::default(), woken: Vec::new() }
    }

    /// Number of handlers.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Adds a handler. Call [`poll`](Self::poll) before the task sleeps.
    pub(super) fn push(&mut self, place: Place, span: Processing, future: Fut) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { waker: WakerGroup::new(self.slots.len(), &self.queue), running: None });
            self.slots.len() - 1
        });
        self.slots[index].running = Some((place, span, Box::pin(future)));
        self.woken.push(index);
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
            let Some((_, span, future)) = &mut slot.running else { continue };
            let mut cx = Context::from_waker(slot.waker.waker());
            let polled = {
                let _current = span.attach();
                catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)))
            };
            let result = match polled {
                Ok(Poll::Pending) => continue,
                Ok(Poll::Ready(result)) => Ok(result),
                Err(_) => Err(Panicked),
            };
            if let Some((place, span, _)) = slot.running.take() {
                self.free.push(index);
                ended.push(Answered { place, span, result });
            }
        }
        ended
    }

    /// Cancels the handlers for which `keep` is false.
    pub(super) fn retain(&mut self, keep: impl Fn(&Place) -> bool) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.running.as_ref().is_some_and(|(place, ..)| !keep(place)) {
                guarded("a future of a handler", || slot.running = None);
                self.free.push(index);
            }
        }
    }
}
