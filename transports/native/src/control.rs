//! Flush, close, and what is known of the transport's state.

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::gate::Gated;
use kafka_tower_core::ledger::{RecordTransport, TenantControl};
use kafka_tower_core::{CloseReport, Control, ControlFuture, InFlight, TransactionControl, UnseenFailures};

use crate::owner::{Owner, begin_close};
use crate::transport::NativeTransport;

pub(crate) struct NativeControl {
    owner: Arc<Owner>,
}

impl NativeControl {
    pub(crate) fn new(owner: Arc<Owner>) -> Self {
        Self { owner }
    }
}

impl Control for NativeControl {
    fn flush(&self) -> ControlFuture<'_, ()> {
        let shared = &self.owner.shared;
        // At the call and not at the first poll: records called later are not waited for.
        let flush = Gated::flush(shared);
        let mut begun = false;
        let mut flush = Box::pin(flush);
        Box::pin(std::future::poll_fn(move |cx| {
            let flushed = flush.as_mut().poll(cx).map(Ok);
            // The gate knows of the flush now, so the task sends lingering batches.
            if flushed.is_pending() && !std::mem::replace(&mut begun, true) {
                shared.inbox.wake();
            }
            flushed
        }))
    }

    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport> {
        let mut end = begin_close(&self.owner.shared, within);
        Box::pin(async move {
            (&mut end).await;
            Ok(end.report())
        })
    }

    fn unseen(&self) -> UnseenFailures {
        self.owner.shared.ledger().unseen_failures()
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.owner.shared.partition_count(topic)
    }

    fn in_flight(&self) -> InFlight {
        self.owner.shared.gate().in_flight()
    }

    fn last_error(&self) -> Option<String> {
        self.owner.shared.causes.last(self.owner.shared.now())
    }

    fn giver(&self) -> Option<TypeId> {
        Some(TypeId::of::<NativeTransport>())
    }

    fn open_tenant(&self) -> Option<Arc<dyn Control>> {
        let whole = Self { owner: Arc::clone(&self.owner) };
        TenantControl::open(&self.owner.shared, Arc::new(whole))
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        None
    }
}

impl fmt::Debug for NativeControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeControl").field("in_flight", &self.in_flight()).finish()
    }
}
