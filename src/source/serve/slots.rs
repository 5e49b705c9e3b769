//! The futures of the service, and the messages that they handle.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use kafka_tower_core::RawRecord;
use kafka_tower_core::wakers::guarded;

use super::lanes::Ticket;
use crate::source::contents::{Contents, Home};
use crate::source::telemetry::Processing;
use crate::source::{Receipt, SourceMessage};
use crate::waker_group::{ReadyQueue, WakerGroup};

/// One slot for each message that is handled at the same time. Slots are used again, so that a message allocates nothing here.
pub(super) struct Slots<T, F> {
    all: Vec<Slot<T, F>>,
    free: Vec<usize>,
    queue: Arc<ReadyQueue>,
}

struct Slot<T, F> {
    record: Option<Record>,
    future: Pin<Box<Option<F>>>,
    waker: WakerGroup,
    home: Arc<Home<T>>,
    /// Number of the messages that it has had.
    number: u64,
}

/// A message that is handled.
pub(super) struct Record {
    pub(super) ticket: Ticket,
    /// Gives the message back if it is dropped.
    pub(super) receipt: Receipt,
    pub(super) attempt: u32,
    /// The original, if it was kept.
    pub(super) raw: Option<Box<RawRecord>>,
    pub(super) deadline: Option<Instant>,
    pub(super) span: Processing,
}

impl<T, F: Future> Slots<T, F> {
    pub(super) fn new(queue: &Arc<ReadyQueue>) -> Self {
        Self { all: Vec::new(), free: Vec::new(), queue: Arc::clone(queue) }
    }

    /// Begins to handle a message: calls the service with it. Returns the slot, and whether the call has panicked.
    pub(super) fn begin(
        &mut self,
        ticket: Ticket,
        message: SourceMessage<T>,
        call: impl FnOnce(SourceMessage<T>) -> F,
    ) -> (usize, bool) {
        let index = self.free.pop().unwrap_or_else(|| {
            let waker = WakerGroup::new(self.all.len(), &self.queue);
            let home = Arc::new(Home::new());
            self.all.push(Slot { record: None, future: Box::pin(None), waker, home, number: 0 });
            self.all.len() - 1
        });
        let slot = &mut self.all[index];
        let SourceMessage { mut contents, mut receipt } = message;
        receipt.begin();
        let span = receipt.hooks().process(&contents, &receipt);
        let (attempt, raw) = (contents.attempt, contents.raw_record(receipt.at(), receipt.offset()).map(Box::new));
        contents.lend(&slot.home, slot.number);
        let lent = SourceMessage { contents, receipt: receipt.lend() };
        let called = {
            let _current = span.attach();
            catch_unwind(AssertUnwindSafe(|| call(lent)))
        };
        slot.record = Some(Record { ticket, receipt, attempt, raw, deadline: None, span });
        match called {
            Ok(future) => {
                slot.future.set(Some(future));
                (index, false)
            }
            Err(_) => (index, true),
        }
    }

    pub(super) fn record(&mut self, index: usize) -> Option<&mut Record> {
        self.all.get_mut(index)?.record.as_mut()
    }

    /// Polls the future of a slot. An error: it has panicked. Pending if there is none, after a late wake-up.
    pub(super) fn poll(&mut self, index: usize) -> Poll<Result<F::Output, ()>> {
        let Some(slot) = self.all.get_mut(index) else { return Poll::Pending };
        slot.waker.begin_poll();
        let Some(future) = slot.future.as_mut().as_pin_mut() else { return Poll::Pending };
        let mut cx = Context::from_waker(slot.waker.waker());
        // Only within this poll: this thread may poll another task next.
        let _current = slot.record.as_ref().and_then(|record| record.span.attach());
        match catch_unwind(AssertUnwindSafe(|| future.poll(&mut cx))) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(())),
        }
    }

    /// Drops the future of a slot, and frees the slot. Returns its message, and what has returned of it.
    pub(super) fn end(&mut self, index: usize) -> Option<(Record, Option<Contents<T>>)> {
        let slot = &mut self.all[index];
        let record = slot.record.take()?;
        let future = &mut slot.future;
        // First, because it may hold the message.
        guarded("a future of a service", || future.set(None));
        slot.number += 1;
        self.free.push(index);
        Some((record, slot.home.take()))
    }

    /// The slots whose messages can not be settled any more.
    pub(super) fn filter(&self, mut wanted: impl FnMut(&Record) -> bool) -> Vec<usize> {
        let used = self.all.iter().enumerate();
        used.filter(|(_, slot)| slot.record.as_ref().is_some_and(&mut wanted)).map(|(index, _)| index).collect()
    }
}
