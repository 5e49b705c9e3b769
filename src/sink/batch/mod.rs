pub(super) mod open;
#[cfg(all(test, feature = "json", feature = "memory"))]
mod tests;

use std::fmt;
use std::future::Future;
use std::iter::Fuse;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use kafka_tower_core::{Delivery, Error, Result, SinkMessage};

use self::open::Open;
use super::deadline::{self, Patience};
use super::edge::{self, Edge, Shared};
use super::open_sends::{self, OpenSend};
use super::traces::Batch;
use super::whole::Part;

/// Maximum number of messages called per poll, so that a transport that is always ready does not block the thread.
const SLICE: usize = 256;

/// Future of a batch: [`KafkaSink::send_batch`](super::KafkaSink::send_batch).
///
/// Runs in the caller's task. While there is no room, it polls the messages in flight, because a layer below may hold
/// its room until their futures are done. Dropping it sends no further messages; records that were handed over
/// continue.
#[must_use = "nothing is sent unless it is polled"]
pub struct SendBatch<T, I> {
    shared: Arc<Shared<T>>,
    messages: Fuse<I>,
    edge: Option<Box<dyn Edge<T>>>,
    /// The message that waits for room, and when its wait began.
    head: Option<(SinkMessage<T>, Instant)>,
    /// When the lack of room began: the budgets of all waiting messages begin here, so that they expire together.
    waiting_since: Option<Instant>,
    patience: Patience,
    open: Open,
    begun: bool,
    /// Epoch of the first poll: determines which flush waits for the batch.
    epoch: u64,
    /// Counts the batch as an open send while messages are left.
    left: Option<OpenSend>,
    /// From the first poll until no message is left, in a sink with transactions.
    part: Option<Part>,
    /// Span from the first poll to the last answer. Declared after the messages, whose spans must end before it.
    told: Option<Batch>,
}

impl<T, I: Iterator> SendBatch<T, I> {
    pub(super) fn new(shared: Arc<Shared<T>>, messages: I) -> Self {
        let open = Open::new(shared.whole.clone(), shared.sends.clone());
        Self {
            shared,
            messages: messages.fuse(),
            edge: None,
            head: None,
            waiting_since: None,
            patience: Patience::default(),
            open,
            begun: false,
            epoch: 0,
            left: None,
            part: None,
            told: None,
        }
    }
}

impl<T, I> SendBatch<T, I>
where
    I: Iterator,
    I::Item: Into<SinkMessage<T>>,
{
    /// Returns the next message, and when its wait for room began if it waits.
    fn next(&mut self) -> Option<(SinkMessage<T>, Option<Instant>)> {
        match self.head.take() {
            Some((message, since)) => Some((message, Some(since))),
            None => self.messages.next().map(|message| (message.into(), None)),
        }
    }

    /// Called when no messages are left.
    fn sent(&mut self) -> Poll<()> {
        self.edge = None;
        self.left = None;
        self.part.take().into_iter().for_each(Part::done);
        Poll::Ready(())
    }

    /// Fails the remaining messages: the transaction in which the batch began has ended.
    #[cold]
    fn refuse(&mut self, error: &Error, cx: &Context<'_>) -> Poll<()> {
        for _ in 0..SLICE {
            let Some((message, waited)) = self.next() else { return self.sent() };
            self.open.late(self.shared.failed(Some(&message), waited, error.clone()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Calls messages in order as there is room. Ready when no messages are left.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(late) = self.part.as_ref().and_then(Part::is_late) {
            return self.refuse(&late, cx);
        }
        let now = deadline::now();
        for _ in 0..SLICE {
            let Some((mut message, waited)) = self.next() else { return self.sent() };
            if let Some(error) = self.shared.refusal() {
                self.open.failed(self.shared.failed(Some(&message), waited, error));
                continue;
            }
            let budget = self.shared.send_timeout;
            let shared = &self.shared;
            let edge = self.edge.get_or_insert_with(|| shared.fresh_ordered());
            match edge.poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    if let Some(since) = waited {
                        shared.waited(&message, since);
                    }
                    deadline::stamp(&mut message, self.waiting_since.take().unwrap_or(now), budget);
                    let known = shared.known(&message);
                    self.open.push(self.epoch, known, || edge.call(message));
                }
                Poll::Ready(Err(error)) => {
                    self.edge = None; // a failed handle stays failed; the next message takes a fresh one
                    self.open.failed(self.shared.unready(&message, waited, error));
                }
                Poll::Pending => {
                    let since = *self.waiting_since.get_or_insert(now);
                    if self.patience.is_over(deadline::of(&message, since, budget), cx) {
                        self.open.failed(self.shared.no_room(&message, since));
                        continue;
                    }
                    self.head = Some((message, waited.unwrap_or(now)));
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
        if let Some((message, _)) = &self.head {
            self.shared.metrics.record_abandoned();
            if let Some(told) = &self.told {
                told.abandoned(edge::topic(message));
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
            if let Some(error) = self.shared.refusal() {
                return Poll::Ready(Err(self.shared.failed(None, None, error)));
            }
            self.part = self.shared.part();
            self.epoch = self.shared.sends.epoch();
        }
        let this = &mut *self;
        let (filled, settled) = {
            let _current = this.told.get_or_insert_with(|| this.shared.traces.batch()).attach();
            (this.fill(cx), this.open.poll(cx))
        };
        if filled.is_pending() {
            let head = || this.head.as_ref().map(|(message, _)| open_sends::known(message)).unwrap_or_default();
            let left = this.left.get_or_insert_with(|| this.shared.sends.begin(this.epoch, head()));
            left.waits(cx);
        }
        if filled.is_ready() && settled.is_ready() {
            let results = this.open.take();
            if let Some(told) = this.told.take() {
                told.finish(&results);
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
