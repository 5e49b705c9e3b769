//! Admission: how a message gets into the stack, for `send`, `send_batch`, `send_stream` and `Service::call` alike.
//!
//! Check whether the sink rejects every send, poll the stack for readiness, stamp the deadline, attach the message to the
//! transaction, call. Readiness is used in the poll that got it, so that no handle is ready and idle.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use kafka_tower_core::handover::Observing;
use kafka_tower_core::ticket::Ticket;
use kafka_tower_core::{Delivery, Result, SinkMessage};

use super::completeness;
use super::deadline;
use super::inner::SinkInner;
use super::open_sends::{self, Known, OpenSend, OpenSends};
use super::stack_future::StackFuture;

/// A message that was called: the future of its answer, and what tracks it meanwhile.
pub(super) struct Called {
    future: StackFuture,
    /// Present while the transport does not answer for the send.
    open: Option<OpenSend>,
    /// In a sink with transactions. Declared after the future, so that it is dropped after it.
    ticket: Option<Ticket>,
    /// Epoch of the call: determines which flush waits for it.
    epoch: u64,
}

impl Called {
    #[inline]
    pub(super) fn poll(&mut self, sends: &OpenSends, cx: &mut Context<'_>) -> Poll<Result<Delivery>> {
        if let Some(ticket) = &self.ticket {
            if let Some(error) = completeness::late_on_the_way(ticket) {
                return Poll::Ready(Err(error));
            }
        }
        open_sends::poll(sends, self.epoch, &mut self.open, || Pin::new(&mut self.future).poll(cx))
    }

    /// Takes the ticket of a send that was answered.
    #[inline]
    pub(super) fn take_ticket(&mut self) -> Option<Ticket> {
        self.ticket.take()
    }
}

/// What tracks a send from its admission on: its ticket, its entry among the open sends if it had to wait, its epoch.
pub(super) type Tracked = (Option<Ticket>, Option<OpenSend>, u64);

impl<T> SinkInner<T> {
    /// Prepares a message for its call: takes the key from its type, writes its deadline, counted from `since`, and its tenant,
    /// and attaches it to the transaction.
    ///
    /// # Errors
    ///
    /// If it may not join the open transaction. Then drop the handle whose readiness was not used.
    #[inline]
    pub(super) fn admit(&self, message: &mut SinkMessage<T>, since: Instant) -> Result<Option<Ticket>> {
        if let Some(complete) = self.complete {
            complete(message);
        }
        deadline::stamp(message, since, self.parts.send_timeout);
        let envelope = message.envelope_mut();
        envelope.set_tenant(self.parts.tenant);
        envelope.set_profile(self.profile);
        self.ticket(message)
    }

    /// Observes the call of an admitted message, to be made next. The message is not passed through here: each helper
    /// that it is passed to would copy it once more.
    #[inline(always)]
    pub(super) fn observe(&self, message: &SinkMessage<T>) -> ObservedCall {
        ObservedCall { known: self.known(message), observing: Observing::begin() }
    }
}

/// Observes a call of the stack: whether the transport accepts the record in it.
pub(super) struct ObservedCall {
    known: Known,
    observing: Observing,
}

impl ObservedCall {
    /// The stack was called and has returned this future.
    #[inline(always)]
    pub(super) fn called(self, sends: &OpenSends, future: StackFuture, (ticket, open, epoch): Tracked) -> Called {
        // A future that is never polled counts too, so the send is entered here.
        let open = open_sends::after_call(sends, epoch, open, self.known, self.observing.end());
        Called { future, open, ticket, epoch }
    }
}

#[cfg(test)]
impl ObservedCall {
    /// Observes a call of no stack.
    pub(super) fn of_test() -> Self {
        Self { known: None, observing: Observing::begin() }
    }
}
