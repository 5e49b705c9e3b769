//! Response future of a send.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::ledger::{DeliveryFuture, Slot};
use kafka_tower_core::{Delivery, Error, Result};
use tokio::runtime::Id;

use crate::client::Client;

/// Resolves when the record's outcome is known, or when its deadline passes.
///
/// # Errors
///
/// The broker's or the script's error; [`ErrorKind::Timeout`](kafka_tower_core::ErrorKind::Timeout) if the record's
/// `expires_at` has passed: not persisted if the record was parked (it is withdrawn), possibly persisted if it is in
/// flight. Each [contains the record](Error::take_record).
///
/// Deadlines need a tokio runtime with time enabled, at the call or at a poll. Without one, a deadline is checked only
/// when there is room for the record. Deadlines of records that nothing awaits are kept by a task of the producer, on the
/// runtime that needed it last: while nothing drives that runtime, they are late.
///
/// # Cancel safety
///
/// Dropping it cancels nothing: the record continues, and its report returns the room. A parked record is withdrawn at
/// its deadline also then.
///
/// # Panics
///
/// If it is polled again after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct MemoryDeliveryFuture {
    delivery: DeliveryFuture<Client>,
    /// Runtime with a task that keeps the deadline of this record alone.
    kept_on: Option<Id>,
    #[cfg(feature = "sim")]
    journal: Option<(Arc<crate::sim::Journal>, usize)>,
}

impl MemoryDeliveryFuture {
    pub(crate) fn refused(error: Error) -> Self {
        Self::new(DeliveryFuture::refused(error))
    }

    pub(crate) fn waiting(slot: Arc<Slot<Delivery>>, client: Arc<Client>) -> Self {
        Self::new(DeliveryFuture::waiting(slot, client))
    }

    fn new(delivery: DeliveryFuture<Client>) -> Self {
        Self {
            delivery,
            kept_on: None,
            #[cfg(feature = "sim")]
            journal: None,
        }
    }

    #[cfg(feature = "sim")]
    pub(crate) fn with_journal(mut self, journal: Arc<crate::sim::Journal>, attempt: Option<usize>) -> Self {
        self.journal = attempt.map(|attempt| (journal, attempt));
        self
    }
}

impl Future for MemoryDeliveryFuture {
    type Output = Result<Delivery>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.delivery).poll(cx);
        match &polled {
            Poll::Pending => {
                let deadline = |(slot, client): (&Arc<Slot<Delivery>>, _)| Some((slot.record().expires_at?, client));
                if let Some((at, client)) = this.delivery.pending().and_then(deadline) {
                    client.keep_deadline(at, &mut this.kept_on);
                }
            }
            #[cfg(feature = "sim")]
            Poll::Ready(outcome) => {
                if let Some((journal, attempt)) = this.journal.take() {
                    journal.report(attempt, outcome);
                }
            }
            #[cfg(not(feature = "sim"))]
            Poll::Ready(_) => {}
        }
        polled
    }
}

impl fmt::Debug for MemoryDeliveryFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryDeliveryFuture").field(&self.delivery).finish()
    }
}
