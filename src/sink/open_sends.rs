//! The sends that no transport answers for: those that wait for room, whose record a layer keeps, or that back off.
//!
//! Counted at the sink's edge, whatever is in the stack, from the first poll or call to the answer. A send whose record the transport
//! has taken is not counted: the transport's flush waits for it, and its close reports it. Once an attempt has failed a send counts until
//! it has its answer, also while the transport has its record again. So a send that goes well never comes here.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use kafka_tower_core::handover::{self, Seen};
use kafka_tower_core::outstanding::{Outstanding, Place};
use kafka_tower_core::{Delivery, Result, SinkMessage, UnansweredSend};

use super::edge::BoxFuture;

/// Those of a sink. A clone is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenSends(Arc<Outstanding<Open>>);

#[derive(Debug, Default)]
struct Open {
    what: UnansweredSend,
    /// Of one that waits for room, to be woken by a close.
    waker: Option<Waker>,
}

impl OpenSends {
    /// The epoch of a send that is called now.
    #[inline]
    pub(super) fn epoch(&self) -> u64 {
        self.0.epoch()
    }

    pub(super) fn next_epoch(&self) -> u64 {
        self.0.next_epoch()
    }

    /// Resolves when the transport or nothing answers for each send that was called before the epoch.
    pub(super) async fn settled(&self, epoch: u64) {
        self.0.settled(epoch).await;
    }

    pub(super) fn is_settled(&self, epoch: u64) -> bool {
        self.0.is_settled(epoch)
    }

    /// What is known of each.
    pub(super) fn list(&self) -> Vec<UnansweredSend> {
        self.0.each(|open| open.what.clone())
    }

    /// Lets those that wait for room see that the sink is closed.
    pub(super) fn wake(&self) {
        let wakers = self.0.each(|open| open.waker.take());
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    #[cold]
    pub(super) fn begin(&self, epoch: u64, what: UnansweredSend) -> OpenSend {
        let place = self.0.begin(epoch, Open { what, waker: None });
        OpenSend { sends: Arc::clone(&self.0), place, has_failed: false }
    }
}

/// What is known of a message.
pub(super) fn known<T>(message: &SinkMessage<T>) -> UnansweredSend {
    let envelope = message.envelope();
    UnansweredSend::new(envelope.topic.clone(), envelope.key.clone())
}

/// One that counts until this is dropped.
#[derive(Debug)]
pub(super) struct OpenSend {
    sends: Arc<Outstanding<Open>>,
    place: Place,
    has_failed: bool,
}

impl OpenSend {
    /// It waits for room: a close wakes it.
    pub(super) fn waits(&self, cx: &Context<'_>) {
        let waker = cx.waker().clone();
        self.sends.change(self.place, |open| open.waker = Some(waker));
    }
}

impl Drop for OpenSend {
    fn drop(&mut self) {
        self.sends.end(self.place);
    }
}

/// What a call has said, until its answer is polled.
pub(super) struct Called {
    seen: Seen,
    known: Option<UnansweredSend>,
}

/// Calls the stack.
#[inline]
pub(super) fn call(known: Option<UnansweredSend>, call: impl FnOnce() -> BoxFuture) -> (BoxFuture, Called) {
    let (future, seen) = handover::observe(call);
    (future, Called { seen, known })
}

impl Called {
    fn is_with_transport(&self) -> bool {
        self.seen.has_record() == Some(true)
    }

    #[cold]
    fn begin(self, sends: &OpenSends, epoch: u64) -> OpenSend {
        sends.begin(epoch, self.known.or_else(|| self.seen.kept()).unwrap_or_default())
    }
}

/// Polls the answer, the first time with what the `called` said, and sees to it that the send counts while it has to.
#[inline]
pub(super) fn poll(
    sends: &OpenSends,
    epoch: u64,
    open: &mut Option<OpenSend>,
    called: Option<Called>,
    poll: impl FnOnce() -> Poll<Result<Delivery>>,
) -> Poll<Result<Delivery>> {
    let (answer, seen) = handover::observe(poll);
    if answer.is_ready() {
        *open = None;
        return answer;
    }
    // Also where the first poll makes the call, as an `async` block does.
    let above = called.filter(|called| !called.is_with_transport() && seen.has_record() != Some(true));
    if above.is_none() && !seen.was_answered() {
        let with_transport = seen.has_record() == Some(true);
        if open.as_ref().is_some_and(|open| with_transport && !open.has_failed) {
            *open = None;
        }
        return answer;
    }
    let begin = || match above {
        Some(called) => called.begin(sends, epoch),
        None => sends.begin(epoch, seen.kept().unwrap_or_default()),
    };
    open.get_or_insert_with(begin).has_failed |= seen.was_answered();
    answer
}

/// An answer with its place among the open sends.
#[derive(Debug)]
pub(super) struct Counted<F> {
    future: F,
    sends: OpenSends,
    epoch: u64,
    open: Option<OpenSend>,
}

impl Counted<BoxFuture> {
    /// It may never be polled, so that it counts from the call on.
    pub(super) fn call(sends: &OpenSends, known: Option<UnansweredSend>, stack: impl FnOnce() -> BoxFuture) -> Self {
        let epoch = sends.epoch();
        let (future, called) = call(known, stack);
        let open = (!called.is_with_transport()).then(|| called.begin(sends, epoch));
        Self { future, sends: sends.clone(), epoch, open }
    }
}

impl Future for Counted<BoxFuture> {
    type Output = Result<Delivery>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        poll(&this.sends, this.epoch, &mut this.open, None, || this.future.as_mut().poll(cx))
    }
}
