use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use kafka_tower_core::error::transport;
use kafka_tower_core::gate::{GateHandle, Gated, Refused};
use kafka_tower_core::ledger::{RecordTransport, Slot};
use kafka_tower_core::ticket::Ticket;
use kafka_tower_core::{Control, Delivery, Error, IntoTransport, Record, Result, handover};
use tower_service::Service;

use super::control::BatchControl;
use super::future::{Owner, TransactionBatchFuture};
use super::inner::BatchInner;
use super::join::JoinFuture;
use super::lanes;
use super::unit::Unit;
use super::units::UNIT;

/// Service that sends records in shared transactions. Created by [`TransactionBatchLayer`](super::TransactionBatchLayer).
///
/// Clones share the batches and the limits; each clone waits for room by itself.
#[derive(Clone)]
pub struct TransactionBatch {
    owner: Arc<Owner>,
    handle: GateHandle<BatchInner>,
}

impl TransactionBatch {
    pub(super) fn new(inner: Arc<BatchInner>) -> Self {
        let handle = inner.handle();
        Self { owner: Arc::new(Owner(inner)), handle }
    }

    /// Control handle: flush, close and counts of this layer and of the transports below. It has no
    /// [transactions](Control::transactions), because the layer begins and ends them.
    #[must_use]
    pub fn control(&self) -> Arc<dyn Control> {
        Arc::new(BatchControl::new(Arc::clone(&self.owner)))
    }

    /// Sends the records of a unit and its consumed offsets in one transaction, together or not at all. See
    /// [units](super#units).
    ///
    /// As `call`, it fixes the unit's place before it returns. Call `poll_ready` before it, as before `call`.
    pub fn join(&mut self, unit: Unit) -> JoinFuture {
        let inner = Arc::clone(self.inner());
        let (joined, outcome, tickets) = match inner.prepare_unit(unit) {
            Ok(prepared) => prepared,
            Err(error) => {
                self.handle.pass_on();
                return JoinFuture::refused(error);
            }
        };
        // It stands for the unit in the gate, so that a unit is admitted as a whole.
        let slot = Arc::new(Slot::new(Record::new(joined.name.as_str()).with_partition(UNIT), joined.called_at));
        inner.expect_unit(&slot, &joined);
        if let Err(refused) = self.handle.call(Arc::clone(&slot), joined.bytes) {
            drop(inner.unit_of(&slot));
            let error = match refused {
                Refused::TooLarge(_) => {
                    transport::larger_than_gate(&joined.name, joined.bytes, inner.gate().limits().bytes)
                }
                Refused::Closed(_) => transport::after_close(&joined.name),
            };
            return JoinFuture::refused(inner.refuse_unit(&joined, error));
        }
        tickets.iter().for_each(Ticket::account);
        if slot.is_parked() {
            inner.notify_lanes();
        }
        JoinFuture::waiting(outcome, Arc::clone(&self.owner))
    }

    /// Allows units with offsets of this input partition again, after one that failed or whose outcome is unknown.
    ///
    /// First await all units of the partition, then fetch the group's committed offset of the partition as a
    /// `read_committed` consumer does, which waits for a transaction that has not ended. After this call, join the units of
    /// the input from there on.
    ///
    /// # Errors
    ///
    /// `Transaction` with recovery `Retry` if units of the partition are not settled: they may still be committed, so that
    /// the committed offset is not final.
    pub fn resume(&self, group_id: &str, topic: &str, partition: i32) -> Result<()> {
        self.inner().resume(group_id, topic, partition)
    }

    fn inner(&self) -> &Arc<BatchInner> {
        &self.owner.0
    }

    /// Checks a record that is called now, and sets the partition that decides its lane.
    fn prepare(&self, record: &mut Record, now: Instant) -> Result<Option<Ticket>> {
        record.validate()?;
        let ticket = record.take_ticket();
        if let Some(refusal) = ticket.as_ref().and_then(Ticket::refusal) {
            return Err(refusal);
        }
        if record.expires_at.is_some_and(|at| at <= now) {
            return Err(transport::too_late(record));
        }
        if self.inner().lanes.len() > 1 {
            let count = || self.inner().partition_count(&record.topic);
            let partition = lanes::partition(record, count)?;
            record.partition = Some(partition.unwrap_or_else(|count| self.inner().any_partition(&record.topic, count)));
        }
        Ok(ticket)
    }
}

impl IntoTransport for TransactionBatch {
    type Transport = Self;

    fn into_transport(self) -> (Self, Arc<dyn Control>) {
        let control = self.control();
        (self, control)
    }
}

impl Service<Record> for TransactionBatch {
    type Response = Delivery;
    type Error = Error;
    type Future = TransactionBatchFuture;

    /// Ready if there is room. It is a hint and reserves nothing. Never an error.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let ready = self.handle.poll_ready(cx);
        if ready.is_pending() {
            // The room is taken by records whose batch would wait for more.
            self.inner().notify_lanes();
        }
        ready.map(Ok)
    }

    /// Fixes the record's place before it returns: in the current batch, or behind other records that wait for room.
    fn call(&mut self, mut record: Record) -> TransactionBatchFuture {
        let now = self.inner().now();
        let ticket = match self.prepare(&mut record, now) {
            Ok(ticket) => ticket,
            Err(error) => {
                self.handle.pass_on();
                return TransactionBatchFuture::refused(error);
            }
        };
        let bytes = record.size();
        let slot = Arc::new(Slot::new(record, now));
        // Before it is admitted: the close of its sink must know of it.
        match self.inner().ledger().watch(&slot) {
            Ok(true) => self.inner().expiry.notify_one(),
            Ok(false) => {}
            Err(error) => {
                self.handle.pass_on();
                return TransactionBatchFuture::refused(error.with_record(slot.record().clone()));
            }
        }
        match self.handle.call(Arc::clone(&slot), bytes) {
            Ok(()) => {
                handover::taken();
                ticket.inspect(Ticket::account);
                if slot.is_parked() {
                    self.inner().notify_lanes();
                }
                TransactionBatchFuture::waiting(slot, Arc::clone(&self.owner))
            }
            Err(refused) => TransactionBatchFuture::refused(self.inner().ledger().refusal(&refused)),
        }
    }
}

impl fmt::Debug for TransactionBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TransactionBatch").field(self.inner()).finish()
    }
}
