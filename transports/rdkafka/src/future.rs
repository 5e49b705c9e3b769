use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::{Delivery, Error, Result, handover};

use crate::owner::Owner;
use crate::slot::Slot;

/// Future of a record: resolves with its outcome, or when its deadline has passed.
///
/// # Cancel safety
///
/// Dropping it does not cancel the record; its delivery report frees its room. While it is awaited it keeps the
/// producer alive as a handle does, so that `oneshot` on the last handle delivers.
#[must_use = "futures do nothing unless polled"]
pub struct DeliveryFuture(State);

enum State {
    Waiting(Arc<Slot>, Arc<Owner>),
    Refused(Error),
    Done,
}

impl DeliveryFuture {
    pub(crate) fn waiting(slot: Arc<Slot>, owner: Arc<Owner>) -> Self {
        Self(State::Waiting(slot, owner))
    }

    pub(crate) fn refused(error: Error) -> Self {
        Self(State::Refused(error))
    }
}

impl Future for DeliveryFuture {
    type Output = Result<Delivery>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.0, State::Done) {
            State::Waiting(slot, owner) => {
                let answer = slot.poll(cx);
                match &answer {
                    Poll::Pending => self.0 = State::Waiting(slot, owner),
                    Poll::Ready(outcome) => {
                        handover::returned();
                        if outcome.is_err() {
                            slot.seen().into_iter().for_each(|unseen| owner.inner().unseen.end(unseen));
                        }
                    }
                }
                answer
            }
            State::Refused(error) => {
                handover::returned();
                Poll::Ready(Err(error))
            }
            State::Done => panic!("a delivery future was polled after completion"),
        }
    }
}

impl Drop for DeliveryFuture {
    fn drop(&mut self) {
        if let State::Waiting(slot, owner) = &self.0 {
            let unseen = slot.abandon(|| owner.inner().is_throttled(slot));
            unseen.into_iter().for_each(|unseen| owner.inner().unseen.end(unseen));
        }
    }
}

impl fmt::Debug for DeliveryFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            State::Waiting(..) => "waiting",
            State::Refused(_) => "refused",
            State::Done => "done",
        };
        f.debug_tuple("DeliveryFuture").field(&state).finish()
    }
}
