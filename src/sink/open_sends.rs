//! Open sends: those that the transport does not track, because they wait for room, back off, or are held by a layer.
//!
//! Counted at the top of the sink, whatever the stack contains, from the first poll or call until the answer. A send
//! whose record the transport has accepted is not counted: the transport's flush waits for it and its close reports it.
//! Once an attempt has failed, a send counts until it has its answer, even while the transport has its record again. A
//! send that succeeds at the first attempt without waiting is never entered here.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use kafka_tower_core::handover::{Observing, Seen};
use kafka_tower_core::outstanding::{Outstanding, Place};
use kafka_tower_core::wakers::wake_all;
use kafka_tower_core::{Delivery, Result, SinkMessage, UnansweredSend};

/// The open sends of a sink. A clone shares them.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenSends(Arc<Outstanding<Open>>);

#[derive(Debug, Default)]
struct Open {
    what: UnansweredSend,
    /// Waker of a send that waits for room, so that a close can wake it.
    waker: Option<Waker>,
    /// The transport has the record again, after an attempt that failed: it reports the record, and this set only waits.
    in_transport: bool,
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

    /// Resolves when every send that was called before the epoch is tracked by the transport or answered.
    pub(super) async fn settled(&self, epoch: u64) {
        self.0.settled(epoch).await;
    }

    pub(super) fn is_settled(&self, epoch: u64) -> bool {
        self.0.is_settled(epoch)
    }

    /// Lists what is known of each open send whose record the transport does not have.
    pub(super) fn list(&self) -> Vec<UnansweredSend> {
        let lists = self.0.each(|open| (!open.in_transport).then(|| open.what.clone()));
        lists.into_iter().flatten().collect()
    }

    /// Wakes the sends that wait for room, so that they see that the sink is closed.
    pub(super) fn wake(&self) {
        let wakers = self.0.each(|open| open.waker.take());
        wake_all(wakers.into_iter().flatten());
    }

    #[cold]
    #[inline(never)]
    pub(super) fn begin(&self, epoch: u64, what: UnansweredSend) -> OpenSend {
        let place = self.0.begin(epoch, Open { what, waker: None, in_transport: false });
        OpenSend(Box::new(Begun { sends: Arc::clone(&self.0), place, has_failed: false }))
    }
}

/// What is known of a message. Boxed because few sinks keep it.
pub(super) type Known = Option<Box<UnansweredSend>>;

pub(super) fn known<T>(message: &SinkMessage<T>) -> UnansweredSend {
    let envelope = message.envelope();
    UnansweredSend::new(envelope.topic.clone(), envelope.key.clone())
}

/// Counts a send as open until it is dropped. Boxed because it is rare and large in each future.
#[derive(Debug)]
pub(super) struct OpenSend(Box<Begun>);

#[derive(Debug)]
struct Begun {
    sends: Arc<Outstanding<Open>>,
    place: Place,
    has_failed: bool,
}

impl OpenSend {
    /// Registers the waker of a send that waits for room, so that a close can wake it.
    pub(super) fn waits(&self, cx: &Context<'_>) {
        let waker = cx.waker().clone();
        self.0.sends.change(self.0.place, |open| open.waker = Some(waker));
    }

    fn after(&self, seen: Seen) {
        if let Some(in_transport) = seen.has_record() {
            self.0.sends.change(self.0.place, |open| open.in_transport = in_transport);
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.sends.end(self.place);
    }
}

/// Returns the entry of a send that is open after its call and first poll, which returned `Pending`.
#[inline]
pub(super) fn after_call(
    sends: &OpenSends,
    epoch: u64,
    open: Option<OpenSend>,
    known: Known,
    seen: Seen,
) -> Option<OpenSend> {
    let with_transport = seen.has_record() == Some(true) && !seen.was_answered();
    if with_transport { None } else { Some(kept(sends, epoch, open, known, seen)) }
}

#[cold]
#[inline(never)]
fn kept(sends: &OpenSends, epoch: u64, open: Option<OpenSend>, known: Known, seen: Seen) -> OpenSend {
    let what = || known.map(|known| *known).or_else(|| seen.kept()).unwrap_or_default();
    let mut open = open.unwrap_or_else(|| sends.begin(epoch, what()));
    open.0.has_failed |= seen.was_answered();
    open.after(seen);
    open
}

/// Polls the answer and updates whether the send counts as open.
#[inline]
pub(super) fn poll(
    sends: &OpenSends,
    epoch: u64,
    open: &mut Option<OpenSend>,
    poll: impl FnOnce() -> Poll<Result<Delivery>>,
) -> Poll<Result<Delivery>> {
    let observing = Observing::begin();
    let answer = poll();
    let seen = observing.end();
    if answer.is_ready() {
        if open.is_some() {
            *open = None;
        }
    } else if !seen.is_nothing() {
        moved(sends, epoch, open, seen);
    }
    answer
}

#[cold]
#[inline(never)]
fn moved(sends: &OpenSends, epoch: u64, open: &mut Option<OpenSend>, seen: Seen) {
    match open {
        _ if seen.was_answered() => *open = Some(kept(sends, epoch, open.take(), None, seen)),
        Some(failed) if failed.0.has_failed => failed.after(seen),
        _ if seen.has_record() == Some(true) => *open = None,
        _ => {}
    }
}
