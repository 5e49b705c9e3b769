//! Sends many messages in order: what a batch and a stream have in common.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use kafka_tower_core::ticket::Ticket;
use kafka_tower_core::{Error, SinkMessage};

use super::boxed::DynStack;
use super::called::{Tracked, Tracker};
use super::deadline::{self, Patience};
use super::in_flight::InFlightSet;
use super::inner::SinkInner;

/// Calls messages one after the other, as there is room, and holds those in flight.
pub(super) struct Many<T> {
    pub(super) inner: Arc<SinkInner<T>>,
    /// Handle of the stack, dropped when no message is left, so that it does not keep its readiness.
    pub(super) stack: Option<Box<dyn DynStack<T>>>,
    /// When the lack of room began.
    waiting_since: Option<Instant>,
    patience: Patience,
    budget: Budget,
    pub(super) in_flight: InFlightSet,
}

/// When the time budget of a message begins that waits for room behind another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Budget {
    /// With the lack of room: the messages of a batch expire together.
    Shared,
    /// When it is the message's turn.
    Own,
}

/// What happens to a message.
pub(super) enum Admitted {
    /// The stack is ready: [call](Many::call) it with the message.
    Ready(Option<Ticket>),
    /// It has its result.
    Failed,
    /// It waits for room since this time.
    Waits(Instant),
}

/// A message that waits for room, and when its wait began.
pub(super) struct Head<T> {
    pub(super) message: SinkMessage<T>,
    pub(super) since: Instant,
}

impl<T> Many<T> {
    pub(super) fn new(inner: Arc<SinkInner<T>>, budget: Budget) -> Self {
        let in_flight = InFlightSet::new(Tracker::of(&inner.parts));
        Self { inner, stack: None, waiting_since: None, patience: Patience::default(), budget, in_flight }
    }

    /// Decides what happens to the message now. `waited` is when its wait for room began, if it waits already.
    #[inline(always)]
    pub(super) fn admit(
        &mut self,
        message: &mut SinkMessage<T>,
        waited: Option<Instant>,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Admitted {
        if let Some(error) = self.inner.refusal() {
            let error = self.inner.failed(Some(message), waited, error);
            return self.fail(message, error);
        }
        let inner = &self.inner;
        match self.stack.get_or_insert_with(|| inner.fresh()).poll_ready(cx) {
            Poll::Ready(Ok(())) => {
                if let Some(since) = waited {
                    inner.waited(message, since);
                }
                match inner.admit(message, self.waiting_since.take().unwrap_or(now)) {
                    Ok(ticket) => {
                        message.envelope_mut().set_in_order(true);
                        Admitted::Ready(ticket)
                    }
                    Err(error) => {
                        self.stack = None; // its readiness was not used
                        self.late(message, waited, error);
                        Admitted::Failed
                    }
                }
            }
            Poll::Ready(Err(error)) => {
                self.stack = None; // a failed handle stays failed; the next message takes a fresh one
                let error = self.inner.unready(message, waited, error);
                self.fail(message, error)
            }
            Poll::Pending => self.wait(message, waited, now, cx),
        }
    }

    /// Calls a message that is ready. `called` is the time of this call.
    #[inline(always)]
    pub(super) fn call(&mut self, message: SinkMessage<T>, ticket: Option<Ticket>, epoch: u64, called: Instant) {
        let Self { inner, stack, in_flight, .. } = self;
        let Some(stack) = stack else { panic!("`admit` must be ready before `call`") };
        let call = inner.observe(&message);
        let future = stack.call(message);
        in_flight.push(future, call, Tracked { ticket, open: None, epoch, called });
    }

    #[cold]
    #[inline(never)]
    fn wait(
        &mut self,
        message: &mut SinkMessage<T>,
        waited: Option<Instant>,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Admitted {
        let since = *self.waiting_since.get_or_insert(now);
        let deadline = deadline::of(message, since, self.inner.parts.send_timeout);
        if !self.patience.is_over(deadline, cx) {
            return Admitted::Waits(waited.unwrap_or(now));
        }
        let error = self.inner.no_room(message, since);
        self.fail(message, error)
    }

    /// Adds a message that did not reach the stack, with its error.
    #[cold]
    #[inline(never)]
    fn fail(&mut self, message: &mut SinkMessage<T>, error: Error) -> Admitted {
        if self.budget == Budget::Own {
            self.waiting_since = None;
        }
        // A message that may not join the transaction is not missing from it.
        let ticket = self.inner.ticket(message).unwrap_or_default();
        self.in_flight.failed(error, ticket);
        Admitted::Failed
    }

    /// Fails a message that does not belong to the current transaction, which does not track it.
    #[cold]
    #[inline(never)]
    pub(super) fn late(&mut self, message: &SinkMessage<T>, waited: Option<Instant>, error: Error) {
        let error = self.inner.failed(Some(message), waited, error);
        self.in_flight.failed(error, None);
    }
}
