//! State shared by all handles, behind one lock: the store, the script, and the records in flight.
//!
//! Settled records are taken out under the lock and reported outside it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use kafka_tower_core::ledger::Slot;
use kafka_tower_core::sync::lock;
use kafka_tower_core::wakers::wake_all;
use kafka_tower_core::{Delivery, InFlight};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use crate::errors;
use crate::faults::plan::Plan;
use crate::groups::MemberId;
use crate::log::Log;
use crate::partition_queue::{Entry, PartitionQueue, Sent, Settled};
use crate::script::{Case, CaseId, Script};
use crate::source::CommitFault;
use crate::store::Store;
use crate::transaction::script::HeldEnd;
use crate::waits::{WaitId, Waits};

mod client;
mod clock;
mod consumers;
mod inspect;
mod leader;
mod transaction;

pub use clock::EPOCH;

pub(crate) use client::{BrokerClient, Recipient};
use clock::{Clock, is_ahead};
pub(crate) use consumers::Fetched;
use leader::{LeaderOf, next_action};
pub(crate) use transaction::Reply;

pub(crate) struct Broker<C> {
    state: Mutex<State<C>>,
}

struct State<C> {
    store: Store,
    script: Script,
    transaction_script: crate::transaction::script::Script,
    /// Faults drawn from a seed, for records that no script rule takes.
    plan: Option<Plan>,
    /// Wakers of consumers that wait for any change.
    readers: BTreeMap<MemberId, Waker>,
    /// What happens to the next commits of sources.
    commit_faults: VecDeque<CommitFault>,
    waits: Waits,
    queues: BTreeMap<(Arc<str>, i32), PartitionQueue<Recipient<C>>>,
    clock: Clock,
}

impl<C> Default for State<C> {
    fn default() -> Self {
        Self {
            store: Store::default(),
            script: Script::default(),
            transaction_script: crate::transaction::script::Script::default(),
            plan: None,
            readers: BTreeMap::new(),
            commit_faults: VecDeque::new(),
            waits: Waits::default(),
            queues: BTreeMap::new(),
            clock: Clock::default(),
        }
    }
}

impl<C: BrokerClient> State<C> {
    /// Applies everything that was due since the last access. The effect is the same as with a timer.
    fn catch_up(&mut self, now: Instant) {
        for HeldEnd { id, who, commit } in self.transaction_script.due(now) {
            // The client has stopped waiting for the reply.
            let _ = self.store.end(&id, who, commit);
        }
        self.store.expire(now);
    }

    fn advance_all(&mut self, now: Instant) -> Vec<Settled<Recipient<C>>> {
        let mut settled = Vec::new();
        let Self { store, script, plan, waits, queues, .. } = self;
        for queue in queues.values_mut() {
            let partition = queue.partition();
            let mut leader = LeaderOf { partition, store, script, plan, now };
            queue.advance(&mut leader, waits, now, &mut |entry| settled.push(entry));
        }
        settled
    }
}

impl<C: BrokerClient> Broker<C> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default() })
    }

    /// Accepts a record: its position in the partition is fixed when this returns. Returns the record if it is
    /// settled at once.
    pub(crate) fn produce(self: &Arc<Self>, who: Recipient<C>, now: Instant) -> Option<Settled<Recipient<C>>> {
        // Most records are settled at once and alone. One that ends a batch settles others, too.
        let (mut own, mut others) = (None, Vec::new());
        let slot = Arc::clone(&who.slot);
        let record = slot.record();
        let mut guard = self.lock();
        let state = &mut *guard;
        if who.client.has_given_up() {
            let outcome = Err(errors::after_close(&record.topic));
            return Some(Settled { who, outcome });
        }
        let partition = match state.store.log.route(record, || who.client.next_position(&record.topic)) {
            Ok(partition) => partition,
            Err(error) => {
                return Some(Settled { who, outcome: Err(error) });
            }
        };
        let mut action = next_action(&mut state.script, &mut state.plan, record, partition, false);
        if !action.append_late.is_zero() {
            action.append_hold = Some(state.waits.at(now.checked_add(action.append_late)));
        }
        let timestamp = record.timestamp.unwrap_or_else(|| state.clock.timestamp(now));
        let misdated = record.timestamp.is_some_and(|timestamp| is_ahead(timestamp, state.clock.timestamp(now)));
        let key = (Arc::clone(&record.topic), partition);
        let queue = state.queues.entry(key).or_insert_with(|| PartitionQueue::new(partition));
        let batching = who.client.batching().filter(|_| !record.isolated);
        let owner = Arc::as_ptr(&who.client) as usize;
        let entry = Entry::new(who, timestamp, action, now).misdated(misdated);
        match batching {
            Some(batching) => queue.push_batched(entry, owner, batching, &mut state.waits, now),
            None => queue.push(entry, &mut state.waits),
        }
        let State { store, script, plan, .. } = state;
        let mut leader = LeaderOf { partition, store, script, plan, now };
        queue.advance(&mut leader, &mut state.waits, now, &mut |settled| {
            if Arc::ptr_eq(&settled.who.slot, &slot) {
                own = Some(settled);
            } else {
                others.push(settled);
            }
        });
        let unwatched = state.waits.take_unwatched();
        let readers = state.take_readers();
        drop(guard);
        self.watch(unwatched);
        wake_all(readers);
        // The caller reports its own.
        others.into_iter().for_each(C::report);
        own
    }

    /// Ends a hold, and the rule that it belongs to.
    pub(crate) fn release(self: &Arc<Self>, case: CaseId, wait: WaitId) {
        let mut cancelled = None;
        self.change(|state, _| {
            cancelled = state.script.cancel(case);
            state.waits.end(wait);
        });
    }

    /// Sends the lingering batches of a client.
    pub(crate) fn end_batches(self: &Arc<Self>, client: &Arc<C>) {
        if client.batching().is_some() {
            let owner = Arc::as_ptr(client) as usize;
            self.change(|State { queues, waits, .. }, _| {
                queues.values_mut().for_each(|queue| queue.end_batch_of(owner, waits));
            });
        }
    }

    fn end_timers(self: &Arc<Self>, at: Instant) {
        self.change(|state, now| state.waits.end_until(now.max(at)));
    }

    fn fail_timers(self: &Arc<Self>, at: Instant) {
        self.change(|state, _| {
            let dead = state.waits.end_at(at);
            state.queues.values_mut().for_each(|queue| queue.fail_timers(&dead));
        });
    }

    /// Applies a change that records may wait for, and reports the records that it settles.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut State<C>, Instant)) {
        let now = Instant::now();
        let mut state = self.lock();
        change(&mut state, now);
        let settled = state.advance_all(now);
        let unwatched = state.waits.take_unwatched();
        let readers = state.take_readers();
        drop(state);
        self.watch(unwatched);
        wake_all(readers);
        settled.into_iter().for_each(C::report);
    }

    /// Spawns one task for each instant at which a wait ends.
    fn watch(self: &Arc<Self>, instants: Vec<Instant>) {
        for at in instants {
            let watch = Watch { broker: Arc::clone(self), at, fired: false };
            // Without a runtime the watch is dropped here, which fails the records that wait for it.
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(watch.run());
            }
        }
    }

    /// Takes what is needed to give up the client's records in flight. The records themselves continue.
    pub(crate) fn give_up(&self, client: &Arc<C>) -> Vec<Arc<Slot<Delivery>>> {
        let state = self.lock();
        client.set_given_up();
        let entries = state.queues.values().flat_map(PartitionQueue::entries);
        let own = entries.filter(|entry| Arc::ptr_eq(&entry.who.client, client));
        own.map(|entry| Arc::clone(&entry.who.slot)).collect()
    }

    /// Returns an id that no other producer has.
    pub(crate) fn new_producer_id(&self) -> i64 {
        self.lock().store.new_producer_id()
    }

    pub(crate) fn add_case(&self, case: Case) -> CaseId {
        self.lock().script.add(case)
    }

    /// Adds a rule whose action needs a wait of its own.
    pub(crate) fn add_hold(&self, mut case: Case, append: bool) -> (CaseId, WaitId) {
        let mut state = self.lock();
        let wait = state.waits.hold();
        let hold = if append { &mut case.action.append_hold } else { &mut case.action.answer_hold };
        *hold = Some(wait);
        (state.script.add(case), wait)
    }

    pub(crate) fn with_script<T>(&self, look: impl FnOnce(&mut Script) -> T) -> T {
        look(&mut self.lock().script)
    }

    pub(crate) fn set_plan(&self, plan: Option<Plan>) {
        self.lock().plan = plan;
    }

    pub(crate) fn with_plan<T>(&self, look: impl FnOnce(&Plan) -> T) -> Option<T> {
        self.lock().plan.as_ref().map(look)
    }

    pub(crate) fn with_log<T>(&self, look: impl FnOnce(&mut Log) -> T) -> T {
        look(&mut self.lock().store.log)
    }

    pub(crate) fn held_by(&self, wait: WaitId) -> usize {
        self.lock().queues.values().map(|queue| queue.held_by(wait)).sum()
    }

    pub(crate) fn unanswered(&self) -> InFlight {
        let state = self.lock();
        let mut sum = InFlight::default();
        for entry in state.queues.values().flat_map(PartitionQueue::entries) {
            sum.records += 1;
            sum.bytes += entry.who.record().size();
        }
        sum
    }

    pub(crate) fn with_store<T>(&self, look: impl FnOnce(&mut Store) -> T) -> T {
        let mut state = self.lock();
        let looked = look(&mut state.store);
        let readers = state.take_readers();
        drop(state);
        wake_all(readers);
        looked
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        let mut state = lock(&self.state);
        if state.store.has_transactions() {
            state.catch_up(Instant::now());
        }
        state
    }
}

impl<C> fmt::Debug for Broker<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

/// Ends the timers of an instant. If the runtime ends before that, it fails them, so that no record waits for ever.
struct Watch<C: BrokerClient> {
    broker: Arc<Broker<C>>,
    at: Instant,
    fired: bool,
}

impl<C: BrokerClient> Watch<C> {
    async fn run(mut self) {
        sleep_until(self.at).await;
        self.fired = true;
        self.broker.end_timers(self.at);
    }
}

impl<C: BrokerClient> Drop for Watch<C> {
    fn drop(&mut self) {
        if !self.fired {
            self.broker.fail_timers(self.at);
        }
    }
}
