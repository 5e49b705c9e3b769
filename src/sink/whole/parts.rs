//! The tracked sends of a batch or a stream, whose answers wait until the caller takes them.

use std::collections::BTreeMap;
use std::task::{Context, Poll};

use kafka_tower_core::{Delivery, Result, handover};

use super::super::edge::BoxFuture;
use super::{Part, Whole};

/// Messages that are not accounted for yet, by number. For most messages the transport has the record after the call.
pub(in crate::sink) struct Parts {
    whole: Whole,
    parts: BTreeMap<usize, Part>,
}

impl Parts {
    pub(in crate::sink) fn new(whole: Whole) -> Self {
        Self { whole, parts: BTreeMap::new() }
    }

    // Out of line, here and below: most sinks have no transactions.
    #[inline(never)]
    pub(in crate::sink) fn call(&mut self, number: usize, call: impl FnOnce() -> BoxFuture) -> BoxFuture {
        let part = self.whole.part();
        let (future, taken) = handover::watch_inside(call);
        if taken {
            part.done();
        } else {
            self.parts.insert(number, part);
        }
        future
    }

    #[inline(never)]
    pub(in crate::sink) fn poll(
        &mut self,
        number: usize,
        future: &mut BoxFuture,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Delivery>> {
        let Some(part) = self.parts.get(&number) else { return future.as_mut().poll(cx) };
        if let Some(error) = part.is_late_on_its_way() {
            return Poll::Ready(Err(error));
        }
        let (answer, taken) = handover::watch_inside(|| future.as_mut().poll(cx));
        if taken || matches!(answer, Poll::Ready(Ok(_))) {
            self.told(number);
        }
        answer
    }

    /// Tracks a message of the current transaction that did not reach the stack.
    #[inline(never)]
    pub(in crate::sink) fn failed(&mut self, number: usize) {
        self.parts.insert(number, self.whole.part());
    }

    /// The caller has the answer.
    #[inline(never)]
    pub(in crate::sink) fn told(&mut self, number: usize) {
        self.parts.remove(&number).into_iter().for_each(Part::done);
    }
}
