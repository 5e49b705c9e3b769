//! One producer: what the handles of a transport, its control and its futures share.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kafka_tower_core::gate::{Flush, Gate, Limits, Permit};
use kafka_tower_core::outstanding::Outstanding;
use kafka_tower_core::unanswered::Unanswered;
use kafka_tower_core::{CloseReport, Delivery, Record, Result, TransactionEnd};
use tokio::time::Instant;

use crate::broker::{Broker, Sender};
use crate::errors;
use crate::lane::{Batching, Settled};
use crate::resend::Resend;
use crate::slot::Slot;
use crate::transaction::client::TxnClient;

/// A record with the place for its outcome: what the gate parks.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) record: Record,
    pub(crate) slot: Arc<Slot>,
}

pub(crate) struct Client {
    pub(crate) broker: Arc<Broker>,
    pub(crate) gate: Arc<Gate<Call>>,
    /// Of a producer with a transactional id. Taken alone or under the broker's lock, which is never taken under it.
    transaction: Option<Mutex<TxnClient>>,
    /// If it sends batches of more than one record.
    pub(crate) batching: Option<Batching>,
    /// By topic: how many records without key and partition went there.
    turns: Mutex<BTreeMap<Arc<str>, u32>>,
    /// Written and read under the broker's lock: a record that is handed over meanwhile is refused.
    given_up: AtomicBool,
    closing: Mutex<Closing>,
    /// Failures that their callers' futures have not seen.
    pub(crate) unseen: Outstanding<()>,
    /// Of a producer that sends again by itself. Taken under the broker's lock alone.
    resend: Option<Mutex<Resend>>,
    #[cfg(feature = "check")]
    journal: Option<Arc<crate::check::Journal>>,
}

#[derive(Debug, Default)]
struct Closing {
    /// Since the close began, until somebody took it.
    report: Option<CloseReport>,
    /// Who waits for the end, by order of the calls.
    waiting: BTreeSet<u64>,
    next: u64,
}

/// One who waits for the end of a close. The oldest gets the report, in whatever order they are polled.
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
            turns: Mutex::default(),
            given_up: AtomicBool::new(false),
            closing: Mutex::default(),
            unseen: Outstanding::new(),
            resend: resend.map(Mutex::new),
            #[cfg(feature = "check")]
            journal: None,
        })
    }

    #[cfg(feature = "check")]
    pub(crate) fn with_journal(self: Arc<Self>, journal: Option<Arc<crate::check::Journal>>) -> Arc<Self> {
        let mut client = self;
        if let Some(client) = Arc::get_mut(&mut client) {
            client.journal = journal;
        }
        client
    }

    #[cfg(feature = "check")]
    pub(crate) fn journal(&self) -> Option<&Arc<crate::check::Journal>> {
        self.journal.as_ref()
    }

    /// The producer's own side of its transactions, if it has them.
    pub(crate) fn transaction(&self) -> Option<MutexGuard<'_, TxnClient>> {
        self.transaction.as_ref().map(|state| state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What it does by itself when a record gets no good answer, if anything.
    pub(crate) fn resend(&self) -> Option<MutexGuard<'_, Resend>> {
        self.resend.as_ref().map(|state| state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The gate admitted a record that was parked.
    pub(crate) fn hand_over_parked(self: &Arc<Self>, call: Call, permit: Permit) -> Result<(), Permit> {
        call.slot.leave_gate();
        self.hand_over(call, permit)
    }

    /// The gate admitted a record. Gives the permit back if its fate is known at once.
    pub(crate) fn hand_over(self: &Arc<Self>, call: Call, permit: Permit) -> Result<(), Permit> {
        let Call { record, slot } = call;
        // It may have been parked past its time.
        if record.expires_at.is_some_and(|at| Instant::from_std(at) <= Instant::now()) {
            let error = errors::expired(&record.topic);
            self.tell(record, &slot, Err(error));
            return Err(permit);
        }
        let who = Sender { client: Arc::clone(self), slot, permit: Some(permit) };
        let Some(Settled { who, record, outcome }) = self.broker.produce(record, who) else {
            return Ok(());
        };
        self.tell(record, &who.slot, outcome);
        who.permit.map_or(Ok(()), Err)
    }

    /// The delivery report of a record that was handed over.
    pub(crate) fn report(settled: Settled<Sender>) {
        let Settled { who: Sender { client, slot, permit }, record, outcome } = settled;
        let Some(permit) = permit else { return };
        client.tell(record, &slot, outcome);
        client.release([permit]);
    }

    pub(crate) fn release(self: &Arc<Self>, permits: impl IntoIterator<Item = Permit>) {
        self.gate.release(permits, |call, permit| self.hand_over_parked(call, permit));
    }

    /// Before the record's room is given back, so that who waits for the room finds it counted.
    fn tell(&self, record: Record, slot: &Slot, outcome: Result<Delivery>) {
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

    /// The time of a record is up before its future was settled: withdrawn if it is parked.
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

    /// Takes back all records that wait for room.
    pub(crate) fn withdraw_parked(self: &Arc<Self>, error: impl Fn(&str) -> kafka_tower_core::Error) {
        let settle = |call: Call| {
            let error = error(&call.record.topic);
            self.tell(call.record, &call.slot, Err(error));
        };
        self.gate.withdraw(|_| true, settle, |call, permit| self.hand_over_parked(call, permit));
    }

    /// Resolves when all that was called before is settled; what lingers goes at once.
    pub(crate) fn flush(self: &Arc<Self>) -> Flush<Call> {
        let flush = self.gate.flush();
        self.broker.end_batches(self);
        flush
    }

    /// Waits for nothing any more: parked records are in no log, those on their way may be.
    pub(crate) fn give_up(self: &Arc<Self>) {
        let given_up = self.broker.give_up(self);
        let mut permits = Vec::new();
        for (record, slot, permit) in given_up {
            let error = errors::given_up(&record.topic);
            self.tell(record, &slot, Err(error));
            permits.push(permit);
        }
        // The room goes to parked records, which the broker's side of the hand-over now refuses.
        self.release(permits);
    }

    pub(crate) fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }

    pub(crate) fn set_given_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    /// Closes for new records; the first one begins to count.
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

    /// Whose turn it is among a topic's partitions.
    pub(crate) fn turn(&self, topic: &Arc<str>) -> u32 {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let next = turns.entry(Arc::clone(topic)).or_default();
        let turn = *next;
        *next = next.wrapping_add(1);
        turn
    }
}

impl Closer {
    /// How the transaction ended that was open. None if another close has told it.
    pub(crate) fn transaction(&self, end: Option<TransactionEnd>) {
        if let (Some(end), Some(report)) = (end, &mut self.client.closing().report) {
            report.transaction = Some(end);
        }
    }

    /// The count; empty for all but the oldest who waits.
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
