use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use kafka_tower_core::gate::{Gate, Gated, Permit};
use kafka_tower_core::ledger::{Ledger, RecordTransport, Slot};
use kafka_tower_core::sync::lock;
use kafka_tower_core::{Control, Delivery, Error, InFlight, Persistence, Result};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::cut::{self, Decision, Waiting};
use super::entry::{Entry, Outcome};
use super::event::{CutReason, Hooks};
use super::inputs::InputStates;
use super::join::Joined;
use super::settings::Settings;
use super::spread::{self, Load};
use super::{errors, lanes};

/// State shared by the handles, their futures and the owner tasks of the lanes.
///
/// The layer is a transport of its own: its gate admits records, which then wait in the queue of their lane.
pub(super) struct BatchInner {
    pub(super) settings: Settings,
    pub(super) hooks: Hooks,
    ledger: Ledger<Delivery>,
    pub(super) lanes: Vec<Lane>,
    /// Wakes the task that keeps deadlines.
    pub(super) expiry: Arc<Notify>,
    /// Number of flushes that wait: batches are cut at once.
    flushes: AtomicUsize,
    /// Partition of the last record that had neither a partition nor a key.
    keyless: AtomicU32,
    /// Units that are being admitted, by the addresses of the slots that stand for them in the gate.
    pub(super) units: Mutex<HashMap<usize, Arc<Joined>>>,
    /// Which input partitions of units may go on.
    pub(super) inputs: Mutex<InputStates>,
}

/// A transactional producer and the records that wait for its next batch.
pub(super) struct Lane {
    producer: RwLock<Producer>,
    queue: Mutex<Queue>,
    /// Wakes the owner task.
    pub(super) changed: Notify,
    /// Ends the owner task while a batch is under way: a close gave up.
    pub(super) stop: Notify,
}

/// The present transport of a lane.
struct Producer {
    control: Arc<dyn Control>,
    /// Replacements of the client behind the transports before it, and of the transports themselves.
    replaced: u64,
    /// Why nothing is sent at the moment.
    trouble: Option<Arc<str>>,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// A batch was taken, and the owner task has not asked for the next one.
    is_busy: bool,
    /// The lane takes no more records. Makes their error.
    finished: Option<Finished>,
}

/// Makes the error of a record, given its topic.
pub(super) type Finished = Arc<dyn Fn(&str) -> Error + Send + Sync>;

impl BatchInner {
    pub(super) fn new(settings: Settings, hooks: Hooks, controls: &[Arc<dyn Control>]) -> Self {
        let lane = |control: &Arc<dyn Control>| Lane {
            producer: RwLock::new(Producer { control: Arc::clone(control), replaced: 0, trouble: None }),
            queue: Mutex::default(),
            changed: Notify::new(),
            stop: Notify::new(),
        };
        Self {
            settings,
            hooks,
            ledger: Ledger::new(settings.room, None),
            lanes: controls.iter().map(lane).collect(),
            expiry: Arc::default(),
            flushes: AtomicUsize::new(0),
            keyless: AtomicU32::new(0),
            units: Mutex::default(),
            inputs: Mutex::default(),
        }
    }

    /// Number of partitions of a topic, if a lane knows it.
    pub(super) fn partition_count(&self, topic: &str) -> Option<u32> {
        self.lanes.iter().find_map(|lane| lane.partition_count(topic))
    }

    pub(super) fn lane_of(&self, slot: &Slot<Delivery>) -> &Lane {
        &self.lanes[lanes::lane(slot.record(), self.lanes.len())]
    }

    /// Returns a partition, among `count`, for a record with neither a partition nor a key.
    pub(super) fn any_partition(&self, topic: &str, count: u32) -> i32 {
        let lanes = self.lanes.len();
        let load = |partition| self.lanes[lanes::lane_of(topic, partition, lanes)].queue().load(&self.settings.cut);
        let last = self.keyless.load(Ordering::Relaxed);
        let partition = spread::partition(last, count, lanes, load);
        if partition != last {
            self.keyless.store(partition, Ordering::Relaxed);
        }
        i32::try_from(partition).unwrap_or_default()
    }

    /// Decides whether the lane's next batch is cut now.
    pub(super) fn decide(&self, lane: &Lane) -> Decision {
        let urgent = self.urgency();
        let mut queue = lane.queue();
        queue.is_busy = false;
        cut::decide(&self.settings.cut, &queue.waiting(), urgent, Instant::now().into())
    }

    /// Takes the records of the lane's next batch, in the order of their calls.
    pub(super) fn take(&self, lane: &Lane) -> Vec<Entry> {
        let mut queue = lane.queue();
        queue.is_busy = true;
        let (n, bytes) = cut::take(&self.settings.cut, queue.entries.iter().map(Entry::size));
        queue.bytes -= bytes;
        queue.entries.drain(..n).collect()
    }

    /// Why batches are cut without waiting for their limits, if they are: otherwise a flush, a close or a caller without
    /// room would wait for records that may never come.
    fn urgency(&self) -> Option<CutReason> {
        if self.gate().is_closed() {
            Some(CutReason::Close)
        } else if self.flushes.load(Ordering::SeqCst) > 0 {
            Some(CutReason::Flush)
        } else {
            self.is_full().then_some(CutReason::Room)
        }
    }

    fn is_full(&self) -> bool {
        let (InFlight { records, bytes, parked, .. }, limits) = (self.gate().in_flight(), self.gate().limits());
        parked > 0 || records >= limits.records || bytes >= limits.bytes
    }

    /// Whether nothing is left to do and nothing can come.
    pub(super) fn has_ended(&self) -> bool {
        self.gate().is_closed() && self.gate().in_flight() == InFlight::default()
    }

    /// Makes the owner tasks look at their queues.
    pub(super) fn notify_lanes(&self) {
        self.lanes.iter().for_each(|lane| lane.changed.notify_one());
    }

    /// Cuts batches at once until the guard is dropped.
    pub(super) fn urgent(self: &Arc<Self>) -> Urgent {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        self.notify_lanes();
        Urgent(Arc::clone(self))
    }

    /// Settles records with their outcomes, in order, and returns their room.
    pub(super) fn settle_all(self: &Arc<Self>, outcomes: impl IntoIterator<Item = Outcome>) {
        let now = self.now();
        let timed = |called_at| move |error: Error| error.with_elapsed(now.saturating_duration_since(called_at));
        let settle = |outcome: Outcome| match outcome {
            Outcome::Record(slot, outcome) => self.settle(&slot, outcome.map_err(timed(slot.called_at()))),
            Outcome::Unit(joined, outcome) => self.settle_unit(&joined, outcome.map_err(timed(joined.called_at))),
        };
        let permits: Vec<_> = outcomes.into_iter().filter_map(settle).collect();
        self.release(permits);
        if self.has_ended() {
            self.notify_lanes();
        }
    }

    /// Makes the lane refuse all records that wait and all later ones.
    pub(super) fn finish(self: &Arc<Self>, lane: &Lane, error: Finished) {
        let mut queue = lane.queue();
        let error = Arc::clone(queue.finished.get_or_insert(error));
        let entries = std::mem::take(&mut queue.entries);
        queue.bytes = 0;
        drop(queue);
        self.settle_all(entries.into_iter().map(|entry| entry.failed(&*error)));
    }

    /// Gives up: refuses parked records, and ends the owner tasks, which settle theirs.
    pub(super) fn give_up(self: &Arc<Self>) {
        const WHY: &str = "the batching layer was closed";
        let stopped = |topic: &str| errors::stopped(topic, Persistence::NotPersisted, WHY);
        // First the lanes, so that parked records that now find room are refused there.
        for lane in &self.lanes {
            self.finish(lane, Arc::new(stopped));
            lane.stop.notify_one();
        }
        self.withdraw(
            |_| true,
            |slot| {
                let _never_admitted = match self.unit_of(&slot) {
                    Some(joined) => self.settle_unit(&joined, Err(stopped(&joined.name))),
                    None => self.settle(&slot, Err(stopped(&slot.record().topic))),
                };
            },
        );
        self.notify_lanes();
    }
}

impl Lane {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    fn producer(&self) -> RwLockReadGuard<'_, Producer> {
        self.producer.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Control of the present transport.
    pub(super) fn control(&self) -> Arc<dyn Control> {
        Arc::clone(&self.producer().control)
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.producer().control.partition_count(topic)
    }

    /// Puts a new transport into the place of the present one.
    pub(super) fn replace(&self, control: Arc<dyn Control>) {
        let mut producer = self.producer.write().unwrap_or_else(PoisonError::into_inner);
        producer.replaced += producer.control.generation() + 1;
        let old = std::mem::replace(&mut producer.control, control);
        drop(producer);
        drop(old);
    }

    /// Sets why nothing is sent at the moment.
    pub(super) fn set_trouble(&self, trouble: Option<Arc<str>>) {
        self.producer.write().unwrap_or_else(PoisonError::into_inner).trouble = trouble;
    }

    pub(super) fn trouble(&self) -> Option<Arc<str>> {
        self.producer().trouble.clone()
    }

    pub(super) fn generation(&self) -> u64 {
        let producer = self.producer();
        producer.replaced + producer.control.generation()
    }
}

impl Queue {
    fn load(&self, limits: &cut::Limits) -> Load {
        let batches = (self.entries.len() / limits.records).max(self.bytes / limits.bytes);
        if self.finished.is_some() {
            Load::Full(usize::MAX)
        } else if batches > 0 {
            Load::Full(batches)
        } else if !self.is_busy {
            Load::Idle
        } else if self.entries.is_empty() {
            Load::Busy
        } else {
            Load::Filling
        }
    }

    fn waiting(&self) -> Waiting {
        let oldest = self.entries.front().map(Entry::called_at);
        Waiting { records: self.entries.len(), bytes: self.bytes, oldest }
    }
}

impl Gated for BatchInner {
    type Item = Arc<Slot<Delivery>>;

    fn gate(&self) -> &Gate<Self::Item> {
        self.ledger.gate()
    }

    /// Puts the record into the queue of its lane.
    fn enqueue(self: &Arc<Self>, slot: Self::Item, permit: Permit) -> Result<(), Permit> {
        if let Some(joined) = self.unit_of(&slot) {
            joined.admit(permit);
            let lane = &self.lanes[joined.lane];
            return self.wait(lane, Entry::Unit(joined)).map_or(Ok(()), Err);
        }
        // Until its batch is sent, no producer has it.
        slot.admit_held(permit);
        let lane = self.lane_of(&slot);
        self.wait(lane, Entry::Record(slot)).map_or(Ok(()), Err)
    }
}

impl BatchInner {
    /// Puts an entry into the queue of its lane. Returns its permit if the lane refuses it.
    fn wait(&self, lane: &Lane, entry: Entry) -> Option<Permit> {
        let mut queue = lane.queue();
        if let Some(finished) = &queue.finished {
            let finished = Arc::clone(finished);
            drop(queue);
            return match entry.failed(&*finished) {
                Outcome::Record(slot, outcome) => self.settle(&slot, outcome),
                Outcome::Unit(joined, outcome) => self.settle_unit(&joined, outcome),
            };
        }
        let limits = &self.settings.cut;
        let is_first = queue.entries.is_empty();
        queue.bytes += entry.size();
        queue.entries.push_back(entry);
        let reached = queue.entries.len() >= limits.records || queue.bytes >= limits.bytes;
        drop(queue);
        // Not for each record: the task would wake up in vain.
        if is_first || reached {
            lane.changed.notify_one();
        }
        None
    }
}

impl RecordTransport for BatchInner {
    type Acknowledgement = Delivery;

    fn ledger(&self) -> &Ledger<Delivery> {
        &self.ledger
    }

    fn failed(&self, _: &Slot<Delivery>, _: &Error) {}

    fn deadline_changed(self: &Arc<Self>) {
        self.expiry.notify_one();
    }

    /// The task that keeps deadlines may be on a runtime that nothing drives.
    async fn timer(&self, at: std::time::Instant) {
        if Handle::try_current().is_err() {
            return std::future::pending().await;
        }
        sleep_until(at.into()).await;
    }

    fn reasons(&self) -> impl Fn(&Slot<Delivery>) -> Option<String> {
        |slot: &Slot<Delivery>| self.lane_of(slot).trouble().map(|trouble| trouble.to_string())
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }
}

impl Drop for BatchInner {
    fn drop(&mut self) {
        self.expiry.notify_one();
    }
}

impl fmt::Debug for BatchInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchInner").field("lanes", &self.lanes.len()).field("ledger", &self.ledger).finish()
    }
}

/// Cuts batches at once while it is there.
#[derive(Debug)]
pub(super) struct Urgent(Arc<BatchInner>);

impl Drop for Urgent {
    fn drop(&mut self) {
        self.0.flushes.fetch_sub(1, Ordering::SeqCst);
    }
}
