//! The transport service.

use std::sync::Arc;
use std::task::{Context, Poll};

use kafka_tower_core::gate::{GateHandle, Gated};
use kafka_tower_core::ledger::{RecordTransport, Slot};
use kafka_tower_core::ticket::Ticket;
use kafka_tower_core::validate::KnownTopic;
use kafka_tower_core::{Control, Delivery, Error, IntoTransport, Record, handover};
use tower_service::Service;

use crate::broker::BrokerClient;
use crate::client::Client;
use crate::control::MemoryControl;
use crate::future::MemoryDeliveryFuture;
use crate::owner::Owner;

/// A producer on a [`MemoryKafka`](crate::MemoryKafka): a [`Transport`](kafka_tower_core::Transport) for tests.
///
/// Clones share limits, close and order; each clone waits for room by itself.
///
/// Dropping the last clone and the controls without [`close`](Control::close) while records are in flight logs a
/// warning with their number. The records continue: held answers and delays still settle them. An open transaction is
/// aborted, as by a close.
#[derive(Clone, Debug)]
pub struct MemoryTransport {
    owner: Arc<Owner>,
    handle: GateHandle<Client>,
    topic: KnownTopic,
}

impl MemoryTransport {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        let handle = client.handle();
        Self { owner: Arc::new(Owner { client }), handle, topic: KnownTopic::default() }
    }

    /// Control handle: flush, close, partition counts and records in flight. Take it before you apply layers.
    #[must_use]
    pub fn control(&self) -> Arc<dyn Control> {
        Arc::new(MemoryControl::new(Arc::clone(&self.owner)))
    }
}

impl IntoTransport for MemoryTransport {
    type Transport = Self;

    fn into_transport(self) -> (Self, Arc<dyn Control>) {
        let control = self.control();
        (self, control)
    }
}

impl Service<Record> for MemoryTransport {
    type Response = Delivery;
    type Error = Error;
    type Future = MemoryDeliveryFuture;

    /// Ready if there is room. It is a hint and reserves nothing. Never an error.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.handle.poll_ready(cx).map(Ok)
    }

    /// Hands the record over before it returns, or parks it behind other records that wait for room.
    fn call(&mut self, record: Record) -> MemoryDeliveryFuture {
        #[cfg(feature = "sim")]
        if let Some(journal) = self.owner.client.journal().cloned() {
            let attempt = journal.attempt(&record);
            return self.send(record).with_journal(journal, attempt);
        }
        self.send(record)
    }
}

impl MemoryTransport {
    fn send(&mut self, mut record: Record) -> MemoryDeliveryFuture {
        if let Err(error) = record.validate_with(&mut self.topic) {
            return self.refuse(error, record);
        }
        let ticket = record.take_ticket();
        if let Some(error) = ticket.as_ref().and_then(Ticket::refusal) {
            return self.refuse(error, record);
        }
        let client = &self.owner.client;
        // A separate statement: the lock must not be held during the hand-over.
        let joins = client.transaction().map(|transaction| transaction.may_join("send"));
        if let Some(Err(error)) = joins {
            return self.refuse(error, record);
        }
        let bytes = record.size();
        let slot = Arc::new(Slot::new(record, client.now()));
        // Before it is admitted: the close of its sink must know of it.
        let is_watched = !slot.record().tenant().is_none();
        if let Some(Err(error)) = is_watched.then(|| client.watch(&slot)) {
            return self.refuse(error, slot.record().clone());
        }
        match self.handle.call(Arc::clone(&slot), bytes) {
            Ok(()) => {
                handover::taken();
                ticket.inspect(Ticket::account);
                // Otherwise it is settled.
                if !is_watched && Arc::strong_count(&slot) > 1 {
                    let _of_no_sink_that_shares = client.watch(&slot);
                }
                MemoryDeliveryFuture::waiting(slot, Arc::clone(client))
            }
            Err(refused) => MemoryDeliveryFuture::refused(client.ledger().refusal(&refused)),
        }
    }
}

impl MemoryTransport {
    /// Refuses a record before the gate: the free room that this handle was woken for goes to another handle.
    #[cold]
    fn refuse(&mut self, error: Error, record: Record) -> MemoryDeliveryFuture {
        self.handle.pass_on();
        MemoryDeliveryFuture::refused(error.with_record(record))
    }
}
