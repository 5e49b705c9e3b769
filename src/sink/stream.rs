use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_core::Stream;
use kafka_tower_core::{Delivery, Result, SinkMessage};
use pin_project::{pin_project, pinned_drop};

use super::batch::open::Open;
use super::deadline::{self, Patience};
use super::edge::{Edge, Shared};
use super::open_sends::{self, OpenSend};
use super::traces::Caller;
use super::whole::Whole;

/// Default number of messages taken ahead of their results, and the step by which it grows while the transport has room
/// and waits for more messages.
const LOOK_AHEAD: usize = 1_000;

/// Stream of send results: [`KafkaSink::send_stream`](super::KafkaSink::send_stream).
///
/// Dropping it sends no further messages; records that were handed over continue.
#[pin_project(PinnedDrop)]
#[must_use = "nothing is sent unless it is polled"]
pub struct SendStream<T, S> {
    shared: Arc<Shared<T>>,
    #[pin]
    messages: S,
    /// The stream of messages has ended.
    ended: bool,
    /// None: as many messages as the transport has room for.
    look_ahead: Option<usize>,
    edge: Option<Box<dyn Edge<T>>>,
    /// The message that waits for room.
    head: Option<SinkMessage<T>>,
    /// Counts the waiting message as an open send, for `flush` and `close`.
    head_open: Option<(u64, OpenSend)>,
    /// Time at which the wait for room began.
    waiting_since: Option<Instant>,
    patience: Patience,
    /// Trace context for the waiting message, used if it is dropped.
    caller: Caller,
    open: Open,
}

impl<T, S> SendStream<T, S> {
    pub(super) fn new(shared: Arc<Shared<T>>, messages: S) -> Self {
        let open = Open::new(shared.whole.clone(), shared.sends.clone());
        Self {
            shared,
            messages,
            ended: false,
            look_ahead: None,
            edge: None,
            head: None,
            head_open: None,
            waiting_since: None,
            patience: Patience::default(),
            caller: Caller::default(),
            open,
        }
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
        if this.open.held() >= most {
            return;
        }
        let now = deadline::now();
        let budget = this.shared.send_timeout;
        while this.open.held() < most {
            let message = match this.head.take() {
                Some(message) => Some(message),
                None if *this.ended => None,
                None => match this.messages.as_mut().poll_next(cx) {
                    Poll::Pending => return,
                    Poll::Ready(message) => message.map(Into::into),
                },
            };
            let Some(mut message) = message else {
                *this.ended = true;
                *this.edge = None;
                return;
            };
            // A message taken from the stream now is called now; a waiting head keeps its epoch.
            let (epoch, head_open) = match this.head_open.take() {
                Some((epoch, open)) => (epoch, Some(open)),
                None => (this.shared.sends.epoch(), None),
            };
            if let Some(error) = this.shared.refusal() {
                this.open.failed(this.shared.failed(Some(&message), this.waiting_since.take(), error));
                continue;
            }
            let edge = this.edge.get_or_insert_with(|| this.shared.fresh_ordered());
            match edge.poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    let since = this.waiting_since.take();
                    if let Some(since) = since {
                        this.shared.waited(&message, since);
                    }
                    deadline::stamp(&mut message, since.unwrap_or(now), budget);
                    let known = this.shared.known(&message);
                    this.open.push(epoch, known, || edge.call(message));
                }
                Poll::Ready(Err(error)) => {
                    *this.edge = None; // a failed handle stays failed; the next message takes a fresh one
                    this.open.failed(this.shared.unready(&message, this.waiting_since.take(), error));
                }
                Poll::Pending => {
                    let since = *this.waiting_since.get_or_insert(now);
                    if this.patience.is_over(deadline::of(&message, since, budget), cx) {
                        *this.waiting_since = None; // the next message has its own budget
                        this.open.failed(this.shared.no_room(&message, since));
                        continue;
                    }
                    *this.caller = this.shared.traces.caller();
                    let begin = || this.shared.sends.begin(epoch, open_sends::known(&message));
                    let open = head_open.unwrap_or_else(begin);
                    open.waits(cx);
                    *this.head_open = Some((epoch, open));
                    *this.head = Some(message);
                    return;
                }
            }
        }
        // Nothing more to call: an idle handle must not keep its readiness. The next message polls readiness again.
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
        let (held, on_their_way) = (self.open.held(), self.open.on_their_way());
        let settled = held - on_their_way;
        if held < LOOK_AHEAD || settled > on_their_way {
            return;
        }
        self.as_mut().fill(held.saturating_add(LOOK_AHEAD), cx);
        if self.open.held() > held {
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
        if let Some(result) = this.open.next() {
            return Poll::Ready(Some(result)); // the caller polls again, and that poll reaches the other messages before the task sleeps
        }
        let settled = this.open.poll(cx);
        if let Some(result) = this.open.next() {
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
        let held = self.open.held() + usize::from(self.head.is_some());
        let (least, most) = if self.ended { (0, Some(0)) } else { self.messages.size_hint() };
        (least.saturating_add(held), most.and_then(|most| most.checked_add(held)))
    }
}

#[pinned_drop]
impl<T, S> PinnedDrop for SendStream<T, S> {
    fn drop(self: Pin<&mut Self>) {
        if let Some(message) = &self.head {
            self.shared.abandoned(message, self.waiting_since, &self.caller);
            self.shared.whole.as_ref().into_iter().for_each(Whole::leave_out);
        }
    }
}

impl<T, S> fmt::Debug for SendStream<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendStream")
            .field("look_ahead", &self.look_ahead)
            .field("held", &self.open.held())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
