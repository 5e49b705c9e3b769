#[cfg(all(test, feature = "json", feature = "memory"))]
mod tests;

use std::fmt;
use std::future::Future;
use std::iter::Fuse;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::ticket::Ticket;
use kafka_tower_core::{Delivery, Error, Result, SinkMessage};

use super::completeness::answered;
use super::deadline;
use super::inner::{SinkInner, topic};
use super::many::{Admitted, Budget, Head, Many};
use super::open_sends::{self, OpenSend};
use super::telemetry::BatchTelemetry;

/// Maximum number of messages called per poll, so that a transport that is always ready does not block the thread.
const SLICE: usize = 256;

/// Maximum number of messages that memory is allocated for before they are called: an iterator may be wrong about its length.
const RESERVED: usize = 16_384;

/// Future of a batch: [`KafkaSink::send_batch`](super::KafkaSink::send_batch).
///
/// Runs in the caller's task. While there is no room, it polls the messages in flight, because a layer below may hold
/// its room until their futures are done. Dropping it sends no further messages; records that were handed over
/// continue.
#[must_use = "nothing is sent unless it is polled"]
pub struct SendBatch<T, I> {
    many: Many<T>,
    messages: Fuse<I>,
    /// The message that waits for room.
    head: Option<Head<T>>,
    begun: bool,
    /// Epoch of the first poll: determines which flush waits for the batch.
    epoch: u64,
    /// Counts the batch as an open send while messages are left.
    left: Option<OpenSend>,
    /// From the first poll until no message is left, in a sink with transactions.
    ticket: Option<Ticket>,
    /// Span from the first poll to the last answer. Declared after the messages, whose spans must end before it.
    telemetry: Option<BatchTelemetry>,
}

impl<T, I: Iterator> SendBatch<T, I> {
    pub(super) fn new(inner: Arc<SinkInner<T>>, messages: I) -> Self {
        Self {
            many: Many::new(inner, Budget::Shared),
            messages: messages.fuse(),
            head: None,
            begun: false,
            epoch: 0,
            left: None,
            ticket: None,
            telemetry: None,
        }
    }
}

impl<T, I> SendBatch<T, I>
where
    I: Iterator,
    I::Item: Into<SinkMessage<T>>,
{
    /// Called when no messages are left.
    fn sent(&mut self) -> Poll<()> {
        self.many.stack = None;
        self.left = None;
        answered(self.ticket.take());
        Poll::Ready(())
    }

    /// Fails the remaining messages: the transaction in which the batch began has ended.
    #[cold]
    fn refuse(&mut self, error: &Error, cx: &Context<'_>) -> Poll<()> {
        if let Some(head) = self.head.take() {
            self.many.late(&head.message, Some(head.since), error.clone());
        }
        for _ in 0..SLICE {
            let Some(message) = self.messages.next() else { return self.sent() };
            self.many.late(&message.into(), None, error.clone());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Calls messages in order as there is room. Ready when no messages are left.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(late) = self.ticket.as_ref().and_then(Ticket::refusal) {
            return self.refuse(&late, cx);
        }
        for _ in 0..SLICE {
            // Assigned in each arm: a message in a tuple is copied once more.
            let (mut message, waited): (SinkMessage<T>, _);
            match self.head.take() {
                Some(head) => (message, waited) = (head.message, Some(head.since)),
                None => match self.messages.next() {
                    Some(next) => (message, waited) = (next.into(), None),
                    None => return self.sent(),
                },
            }
            let now = deadline::now();
            match self.many.admit(&mut message, waited, now, cx) {
                Admitted::Ready(ticket) => self.many.call(message, ticket, self.epoch, now),
                Admitted::Failed => {}
                Admitted::Waits(since) => {
                    self.head = Some(Head { message, since });
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T, I> Drop for SendBatch<T, I> {
    fn drop(&mut self) {
        if let Some(head) = &self.head {
            self.many.inner.parts.metrics.record_abandoned();
            if let Some(telemetry) = &self.telemetry {
                telemetry.abandoned(topic(&head.message));
            }
        }
    }
}

// All pinned parts are boxed.
impl<T, I> Unpin for SendBatch<T, I> {}

impl<T, I> Future for SendBatch<T, I>
where
    I: Iterator,
    I::Item: Into<SinkMessage<T>>,
{
    type Output = Result<Vec<Result<Delivery>>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !std::mem::replace(&mut self.begun, true) {
            let inner = &self.many.inner;
            if let Some(error) = inner.refusal() {
                return Poll::Ready(Err(inner.failed(None, None, error)));
            }
            let joined = inner.parts.completeness.as_ref().map(|completeness| completeness.ticket(inner.guard()));
            let ticket = match joined.transpose() {
                Ok(ticket) => ticket,
                Err(error) => return Poll::Ready(Err(inner.failed(None, None, error))),
            };
            (self.epoch, self.ticket) = (inner.parts.sends.epoch(), ticket);
            let expected = self.messages.size_hint().0.min(RESERVED);
            self.many.in_flight.reserve(expected);
        }
        let this = &mut *self;
        let (filled, settled) = {
            let telemetry = this.telemetry.get_or_insert_with(|| this.many.inner.parts.telemetry.batch());
            let _current = telemetry.attach();
            (this.fill(cx), this.many.in_flight.poll(cx))
        };
        if filled.is_pending() {
            let head = || this.head.as_ref().map(|head| open_sends::known(&head.message)).unwrap_or_default();
            let left = this.left.get_or_insert_with(|| this.many.inner.parts.sends.begin(this.epoch, head()));
            left.waits(cx);
        }
        if filled.is_ready() && settled.is_ready() {
            let results = this.many.in_flight.take();
            if let Some(telemetry) = this.telemetry.take() {
                telemetry.finish(&results);
            }
            return Poll::Ready(Ok(results));
        }
        Poll::Pending
    }
}

impl<T, I> fmt::Debug for SendBatch<T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendBatch")
            .field("begun", &self.begun)
            .field("waiting_for_room", &self.head.is_some())
            .finish_non_exhaustive()
    }
}
