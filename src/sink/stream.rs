use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use kafka_tower_core::{Delivery, Result, SinkMessage};
use pin_project::{pin_project, pinned_drop};

use super::deadline;
use super::inner::SinkInner;
use super::many::{Admitted, Budget, Head, Many};
use super::open_sends::{self, OpenSend};
use super::telemetry::CallerContext;

/// Default number of messages taken ahead of their results, and the step by which it grows while the transport has room
/// and waits for more messages.
const LOOK_AHEAD: usize = 1_000;

/// Stream of send results: [`KafkaSink::send_stream`](super::KafkaSink::send_stream).
///
/// Dropping it sends no further messages; records that were handed over continue.
#[pin_project(PinnedDrop)]
#[must_use = "nothing is sent unless it is polled"]
pub struct SendStream<T, S> {
    many: Many<T>,
    #[pin]
    messages: S,
    /// The stream of messages has ended.
    ended: bool,
    /// None: as many messages as the transport has room for.
    look_ahead: Option<usize>,
    waiting: Option<Waiting<T>>,
}

/// The message that waits for room.
struct Waiting<T> {
    head: Head<T>,
    epoch: u64,
    /// Counts the message as an open send, for `flush` and `close`.
    open: OpenSend,
    /// Trace context, used if the message is dropped.
    caller: CallerContext,
}

impl<T, S> SendStream<T, S> {
    pub(super) fn new(inner: Arc<SinkInner<T>>, messages: S) -> Self {
        Self { many: Many::new(inner, Budget::Own), messages, ended: false, look_ahead: None, waiting: None }
    }

    /// Sets how many messages are taken ahead of their results, at least 1.
    ///
    /// Default: 1,000, and more while those messages are in flight and the transport has room, because the transport
    /// may wait for more records to fill a batch. By default the limits of the transport bound the records in flight,
    /// as for a batch. With linger, a value too small to fill the batches of all partitions costs throughput; a larger
    /// one costs memory.
    pub fn look_ahead(mut self, messages: usize) -> Self {
        self.look_ahead = Some(messages.max(1));
        self
    }
}

impl<T, S> SendStream<T, S>
where
    S: Stream,
    S::Item: Into<SinkMessage<T>>,
{
    /// Calls messages in order as they arrive and as there is room, until `most` messages are held.
    fn fill(self: Pin<&mut Self>, most: usize, cx: &mut Context<'_>) {
        let mut this = self.project();
        let many = this.many;
        if many.in_flight.held() >= most {
            return;
        }
        while many.in_flight.held() < most {
            let (mut message, waited, epoch, open): (SinkMessage<T>, _, _, _);
            match this.waiting.take() {
                // A waiting message keeps its epoch.
                Some(waiting) => {
                    message = waiting.head.message;
                    (waited, epoch, open) = (Some(waiting.head.since), waiting.epoch, Some(waiting.open));
                }
                None if *this.ended => return,
                None => match this.messages.as_mut().poll_next(cx) {
                    Poll::Pending => return,
                    Poll::Ready(None) => {
                        *this.ended = true;
                        many.stack = None;
                        return;
                    }
                    Poll::Ready(Some(next)) => {
                        message = next.into();
                        (waited, epoch, open) = (None, many.inner.parts.sends.epoch(), None);
                    }
                },
            }
            let now = deadline::now();
            match many.admit(&mut message, waited, now, cx) {
                Admitted::Ready(ticket) => many.call(message, ticket, epoch, now),
                Admitted::Failed => {}
                Admitted::Waits(since) => {
                    *this.waiting = Some(many.waits(Head { message, since }, epoch, open, cx));
                    return;
                }
            }
        }
        // Nothing more to call: an idle handle must not keep its readiness. The next message polls readiness again.
    }
}

impl<T> Many<T> {
    fn waits(&self, head: Head<T>, epoch: u64, open: Option<OpenSend>, cx: &Context<'_>) -> Waiting<T> {
        let parts = &self.inner.parts;
        let open = open.unwrap_or_else(|| parts.sends.begin(epoch, open_sends::known(&head.message)));
        open.waits(cx);
        Waiting { head, epoch, open, caller: parts.telemetry.caller() }
    }
}

impl<T, S> SendStream<T, S>
where
    S: Stream,
    S::Item: Into<SinkMessage<T>>,
{
    /// Takes more than the usual number of messages once the results of all settled ones are taken: the transport may
    /// hold back batches that are not full. Takes one slice per poll, so that it does not block the thread.
    fn fill_the_room(mut self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let (held, on_their_way) = (self.many.in_flight.held(), self.many.in_flight.in_flight());
        let settled = held - on_their_way;
        if held < LOOK_AHEAD || settled > on_their_way {
            return;
        }
        self.as_mut().fill(held.saturating_add(LOOK_AHEAD), cx);
        if self.many.in_flight.held() > held {
            // The new futures need a poll before the task sleeps, and there may be room for more.
            cx.waker().wake_by_ref();
        }
    }
}

impl<T, S> Stream for SendStream<T, S>
where
    S: Stream,
    S::Item: Into<SinkMessage<T>>,
{
    type Item = Result<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let look_ahead = self.look_ahead.unwrap_or(LOOK_AHEAD);
        self.as_mut().fill(look_ahead, cx);
        let this = self.as_mut().project();
        if let Some(result) = this.many.in_flight.next() {
            return Poll::Ready(Some(result)); // the caller polls again, and that poll reaches the other messages before the task sleeps
        }
        let settled = this.many.in_flight.poll(cx);
        if let Some(result) = this.many.in_flight.next() {
            return Poll::Ready(Some(result));
        }
        if *this.ended && settled.is_ready() {
            return Poll::Ready(None);
        }
        if self.look_ahead.is_none() {
            self.fill_the_room(cx);
        }
        Poll::Pending
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let held = self.many.in_flight.held() + usize::from(self.waiting.is_some());
        let (least, most) = if self.ended { (0, Some(0)) } else { self.messages.size_hint() };
        (least.saturating_add(held), most.and_then(|most| most.checked_add(held)))
    }
}

#[pinned_drop]
impl<T, S> PinnedDrop for SendStream<T, S> {
    fn drop(self: Pin<&mut Self>) {
        if let Some(Waiting { head, caller, .. }) = &self.waiting {
            let inner = &self.many.inner;
            inner.abandoned(&head.message, Some(head.since), caller);
            if let Some(completeness) = &inner.parts.completeness {
                completeness.leave_out(inner.guard());
            }
        }
    }
}

impl<T, S> fmt::Debug for SendStream<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendStream")
            .field("look_ahead", &self.look_ahead)
            .field("held", &self.many.in_flight.held())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
