//! One producer: state shared by the handles of a transport, its control and its futures.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use kafka_tower_core::gate::{Flush, Gate, Gated, Limits, Permit};
use kafka_tower_core::ledger::{Keeper, Ledger, RecordTransport, Slot};
use kafka_tower_core::sync::lock;
use kafka_tower_core::{Delivery, Error, Result};
use tokio::time::Instant;

use crate::broker::{self, BrokerClient, Recipient};
use crate::deadlines::{ExpiryTask, Timer};
use crate::errors;
use crate::partition_queue::{Batching, Settled};
use crate::resend::Resend;
use crate::transaction::client::TxnClient;

pub(crate) type Broker = broker::Broker<Client>;

pub(crate) struct Client {
    pub(crate) broker: Arc<Broker>,
    ledger: Ledger<Delivery>,
    pub(crate) expiry: ExpiryTask,
    /// Set for a producer with a transactional id. Lock order: the broker's lock is never taken while this one is
    /// held.
    transaction: Option<Mutex<TxnClient>>,
    /// Set if the producer sends batches of more than one record.
    batching: Option<Batching>,
    /// Number of records without key and partition, by topic.
    positions: Mutex<BTreeMap<Arc<str>, u32>>,
    /// Written and read under the broker's lock, so that a concurrent hand-over is refused.
    given_up: AtomicBool,
    /// Set for a producer that retries by itself. Taken only under the broker's lock.
    resend: Option<Mutex<Resend>>,
    #[cfg(feature = "sim")]
    journal: Option<Arc<crate::sim::Journal>>,
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
            ledger: Ledger::new(limits, None),
            expiry: ExpiryTask::default(),
            transaction: transaction.map(Mutex::new),
            batching,
            positions: Mutex::default(),
            given_up: AtomicBool::new(false),
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

    /// Hands over an admitted record. Returns the permit if the outcome is known at once.
    fn hand_over(self: &Arc<Self>, slot: Arc<Slot<Delivery>>, permit: Permit, now: Instant) -> Result<(), Permit> {
        slot.admit(permit);
        // It may have been parked beyond its deadline.
        let settled = if slot.record().expires_at.is_some_and(|at| Instant::from_std(at) <= now) {
            let expired = slot.time_out(false, now.into(), None);
            Some((slot, Err(expired)))
        } else {
            let who = Recipient { client: Arc::clone(self), slot };
            self.broker.produce(who, now).map(|Settled { who, outcome }| (who.slot, outcome))
        };
        let Some((slot, outcome)) = settled else { return Ok(()) };
        self.finish(&slot, outcome).map_or(Ok(()), Err)
    }

    fn finish(&self, slot: &Slot<Delivery>, outcome: Result<Delivery>) -> Option<Permit> {
        let elapsed = || self.now().saturating_duration_since(slot.called_at());
        self.settle(slot, outcome.map_err(|error| error.with_elapsed(elapsed())))
    }

    /// Withdraws all parked records.
    pub(crate) fn withdraw_parked(self: &Arc<Self>, error: impl Fn(&str) -> Error) {
        self.withdraw(
            |_| true,
            |slot| {
                let _never_admitted = self.finish(&slot, Err(error(&slot.record().topic)));
            },
        );
    }

    /// Resolves when all records called before are settled. Lingering batches are sent at once.
    pub(crate) fn flush_all(self: &Arc<Self>) -> Flush<Self> {
        let flush = self.flush();
        self.broker.end_batches(self);
        flush
    }

    /// Stops waiting for records: parked ones are not in the log, those in flight may be.
    pub(crate) fn give_up(self: &Arc<Self>) {
        let given_up = self.broker.give_up(self);
        let settle = |slot: Arc<Slot<Delivery>>| self.finish(&slot, Err(errors::given_up(&slot.record().topic)));
        let permits: Vec<_> = given_up.into_iter().filter_map(settle).collect();
        // Parked records that now get the room are refused by the broker's side of the hand-over.
        self.release(permits);
    }
}

impl Gated for Client {
    type Item = Arc<Slot<Delivery>>;

    fn gate(&self) -> &Gate<Self::Item> {
        self.ledger.gate()
    }

    fn enqueue(self: &Arc<Self>, slot: Self::Item, permit: Permit) -> Result<(), Permit> {
        let now = slot.called_at().into();
        self.hand_over(slot, permit, now)
    }

    fn enqueue_parked(self: &Arc<Self>, slot: Self::Item, permit: Permit) -> Result<(), Permit> {
        let now = Instant::now();
        slot.leave_gate(now.into());
        self.hand_over(slot, permit, now)
    }
}

impl RecordTransport for Client {
    type Acknowledgement = Delivery;

    fn ledger(&self) -> &Ledger<Delivery> {
        &self.ledger
    }

    fn failed(&self, _slot: &Slot<Delivery>, error: &Error) {
        if let Some(mut transaction) = self.transaction() {
            transaction.record_failed(error);
        }
    }

    fn deadline_changed(self: &Arc<Self>) {
        self.start_expiry();
    }

    fn timer(&self, at: std::time::Instant) -> impl Future<Output = ()> + Send {
        Timer::new(at.into())
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }
}

impl Keeper for Client {
    type Transport = Self;

    fn transport(&self) -> &Self {
        self
    }
}

impl BrokerClient for Client {
    fn transaction(&self) -> Option<MutexGuard<'_, TxnClient>> {
        self.transaction.as_ref().map(|state| lock(state))
    }

    fn resend(&self) -> Option<MutexGuard<'_, Resend>> {
        self.resend.as_ref().map(|state| lock(state))
    }

    fn report(Settled { who: Recipient { client, slot }, outcome }: Settled<Recipient<Self>>) {
        // None if the client gave the record up: the outcome is then reported to no one.
        client.release(client.finish(&slot, outcome));
    }

    fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }

    fn set_given_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    fn next_position(&self, topic: &Arc<str>) -> u32 {
        let mut positions = lock(&self.positions);
        let next = positions.entry(Arc::clone(topic)).or_default();
        let position = *next;
        *next = next.wrapping_add(1);
        position
    }

    fn batching(&self) -> Option<Batching> {
        self.batching
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}
