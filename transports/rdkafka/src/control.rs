use std::any::TypeId;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kafka_tower_core::gate::Gated;
use kafka_tower_core::ledger::{RecordTransport, TenantControl};
use kafka_tower_core::{CloseReport, Control, ControlFuture, InFlight, TransactionControl, UnseenFailures};

use crate::close;
use crate::event_loop;
use crate::owner::Owner;
use crate::transactions::RdkafkaTransactions;
use crate::transport::RdkafkaTransport;

/// The control side of the transport: flush, close, counts.
pub(crate) struct RdkafkaControl {
    owner: Arc<Owner>,
    transactions: Option<Arc<RdkafkaTransactions>>,
}

impl RdkafkaControl {
    pub(crate) fn new(owner: Arc<Owner>) -> Self {
        let transactions = owner.is_transactional().then(|| Arc::new(RdkafkaTransactions::new(Arc::clone(&owner))));
        Self { owner, transactions }
    }
}

impl Control for RdkafkaControl {
    fn flush(&self) -> ControlFuture<'_, ()> {
        let inner = self.owner.inner();
        // At the call and not at the first poll: records called later are not waited for.
        let flush = Gated::flush(inner);
        Box::pin(async move {
            let mut flush = pin!(flush);
            let mut loop_woken = false;
            poll_fn(|cx| {
                let mut flushed = flush.as_mut().poll(cx);
                // A waker that flushes runs on the event loop itself, which must not wait for itself.
                if flushed.is_pending() && !loop_woken && !event_loop::is_loop() {
                    inner.wait_for_releases();
                    flushed = flush.as_mut().poll(cx);
                }
                if flushed.is_pending() && !loop_woken {
                    // The gate knows of the flush now, so the loop sends lingering batches.
                    inner.client.wake();
                    loop_woken = true;
                }
                flushed
            })
            .await;
            Ok(())
        })
    }

    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport> {
        let mut end = close::begin(self.owner.inner(), within);
        Box::pin(async move {
            (&mut end).await;
            Ok(end.report())
        })
    }

    fn unseen(&self) -> UnseenFailures {
        self.owner.inner().ledger().unseen_failures()
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.owner.inner().partitions.get(topic)
    }

    fn in_flight(&self) -> InFlight {
        self.owner.inner().gate().in_flight()
    }

    fn last_error(&self) -> Option<String> {
        self.owner.inner().last_error(Instant::now()).map(|why| why.text)
    }

    fn generation(&self) -> u64 {
        self.owner.inner().generation.load(Ordering::Acquire)
    }

    fn giver(&self) -> Option<TypeId> {
        Some(TypeId::of::<RdkafkaTransport>())
    }

    fn open_tenant(&self) -> Option<Arc<dyn Control>> {
        let whole = Self { owner: Arc::clone(&self.owner), transactions: self.transactions.clone() };
        TenantControl::open(self.owner.inner(), Arc::new(whole))
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        self.transactions.as_ref().map(|transactions| Arc::clone(transactions) as _)
    }
}

impl fmt::Debug for RdkafkaControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdkafkaControl").field("in_flight", &self.in_flight()).finish()
    }
}
