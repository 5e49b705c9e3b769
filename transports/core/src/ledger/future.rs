use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{RecordTransport, Slot};
use crate::{Delivery, Error, Result, handover};

/// What a pending [`DeliveryFuture`] keeps alive: the transport, or also what ends it when it is dropped.
pub trait Keeper: Send + Sync + 'static {
    /// The transport.
    type Transport: RecordTransport;

    /// Returns the transport.
    fn transport(&self) -> &Self::Transport;
}

type SlotOf<K> = Slot<<<K as Keeper>::Transport as RecordTransport>::Acknowledgement>;

/// Future of a record: resolves with its outcome, or when its deadline has passed.
///
/// # Errors
///
/// The cause. It [contains the record](Error::take_record).
///
/// # Cancel safety
///
/// Dropping it does not cancel the record; its delivery report frees its room. While it is awaited it keeps `K` alive.
///
/// # Panics
///
/// If it is polled again after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct DeliveryFuture<K: Keeper>(State<K>);

enum State<K: Keeper> {
    Waiting(Arc<SlotOf<K>>, Arc<K>),
    Refused(Error),
    Done,
}

impl<K: Keeper> DeliveryFuture<K> {
    /// Creates the future of a record that the gate took.
    pub fn waiting(slot: Arc<SlotOf<K>>, keeper: Arc<K>) -> Self {
        Self(State::Waiting(slot, keeper))
    }

    /// Creates the future of a record that was refused. The error should [contain it](Error::with_record), as that of
    /// [`Ledger::refusal`](super::Ledger::refusal) does.
    pub fn refused(error: Error) -> Self {
        Self(State::Refused(error))
    }

    /// The record, while it is awaited.
    pub fn pending(&self) -> Option<(&Arc<SlotOf<K>>, &Arc<K>)> {
        match &self.0 {
            State::Waiting(slot, keeper) => Some((slot, keeper)),
            State::Refused(_) | State::Done => None,
        }
    }
}

// Nothing is pinned.
impl<K: Keeper> Unpin for DeliveryFuture<K> {}

impl<K: Keeper> Future for DeliveryFuture<K> {
    type Output = Result<Delivery>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.0, State::Done) {
            State::Waiting(slot, keeper) => match slot.poll(cx) {
                Poll::Pending => {
                    self.0 = State::Waiting(slot, keeper);
                    Poll::Pending
                }
                Poll::Ready(Ok(delivery)) => {
                    handover::returned();
                    Poll::Ready(Ok(delivery))
                }
                Poll::Ready(Err(error)) => {
                    handover::returned();
                    slot.seen(&keeper.transport().ledger().unseen);
                    Poll::Ready(Err(error.with_record(slot.record().clone())))
                }
            },
            State::Refused(error) => {
                handover::returned();
                Poll::Ready(Err(error))
            }
            State::Done => panic!("a delivery future was polled after completion"),
        }
    }
}

/// The caller does not wait for the record any more.
#[cold]
fn abandon<K: Keeper>(slot: &SlotOf<K>, keeper: &K) {
    let transport = keeper.transport();
    slot.abandon(|| transport.now(), || transport.is_throttled(slot), &transport.ledger().unseen);
}

impl<K: Keeper> Drop for DeliveryFuture<K> {
    #[inline]
    fn drop(&mut self) {
        if let State::Waiting(slot, keeper) = &self.0 {
            abandon::<K>(slot, keeper);
        }
    }
}

impl<K: Keeper> fmt::Debug for DeliveryFuture<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            State::Waiting(..) => "waiting",
            State::Refused(_) => "refused",
            State::Done => "done",
        };
        f.debug_tuple("DeliveryFuture").field(&state).finish()
    }
}
