use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::gate::Gated;
use kafka_tower_core::ledger::{DeliveryFuture, Keeper, Slot};
use kafka_tower_core::{Delivery, Error, InFlight, Result};

use super::inner::BatchInner;

/// Response future of a [`TransactionBatch`](super::TransactionBatch): resolves when the record's transaction has ended, or
/// when the record's deadline has passed.
///
/// # Errors
///
/// See the [module](super).
///
/// # Cancel safety
///
/// Dropping it cancels nothing: the record stays in its batch.
///
/// # Panics
///
/// If it is polled again after it was ready.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct TransactionBatchFuture(DeliveryFuture<Owner>);

impl TransactionBatchFuture {
    pub(super) fn waiting(slot: Arc<Slot<Delivery>>, owner: Arc<Owner>) -> Self {
        Self(DeliveryFuture::waiting(slot, owner))
    }

    pub(super) fn refused(error: Error) -> Self {
        Self(DeliveryFuture::refused(error))
    }
}

impl Future for TransactionBatchFuture {
    type Output = Result<Delivery>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Dropped with the last handle, control and awaited future.
#[derive(Debug)]
pub(super) struct Owner(pub(super) Arc<BatchInner>);

impl Keeper for Owner {
    type Transport = BatchInner;

    fn transport(&self) -> &BatchInner {
        &self.0
    }
}

impl Drop for Owner {
    /// The owner tasks commit what is there, and end.
    fn drop(&mut self) {
        let InFlight { records, parked, .. } = self.0.gate().in_flight();
        let undelivered = records + parked;
        if undelivered > 0 && !self.0.gate().is_closed() {
            tracing::warn!(undelivered, "the last handle of a batching layer was dropped without close");
        }
        self.0.gate().close();
        self.0.notify_lanes();
    }
}
