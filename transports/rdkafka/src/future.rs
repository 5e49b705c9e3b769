use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::{Delivery, Error, Result, ledger};

use crate::owner::Owner;
use crate::slot::Slot;

/// Future of a record: resolves with its outcome, or when its deadline has passed. An error [contains the
/// record](Error::take_record).
///
/// # Cancel safety
///
/// Dropping it does not cancel the record; its delivery report frees its room. While it is awaited it keeps the
/// producer alive as a handle does, so that `oneshot` on the last handle delivers.
#[must_use = "futures do nothing unless polled"]
pub struct DeliveryFuture(ledger::DeliveryFuture<Owner>);

impl DeliveryFuture {
    pub(crate) fn waiting(slot: Arc<Slot>, owner: Arc<Owner>) -> Self {
        Self(ledger::DeliveryFuture::waiting(slot, owner))
    }

    pub(crate) fn refused(error: Error) -> Self {
        Self(ledger::DeliveryFuture::refused(error))
    }
}

impl Future for DeliveryFuture {
    type Output = Result<Delivery>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl fmt::Debug for DeliveryFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
