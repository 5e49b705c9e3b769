//! What the handles of a transport and its task share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use kafka_tower_core::clock;
use kafka_tower_core::gate::{Gate, Gated, Limits, Permit};
use kafka_tower_core::ledger::{Ledger, RecordTransport};
use kafka_tower_core::sync::lock;
use kafka_tower_core::{Error, Result};
use tokio::sync::watch;

use crate::causes::Causes;
use crate::failure;
use crate::inbox::Inbox;
use crate::settings::Settings;
use crate::slot::{Acknowledged, Slot};

pub(crate) struct Shared {
    pub(crate) settings: Arc<Settings>,
    pub(crate) causes: Causes,
    pub(crate) inbox: Inbox,
    pub(crate) status: watch::Sender<Status>,
    ledger: Ledger<Acknowledged>,
    /// Number of calls, which wraps around.
    calls: AtomicU32,
    partitions: Mutex<BTreeMap<Arc<str>, u32>>,
    /// The records that are admitted for each partition of a topic; empty if the limit does not depend on partitions.
    per_partition: Mutex<Vec<(Arc<str>, usize)>>,
}

/// How far the task has come with what `connect` waits for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    /// A broker has answered with the cluster's metadata.
    pub(crate) has_metadata: bool,
    /// There is a producer id, or none is needed.
    pub(crate) has_producer_id: bool,
    /// The leaders of the known partitions were connected to, or could not be.
    pub(crate) has_leaders: bool,
    /// Topics that are known.
    pub(crate) topics: Vec<Arc<str>>,
    /// Topics that `connect` waits for.
    pub(crate) wanted: Vec<Arc<str>>,
    /// Why waiting longer does not help.
    pub(crate) failed: Option<Error>,
    /// Why the last attempt did not succeed.
    pub(crate) last: Option<Error>,
}

impl Shared {
    pub(crate) fn new(settings: Settings, limits: Limits, per_partition: Vec<(Arc<str>, usize)>) -> Arc<Self> {
        let bound = settings.delivery_bound.saturating_add(clock::TICK);
        Arc::new(Self {
            ledger: Ledger::new(limits, Some(bound)),
            causes: Causes::default(),
            inbox: Inbox::default(),
            calls: AtomicU32::new(0),
            status: watch::Sender::default(),
            partitions: Mutex::default(),
            per_partition: Mutex::new(per_partition),
            settings: Arc::new(settings),
        })
    }

    /// The place of the next call in the order of all calls.
    pub(crate) fn next_order(&self) -> u32 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Number of partitions of a topic, if it is known.
    pub(crate) fn partition_count(&self, topic: &str) -> Option<u32> {
        lock(&self.partitions).get(topic).copied()
    }

    /// Called when the number of a topic's partitions became known or changed.
    pub(crate) fn set_partition_count(self: &Arc<Self>, topic: &Arc<str>, count: u32) {
        lock(&self.partitions).insert(Arc::clone(topic), count);
        self.count_partitions();
    }

    /// Admits records for the partitions of this topic too.
    pub(crate) fn count_topic(self: &Arc<Self>, topic: Arc<str>, records: usize) {
        let mut topics = lock(&self.per_partition);
        if !topics.iter().any(|(known, _)| *known == topic) {
            topics.push((topic, records));
        }
        drop(topics);
        self.count_partitions();
    }

    fn count_partitions(self: &Arc<Self>) {
        let topics = lock(&self.per_partition);
        if topics.is_empty() {
            return;
        }
        let partitions = lock(&self.partitions);
        let of = |topic: &Arc<str>| partitions.get(topic).copied().unwrap_or(1) as usize;
        let records =
            topics.iter().fold(0_usize, |sum, (topic, records)| sum.saturating_add(records.saturating_mul(of(topic))));
        drop(partitions);
        drop(topics);
        let limits = Limits { records, ..self.gate().limits() }.countable();
        if limits != self.gate().limits() {
            self.set_limits(limits);
        }
    }

    /// Settles a record that the task does not have, and returns its room.
    pub(crate) fn fail(self: &Arc<Self>, slot: &Slot, error: Error) {
        let permit = self.settle(slot, Err(error));
        self.release(permit);
    }

    /// Gives up all that was called and is not settled, and refuses what follows. Called when the task ends.
    pub(crate) fn end(self: &Arc<Self>) {
        let now = self.now();
        self.gate().close();
        let withdraw = |slot: Arc<Slot>| {
            let why = self.causes.why(slot.record(), now);
            let error = failure::without_room_at_close(&slot.record().topic, why.as_deref());
            let _never_admitted = self.settle(&slot, Err(error));
        };
        self.withdraw(|_| true, withdraw);
        for slot in self.inbox.end() {
            self.fail(&slot, failure::left(slot.record(), false, self.causes.why(slot.record(), now).as_deref()));
        }
    }
}

impl Gated for Shared {
    type Item = Arc<Slot>;

    fn gate(&self) -> &Gate<Arc<Slot>> {
        self.ledger.gate()
    }

    fn enqueue(self: &Arc<Self>, slot: Arc<Slot>, permit: Permit) -> std::result::Result<(), Permit> {
        slot.admit_held(permit);
        let Err(slot) = self.inbox.push(slot) else { return Ok(()) };
        let error = failure::left(slot.record(), false, None);
        self.settle(&slot, Err(error)).map_or(Ok(()), Err)
    }

    fn enqueue_parked(self: &Arc<Self>, slot: Arc<Slot>, permit: Permit) -> std::result::Result<(), Permit> {
        slot.leave_gate(self.now());
        self.enqueue(slot, permit)
    }
}

impl RecordTransport for Shared {
    type Acknowledgement = Acknowledged;

    fn ledger(&self) -> &Ledger<Acknowledged> {
        &self.ledger
    }

    fn failed(&self, _slot: &Slot, _error: &Error) {}

    fn now(&self) -> Instant {
        self.settings.clock.now()
    }

    fn is_throttled(&self, _slot: &Slot) -> bool {
        self.causes.is_throttled(self.now())
    }

    fn deadline_changed(self: &Arc<Self>) {
        self.inbox.wake();
    }

    fn reasons(&self) -> impl Fn(&Slot) -> Option<String> {
        let now = self.now();
        move |slot: &Slot| self.causes.why(slot.record(), now)
    }
}

/// Watches the record's deadline and the delivery bound.
///
/// # Errors
///
/// Its sink was closed.
pub(crate) fn watch(shared: &Shared, slot: &Arc<Slot>) -> Result<()> {
    if shared.ledger.watch(slot)? {
        shared.inbox.wake();
    }
    Ok(())
}
