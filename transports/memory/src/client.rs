//! One producer: state shared by the handles of a transport, its control and its futures.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kafka_tower_core::gate::{Flush, Gate, Limits, Permit};
use kafka_tower_core::outstanding::Outstanding;
use kafka_tower_core::unanswered::Unanswered;
use kafka_tower_core::{CloseReport, Delivery, Error, Record, Result, TransactionEnd};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use crate::broker::{self, BrokerClient, Recipient};
use crate::errors;
use crate::lane::{Batching, Settled};
use crate::resend::Resend;
use crate::slot::Slot;
use crate::transaction::client::TxnClient;

pub(crate) type Broker = broker::Broker<Client>;

/// A record with the slot for its outcome: the item that the gate parks.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) record: Record,
    pub(crate) slot: Arc<Slot>,
}

pub(crate) struct Client {
    pub(crate) broker: Arc<Broker>,
    pub(crate) gate: Arc<Gate<Call>>,
    /// Set for a producer with a transactional id. Lock order: the broker's lock is never taken while this one is
    /// held.
    transaction: Option<Mutex<TxnClient>>,
    /// Set if the producer sends batches of more than one record.
    batching: Option<Batching>,
    /// Number of records without key and partition, by topic.
    positions: Mutex<BTreeMap<Arc<str>, u32>>,
    /// Written and read under the broker's lock, so that a concurrent hand-over is refused.
    given_up: AtomicBool,
    closing: Mutex<Closing>,
    /// Failures that their callers' futures have not seen.
    pub(crate) unseen: Arc<Outstanding<()>>,
    /// Set for a producer that retries by itself. Taken only under the broker's lock.
    resend: Option<Mutex<Resend>>,
    #[cfg(feature = "sim")]
    journal: Option<Arc<crate::sim::Journal>>,
}

#[derive(Debug, Default)]
struct Closing {
    /// Set from the start of the close until a closer takes it.
    report: Option<CloseReport>,
    /// Closers that wait for the end, in call order.
    waiting: BTreeSet<u64>,
    next: u64,
}

/// A call of `close` that waits for the end. The oldest one gets the report, whatever the order of polls.
#[derive(Debug)]
pub(crate) struct Closer {
    client: Arc<Client>,
    place: u64,
}

impl Client {
    pub(crate) fn new(
        broker: Arc<Broker>,
        limits: Limits,
        transaction: Option<TxnClient>,
        resend: Option<Resend>,
        batching: Option<Batching>,
    ) -> Arc<Self> {
        Arc::new(Self {
            broker,
            gate: Gate::new(limits),
            transaction: transaction.map(Mutex::new),
            batching,
            positions: Mutex::default(),
            given_up: AtomicBool::new(false),
            closing: Mutex::default(),
            unseen: Arc::default(),
            resend: resend.map(Mutex::new),
            #[cfg(feature = "sim")]
            journal: None,
        })
    }

    #[cfg(feature = "sim")]
    pub(crate) fn with_journal(self: Arc<Self>, journal: Option<Arc<crate::sim::Journal>>) -> Arc<Self> {
        let mut client = self;
        if let Some(client) = Arc::get_mut(&mut client) {
            client.journal = journal;
        }
        client
    }

    #[cfg(feature = "sim")]
    pub(crate) fn journal(&self) -> Option<&Arc<crate::sim::Journal>> {
        self.journal.as_ref()
    }

    /// Hands over a record that was parked and is now admitted.
    pub(crate) fn hand_over_parked(self: &Arc<Self>, call: Call, permit: Permit) -> Result<(), Permit> {
        call.slot.leave_gate();
        self.hand_over(call, permit)
    }

    /// Hands over an admitted record. Returns the permit if the outcome is known at once.
    pub(crate) fn hand_over(self: &Arc<Self>, call: Call, permit: Permit) -> Result<(), Permit> {
        let Call { record, slot } = call;
        // It may have been parked beyond its deadline.
        if record.expires_at.is_some_and(|at| Instant::from_std(at) <= Instant::now()) {
            let error = errors::expired(&record.topic);
            self.settle(record, &slot, Err(error));
            return Err(permit);
        }
        let who = Recipient { client: Arc::clone(self), slot, permit: Some(permit) };
        let Some(Settled { who, record, outcome }) = self.broker.produce(record, who) else {
            return Ok(());
        };
        self.settle(record, &who.slot, outcome);
        who.permit.map_or(Ok(()), Err)
    }

    pub(crate) fn release(self: &Arc<Self>, permits: impl IntoIterator<Item = Permit>) {
        self.gate.release(permits, |call, permit| self.hand_over_parked(call, permit));
    }

    /// Called before the record's room is returned, so that whoever waits for the room finds the record counted.
    fn settle(&self, record: Record, slot: &Slot, outcome: Result<Delivery>) {
        self.count(record, &outcome);
        slot.settle(outcome, &self.unseen);
    }

    fn count(&self, record: Record, outcome: &Result<Delivery>) {
        if let (Err(error), Some(mut transaction)) = (outcome, self.transaction()) {
            transaction.record_failed(error);
        }
        if let Some(report) = &mut self.closing().report {
            report.count(record, outcome);
        }
    }

    /// Handles a deadline that passed before the future was settled: a parked record is withdrawn.
    pub(crate) fn expire(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        topic: &str,
        unanswered: impl FnOnce() -> Unanswered,
    ) -> Result<Delivery> {
        let withdrawn = Err(errors::expired(topic));
        let take = |call: &Call| Arc::ptr_eq(&call.slot, slot);
        let settle = |call: Call| self.count(call.record, &withdrawn);
        if self.gate.withdraw(take, settle, |call, permit| self.hand_over_parked(call, permit)) > 0 {
            return withdrawn;
        }
        let unanswered = unanswered();
        slot.leave(&unanswered.report()).unwrap_or_else(|| Err(errors::late(topic).with_unanswered(unanswered)))
    }

    /// Withdraws a parked record at its deadline if it is still parked then. Its caller's future was dropped and no
    /// longer checks the deadline. Without a runtime the deadline is checked when there is room for the record.
    pub(crate) fn expire_later(self: &Arc<Self>, slot: &Arc<Slot>, at: Instant) {
        let Ok(runtime) = Handle::try_current() else { return };
        let (client, slot) = (Arc::clone(self), Arc::clone(slot));
        runtime.spawn(async move {
            sleep_until(at).await;
            client.withdraw(|call| Arc::ptr_eq(&call.slot, &slot), errors::expired);
        });
    }

    /// Withdraws all parked records.
    pub(crate) fn withdraw_parked(self: &Arc<Self>, error: impl Fn(&str) -> Error) {
        self.withdraw(|_| true, error);
    }

    fn withdraw(self: &Arc<Self>, which: impl Fn(&Call) -> bool, error: impl Fn(&str) -> Error) {
        let settle = |call: Call| {
            let error = error(&call.record.topic);
            self.settle(call.record, &call.slot, Err(error));
        };
        self.gate.withdraw(which, settle, |call, permit| self.hand_over_parked(call, permit));
    }

    /// Resolves when all records called before are settled. Lingering batches are sent at once.
    pub(crate) fn flush(self: &Arc<Self>) -> Flush<Call> {
        let flush = self.gate.flush();
        self.broker.end_batches(self);
        flush
    }

    /// Stops waiting for records: parked ones are not in the log, those in flight may be.
    pub(crate) fn give_up(self: &Arc<Self>) {
        let given_up = self.broker.give_up(self);
        let mut permits = Vec::new();
        for (record, slot, permit) in given_up {
            let error = errors::given_up(&record.topic);
            self.settle(record, &slot, Err(error));
            permits.push(permit);
        }
        // Parked records that now get the room are refused by the broker's side of the hand-over.
        self.release(permits);
    }

    /// Rejects new records. The first call starts the count.
    pub(crate) fn begin_close(self: &Arc<Self>) -> Closer {
        let mut closing = self.closing();
        if closing.next == 0 {
            closing.report = Some(CloseReport::default());
        }
        let place = closing.next;
        closing.next += 1;
        closing.waiting.insert(place);
        drop(closing);
        self.gate.close();
        Closer { client: Arc::clone(self), place }
    }

    fn closing(&self) -> MutexGuard<'_, Closing> {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BrokerClient for Client {
    fn transaction(&self) -> Option<MutexGuard<'_, TxnClient>> {
        self.transaction.as_ref().map(|state| state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn resend(&self) -> Option<MutexGuard<'_, Resend>> {
        self.resend.as_ref().map(|state| state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn report(settled: Settled<Recipient<Self>>) {
        let Settled { who: Recipient { client, slot, permit }, record, outcome } = settled;
        let Some(permit) = permit else { return };
        client.settle(record, &slot, outcome);
        client.release([permit]);
    }

    fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }

    fn set_given_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    fn next_position(&self, topic: &Arc<str>) -> u32 {
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        let next = positions.entry(Arc::clone(topic)).or_default();
        let position = *next;
        *next = next.wrapping_add(1);
        position
    }

    fn batching(&self) -> Option<Batching> {
        self.batching
    }
}

impl Closer {
    /// Reports how the open transaction ended. `None` if another close has reported it.
    pub(crate) fn transaction(&self, end: Option<TransactionEnd>) {
        if let (Some(end), Some(report)) = (end, &mut self.client.closing().report) {
            report.transaction = Some(end);
        }
    }

    /// Returns the report; it is empty for all callers but the oldest.
    pub(crate) fn end(self) -> CloseReport {
        let mut closing = self.client.closing();
        if closing.waiting.first() == Some(&self.place) {
            closing.report.take().unwrap_or_default()
        } else {
            CloseReport::default()
        }
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.client.closing().waiting.remove(&self.place);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("gate", &self.gate).finish_non_exhaustive()
    }
}
