use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use kafka_tower_core::handover::Observing;
use kafka_tower_core::{Delivery, Result, SinkMessage};

use super::deadline::{self, Patience};
use super::edge::{BoxFuture, Edge, Shared};
use super::open_sends::{self, OpenSend};
use super::traces::Caller;
use super::whole::Part;

/// Future of one send: [`KafkaSink::send`](super::KafkaSink::send).
///
/// Lazy: its first poll determines its place in the order. Dropping it before the record is handed to the transport
/// sends nothing. Dropping it after hand-over does not cancel the record.
#[must_use = "nothing is sent unless it is polled"]
pub struct SendFuture<T> {
    shared: Arc<Shared<T>>,
    state: State<T>,
    /// Epoch of the first poll: determines which flush waits for this send.
    epoch: u64,
}

enum State<T> {
    Start(SinkMessage<T>),
    /// Boxed because it is rare and larger than the other states.
    Waiting(Box<Waiting<T>>),
    Called(BoxFuture),
    /// The transport does not track this send.
    Kept(BoxFuture, OpenSend),
    Done,
}

struct Waiting<T> {
    edge: Box<dyn Edge<T>>,
    message: SinkMessage<T>,
    since: Instant,
    patience: Patience,
    /// Trace context of the first poll: the send belongs to that caller, whichever task polls or drops it later.
    caller: Caller,
    /// Present in a sink with transactions.
    part: Option<Part>,
    open: OpenSend,
}

impl<T> Waiting<T> {
    fn told(&mut self) {
        self.part.take().into_iter().for_each(Part::done);
    }
}

impl<T> SendFuture<T> {
    pub(super) fn new(shared: Arc<Shared<T>>, message: SinkMessage<T>) -> Self {
        Self { shared, state: State::Start(message), epoch: 0 }
    }

    fn start(&mut self, mut message: SinkMessage<T>, cx: &mut Context<'_>) -> Poll<Result<Delivery>> {
        if let Some(error) = self.shared.refusal() {
            return Poll::Ready(Err(self.shared.failed(Some(&message), None, error)));
        }
        self.epoch = self.shared.sends.epoch();
        let mut edge = self.shared.take();
        let ready = edge.poll_ready(cx);
        let since = deadline::now();
        deadline::stamp(&mut message, since, self.shared.send_timeout);
        match ready {
            Poll::Ready(Ok(())) => self.call(edge, message, None, cx),
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.shared.unready(&message, None, error))),
            Poll::Pending => {
                let caller = self.shared.traces.caller();
                let part = self.shared.part();
                let open = self.shared.sends.begin(self.epoch, open_sends::known(&message));
                let waiting = Waiting { edge, message, since, patience: Patience::default(), caller, part, open };
                self.wait(Box::new(waiting), cx)
            }
        }
    }

    /// Called after readiness returned `Pending`: either the deadline has passed, or the send keeps waiting.
    fn wait(&mut self, mut waiting: Box<Waiting<T>>, cx: &mut Context<'_>) -> Poll<Result<Delivery>> {
        if waiting.patience.is_over(waiting.message.envelope().deadline, cx) {
            waiting.told();
            return Poll::Ready(Err(self.shared.no_room(&waiting.message, waiting.since)));
        }
        waiting.open.waits(cx);
        self.state = State::Waiting(waiting);
        Poll::Pending
    }

    /// Readiness is used in the poll that obtained it, so that no ready handle stays idle.
    #[inline(always)]
    fn call(
        &mut self,
        mut edge: Box<dyn Edge<T>>,
        message: SinkMessage<T>,
        open: Option<OpenSend>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Delivery>> {
        let shared = &self.shared;
        let known = shared.known(&message);
        // Not a closure: it would copy the message once more.
        let observing = Observing::begin();
        let mut future = edge.call(message);
        shared.give(edge);
        let answer = future.as_mut().poll(cx);
        let seen = observing.end();
        if answer.is_pending() {
            let open = open_sends::after_call(&shared.sends, self.epoch, open, known, seen);
            self.on_its_way(future, open);
        }
        answer
    }

    fn answer(
        &mut self,
        mut future: BoxFuture,
        mut open: Option<OpenSend>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Delivery>> {
        let answer = open_sends::poll(&self.shared.sends, self.epoch, &mut open, || future.as_mut().poll(cx));
        if answer.is_pending() {
            self.on_its_way(future, open);
        }
        answer
    }

    fn on_its_way(&mut self, future: BoxFuture, open: Option<OpenSend>) {
        self.state = match open {
            None => State::Called(future),
            Some(open) => State::Kept(future, open),
        };
    }
}

// All pinned parts are boxed.
impl<T> Unpin for SendFuture<T> {}

impl<T> Future for SendFuture<T> {
    type Output = Result<Delivery>;

    /// # Panics
    ///
    /// If it is polled after completion.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Called(future) => self.answer(future, None, cx),
            State::Kept(future, open) => self.answer(future, Some(open), cx),
            State::Start(message) => self.start(message, cx),
            State::Waiting(mut waiting) => {
                let _current = waiting.caller.attach();
                let refusal = self.shared.refusal().or_else(|| waiting.part.as_ref().and_then(Part::is_late));
                match refusal.map_or_else(|| waiting.edge.poll_ready(cx), |error| Poll::Ready(Err(error))) {
                    Poll::Pending => self.wait(waiting, cx),
                    Poll::Ready(Err(error)) => {
                        waiting.told();
                        Poll::Ready(Err(self.shared.unready(&waiting.message, Some(waiting.since), error)))
                    }
                    Poll::Ready(Ok(())) => {
                        let Waiting { edge, message, since, part, open, .. } = *waiting;
                        self.shared.waited(&message, since);
                        let answer = self.call(edge, message, Some(open), cx);
                        // Only now, because the stack tracks the send from the call on: a commit in between would miss
                        // it.
                        part.into_iter().for_each(Part::done);
                        answer
                    }
                }
            }
            State::Done => panic!("polled after completion"),
        }
    }
}

impl<T> Drop for SendFuture<T> {
    fn drop(&mut self) {
        if let State::Waiting(waiting) = &self.state {
            self.shared.abandoned(&waiting.message, Some(waiting.since), &waiting.caller);
        }
    }
}

impl<T> fmt::Debug for SendFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Start(_) => "not polled",
            State::Waiting(_) => "waiting for room",
            State::Called(_) | State::Kept(..) => "in flight",
            State::Done => "done",
        };
        f.debug_struct("SendFuture").field("state", &state).finish()
    }
}
