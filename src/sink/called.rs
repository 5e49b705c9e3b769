//! A message that was called: it is followed until its answer, and counts once, however it ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use kafka_tower_core::handover::Observing;
use kafka_tower_core::ticket::Ticket;
use kafka_tower_core::{Delivery, Result};
use kafka_tower_layers::metrics::{Metrics, MetricsShard};

use super::completeness;
use super::deadline;
use super::inner::SharedParts;
use super::open_sends::{self, Known, OpenSend, OpenSends};
use super::stack_future::StackFuture;

/// Follows the sends of a thread, a batch or a stream, and counts how they end.
pub(super) struct Tracker {
    pub(super) sends: OpenSends,
    counters: Arc<MetricsShard>,
}

impl Tracker {
    /// That of this thread.
    pub(super) fn of(parts: &SharedParts) -> Self {
        Self::new(parts.sends.clone(), &parts.metrics)
    }

    fn new(sends: OpenSends, metrics: &Metrics) -> Self {
        Self { sends, counters: Arc::clone(metrics.shard()) }
    }

    /// Polls the future of a message for the first time.
    #[inline(always)]
    pub(super) fn first_poll(
        &self,
        future: &mut StackFuture,
        called: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Delivery>> {
        let panics = Panics(self);
        let answer = Pin::new(future).poll(cx);
        std::mem::forget(panics);
        if let Poll::Ready(answer) = &answer {
            self.answered(called, answer);
        }
        answer
    }

    #[inline]
    fn answered(&self, called: Instant, answer: &Result<Delivery>) {
        match answer {
            Ok(_) => self.counters.record_delivered(deadline::now().saturating_duration_since(called)),
            Err(error) => self.counters.record_failed(error),
        }
    }
}

/// Counts a send as abandoned if its first poll panics, because its caller gets no answer.
struct Panics<'a>(&'a Tracker);

impl Drop for Panics<'_> {
    fn drop(&mut self) {
        self.0.counters.record_abandoned();
    }
}

/// A message that was called: the future of its answer, and what follows it meanwhile.
pub(super) struct Called {
    future: StackFuture,
    /// Present while the transport does not answer for the send.
    open: Option<OpenSend>,
    /// In a sink with transactions. Declared after the future, so that it is dropped after it.
    ticket: Option<Ticket>,
    /// Epoch of the call: determines which flush waits for it.
    epoch: u64,
    /// Time of the call. Taken when the answer counts.
    called: Option<Instant>,
}

impl Called {
    #[inline]
    pub(super) fn poll(&mut self, tracker: &Tracker, cx: &mut Context<'_>) -> Poll<Result<Delivery>> {
        let answer = match self.ticket.as_ref().and_then(completeness::late_on_the_way) {
            Some(error) => Poll::Ready(Err(error)),
            None => {
                open_sends::poll(&tracker.sends, self.epoch, &mut self.open, || Pin::new(&mut self.future).poll(cx))
            }
        };
        if let Poll::Ready(answer) = &answer {
            if let Some(called) = self.called.take() {
                tracker.answered(called, answer);
            }
        }
        answer
    }

    /// Takes the ticket of a send that was answered.
    #[inline]
    pub(super) fn take_ticket(&mut self) -> Option<Ticket> {
        self.ticket.take()
    }

    /// Counts the send if it is dropped without an answer.
    #[inline]
    pub(super) fn dropped(&self, tracker: &Tracker) {
        if self.called.is_some() {
            tracker.counters.record_abandoned();
        }
    }
}

/// What follows a send from its admission on.
pub(super) struct Tracked {
    pub(super) ticket: Option<Ticket>,
    /// Its entry among the open sends if it had to wait.
    pub(super) open: Option<OpenSend>,
    pub(super) epoch: u64,
    /// Time of the call.
    pub(super) called: Instant,
}

/// Observes a call of the stack: whether the transport accepts the record in it.
pub(super) struct ObservedCall {
    known: Known,
    observing: Observing,
}

impl ObservedCall {
    /// Observes the call that is made next. `known` is what a close reports of the message.
    #[inline(always)]
    pub(super) fn begin(known: Known) -> Self {
        Self { known, observing: Observing::begin() }
    }

    /// The stack was called and has returned this future.
    #[inline(always)]
    pub(super) fn called(self, tracker: &Tracker, future: StackFuture, tracked: Tracked) -> Called {
        let Tracked { ticket, open, epoch, called } = tracked;
        // A future that is never polled counts too, so the send is entered here.
        let open = open_sends::after_call(&tracker.sends, epoch, open, self.known, self.observing.end());
        Called { future, open, ticket, epoch, called: Some(called) }
    }
}

#[cfg(test)]
impl Tracker {
    /// Follows sends of no sink.
    pub(super) fn of_test(metrics: &Metrics) -> Self {
        Self::new(OpenSends::default(), metrics)
    }
}
