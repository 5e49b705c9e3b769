use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use kafka_tower_core::ticket::Ticket;
use kafka_tower_core::{Delivery, Result, SinkMessage};

use super::boxed::DynStack;
use super::called::{Called, ObservedCall, Tracked};
use super::completeness::answered;
use super::deadline::{self, Patience};
use super::open_sends::{self, OpenSend};
use super::shard::Shard;
use super::stack_future::StackFuture;
use super::telemetry::CallerContext;

/// Future of one send: [`KafkaSink::send`](super::KafkaSink::send).
///
/// Lazy: its first poll determines its place in the order. Dropping it before hand-over sends nothing; dropping it later
/// does not cancel the record.
#[must_use = "nothing is sent unless it is polled"]
pub struct SendFuture<T> {
    state: State<T>,
    /// Of the thread that made this future.
    shard: Arc<Shard<T>>,
}

enum State<T> {
    /// `None` after the call.
    Start(Option<SinkMessage<T>>),
    /// Boxed: rare, and large beside the others.
    Waiting(Box<Waiting<T>>),
    Called(Called),
    Done,
}

/// A send that waits for room.
struct Waiting<T> {
    stack: Box<dyn DynStack<T>>,
    message: SinkMessage<T>,
    since: Instant,
    patience: Patience,
    /// Trace context of the first poll, to which the send belongs even if another task polls or drops it.
    caller: CallerContext,
    /// In a sink with transactions.
    ticket: Option<Ticket>,
    open: OpenSend,
    epoch: u64,
}

impl<T> SendFuture<T> {
    pub(super) fn new(shard: &Arc<Shard<T>>, message: SinkMessage<T>) -> Self {
        Self { state: State::Start(Some(message)), shard: Arc::clone(shard) }
    }

    /// The first poll. The message stays in its place until it is called: each move copies it.
    #[inline]
    fn start(&mut self, cx: &mut Context<'_>) -> Poll<Result<Delivery>> {
        let (shard, State::Start(place)) = (&*self.shard, &mut self.state) else { completed() };
        let (inner, Some(message)) = (&*shard.inner, place.as_mut()) else { completed() };
        if let Some(error) = inner.refusal() {
            let error = inner.failed(Some(message), None, error);
            self.state = State::Done;
            return Poll::Ready(Err(error));
        }
        let epoch = inner.parts.sends.epoch();
        // The lock is held during the call: a send inside it, or of another thread, uses a handle of its own.
        let (mut idle, mut own) = (shard.idle(), None);
        let handle = idle.as_deref_mut().unwrap_or(&mut own);
        let stack = handle.get_or_insert_with(|| inner.fresh());
        let ready = stack.poll_ready(cx);
        let since = deadline::now();
        if let Poll::Ready(Err(error)) = ready {
            let failed = handle.take();
            drop((idle, failed));
            let error = inner.unready(message, None, error);
            self.state = State::Done;
            return Poll::Ready(Err(error));
        }
        let ticket = match inner.admit(message, since) {
            Ok(ticket) => ticket,
            Err(error) => {
                let unused = handle.take();
                drop((idle, unused));
                let error = inner.failed(Some(message), None, error);
                self.state = State::Done;
                return Poll::Ready(Err(error));
            }
        };
        if ready.is_ready() {
            let call = inner.observe(message);
            let Some(message) = place.take() else { completed() };
            let future = stack.call(message);
            drop(idle);
            return self.called(call, future, Tracked { ticket, open: None, epoch, called: since }, cx);
        }
        let Some(stack) = handle.take() else { completed() };
        drop(idle);
        let open = inner.parts.sends.begin(epoch, open_sends::known(message));
        let Some(message) = place.take() else { completed() };
        let caller = inner.parts.telemetry.caller();
        let waiting = Waiting { stack, message, since, patience: Patience::default(), caller, ticket, open, epoch };
        self.wait(Box::new(waiting), cx)
    }

    /// Called when the handle is pending: only the deadline is left to check.
    fn wait(&mut self, mut waiting: Box<Waiting<T>>, cx: &mut Context<'_>) -> Poll<Result<Delivery>> {
        if waiting.patience.is_over(waiting.message.envelope().deadline, cx) {
            answered(waiting.ticket.take());
            return Poll::Ready(Err(self.shard.inner.no_room(&waiting.message, waiting.since)));
        }
        waiting.open.waits(cx);
        self.state = State::Waiting(waiting);
        Poll::Pending
    }

    fn wait_again(&mut self, mut waiting: Box<Waiting<T>>, cx: &mut Context<'_>) -> Poll<Result<Delivery>> {
        let _current = waiting.caller.attach();
        let refusal = self.shard.inner.refusal().or_else(|| waiting.ticket.as_ref().and_then(Ticket::refusal));
        match refusal.map_or_else(|| waiting.stack.poll_ready(cx), |error| Poll::Ready(Err(error))) {
            Poll::Pending => self.wait(waiting, cx),
            Poll::Ready(Err(error)) => {
                answered(waiting.ticket.take());
                Poll::Ready(Err(self.shard.inner.unready(&waiting.message, Some(waiting.since), error)))
            }
            Poll::Ready(Ok(())) => {
                let Waiting { mut stack, message, since, ticket, open, epoch, .. } = *waiting;
                self.shard.inner.waited(&message, since);
                let call = self.shard.inner.observe(&message);
                let called = deadline::now();
                let future = stack.call(message);
                self.shard.give(stack);
                self.called(call, future, Tracked { ticket, open: Some(open), epoch, called }, cx)
            }
        }
    }

    /// The stack was called and has returned this future: polls it once.
    #[inline(always)] // each call of it would copy the future
    fn called(
        &mut self,
        call: ObservedCall,
        mut future: StackFuture,
        tracked: Tracked,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Delivery>> {
        let tracker = &self.shard.tracker;
        let answer = tracker.first_poll(&mut future, tracked.called, cx);
        if answer.is_pending() {
            self.state = State::Called(call.called(tracker, future, tracked));
        } else {
            // The state has no message any more: that is as good as `Done`, and need not be written.
            answered(tracked.ticket);
        }
        answer
    }
}

#[cold]
fn completed() -> ! {
    panic!("polled after completion")
}

// Nothing is pinned: the future of the stack may be moved.
impl<T> Unpin for SendFuture<T> {}

impl<T> Future for SendFuture<T> {
    type Output = Result<Delivery>;

    /// # Panics
    ///
    /// If it is polled after completion.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match &mut this.state {
            State::Called(called) => {
                let answer = called.poll(&this.shard.tracker, cx);
                if answer.is_ready() {
                    answered(called.take_ticket());
                    this.state = State::Done;
                }
                answer
            }
            State::Start(_) => this.start(cx),
            _ => match std::mem::replace(&mut this.state, State::Done) {
                State::Waiting(waiting) => this.wait_again(waiting, cx),
                _ => completed(),
            },
        }
    }
}

impl<T> Drop for SendFuture<T> {
    fn drop(&mut self) {
        match &self.state {
            State::Waiting(waiting) => {
                self.shard.inner.abandoned(&waiting.message, Some(waiting.since), &waiting.caller);
            }
            State::Called(called) => called.dropped(&self.shard.tracker),
            State::Start(_) | State::Done => {}
        }
    }
}

impl<T> fmt::Debug for SendFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Start(Some(_)) => "not polled",
            State::Waiting(_) => "waiting for room",
            State::Called(_) => "in flight",
            State::Start(None) | State::Done => "done",
        };
        f.debug_struct("SendFuture").field("state", &state).finish()
    }
}
