//! Flush and close.

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::gate::Gated;
use kafka_tower_core::ledger::{RecordTransport, TenantControl};
use kafka_tower_core::{CloseReport, Control, ControlFuture, InFlight, TransactionControl, UnseenFailures};
use tokio::time::{Instant, timeout_at};

use crate::broker::BrokerClient;
use crate::owner::Owner;
use crate::transaction::control::MemoryTransactions;
use crate::transport::MemoryTransport;

#[derive(Debug)]
pub(crate) struct MemoryControl {
    owner: Arc<Owner>,
    transactions: Option<Arc<MemoryTransactions>>,
}

impl MemoryControl {
    pub(crate) fn new(owner: Arc<Owner>) -> Self {
        let client = &owner.client;
        let is_transactional = client.transaction().is_some();
        let transactions = is_transactional
            .then(|| Arc::new(MemoryTransactions::new(Arc::clone(client), Some(Arc::clone(&owner) as _))));
        Self { owner, transactions }
    }
}

impl Control for MemoryControl {
    fn flush(&self) -> ControlFuture<'_, ()> {
        // At the call, not at the first poll: records called after `flush` are not waited for.
        let flush = self.owner.client.flush_all();
        Box::pin(async move {
            flush.await;
            Ok(())
        })
    }

    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport> {
        let client = &self.owner.client;
        let ledger = client.ledger();
        let waiter = ledger.closing().begin(None);
        ledger.gate().close();
        let deadline = Instant::now().checked_add(within);
        let transactions = self.transactions.as_ref().filter(|transactions| transactions.closing());
        let flush = client.flush_all();
        Box::pin(async move {
            match deadline {
                // Nothing to wait for, so neither a timer nor a runtime is needed.
                _ if ledger.gate().in_flight() == InFlight::default() => {}
                None => flush.await,
                Some(deadline) => {
                    if timeout_at(deadline, flush).await.is_err() {
                        client.give_up();
                        // Other threads may be reporting a record at this moment.
                        client.flush_all().await;
                    }
                }
            }
            if let Some(transactions) = transactions {
                ledger.closing().transaction_ended(transactions.end_at_close(deadline).await);
            }
            Ok(waiter.report())
        })
    }

    fn unseen(&self) -> UnseenFailures {
        self.owner.client.ledger().unseen_failures()
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.owner.client.broker.with_log(|log| log.partition_count(topic))
    }

    fn in_flight(&self) -> InFlight {
        self.owner.client.gate().in_flight()
    }

    fn giver(&self) -> Option<TypeId> {
        Some(TypeId::of::<MemoryTransport>())
    }

    fn open_tenant(&self) -> Option<Arc<dyn Control>> {
        let whole = Self { owner: Arc::clone(&self.owner), transactions: self.transactions.clone() };
        TenantControl::open(&self.owner.client, Arc::new(whole))
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        self.transactions.as_ref().map(|transactions| Arc::clone(transactions) as _)
    }
}
