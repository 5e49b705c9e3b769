//! What the handles of a transport and its event loop share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kafka_tower_core::gate::{Gate, Permit};
use kafka_tower_core::{CloseReport, Error, ErrorKind, Persistence, Record, Result, Scope};
use rdkafka::ClientConfig;
use tokio::sync::oneshot;

use crate::causes::{Ago, Causes};
use crate::classify;
use crate::clock;
use crate::codes;
use crate::event_loop;
use crate::events::ClientEvents;
use crate::expiry::ExpiryQueue;
use crate::ffi::Client;
use crate::log::Log;
use crate::properties;
use crate::refresh::Partitions;
use crate::slot::{Acknowledged, Expiry, Slot};
use crate::transactions::{self, TxnState};

pub(crate) struct Shared {
    pub(crate) client: Client,
    /// For records that must be alone in their batch; made when the first one comes.
    alone: Mutex<Option<Arc<Second>>>,
    me: Weak<Self>,
    config: ClientConfig,
    pub(crate) gate: Arc<Gate<Arc<Slot>>>,
    expiry: Mutex<ExpiryQueue>,
    causes: Mutex<Causes>,
    pub(crate) log: Log,
    pub(crate) partitions: Partitions,
    pub(crate) transactions: TxnState,
    /// How long a record may be on its way, whatever its deadline.
    delivery_bound: Duration,
    /// Records admitted for each partition of a topic.
    per_partition: Option<(Arc<str>, usize)>,
    pub(crate) events: Option<Arc<dyn ClientEvents>>,
    facts: Mutex<Facts>,
    facts_changed: Condvar,
    closing: Mutex<Closing>,
    counting: AtomicBool,
}

/// A second producer with an event loop of its own.
pub(crate) struct Second {
    pub(crate) client: Client,
    pub(crate) stop: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Second {
    fn end(&self) {
        self.stop.store(true, Ordering::Release);
        self.client.wake();
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the event loop of the second producer had panicked");
        }
        self.client.destroy();
    }

    /// Gives up what it has, lets its event loop report that, and ends it.
    fn end_when_settled(&self) {
        self.client.purge();
        // librdkafka reports a purge at once; the loop serves all that is queued before it sees the wish to stop.
        self.client.flush(Duration::from_secs(1));
        self.end();
    }
}

/// What the connection check waits for.
#[derive(Clone, Default)]
pub(crate) struct Facts {
    pub(crate) producer_id: bool,
    pub(crate) fatal: Option<(i32, String)>,
    pub(crate) denied: Option<(i32, String)>,
}

#[derive(Default)]
struct Closing {
    deadline: Option<Instant>,
    report: CloseReport,
    waiting: Vec<oneshot::Sender<()>>,
    done: bool,
}

/// A time so much later, or one that nobody lives to see where the clock ends.
pub(crate) fn later(time: Instant, by: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);
    time.checked_add(by.min(YEARS)).unwrap_or(time)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in these states is left half changed by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(
        client: Client,
        config: ClientConfig,
        gate: Arc<Gate<Arc<Slot>>>,
        events: Option<Arc<dyn ClientEvents>>,
        delivery_bound: Duration,
        per_partition: Option<(Arc<str>, usize)>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            client,
            alone: Mutex::default(),
            me: Weak::clone(me),
            config,
            gate,
            expiry: Mutex::default(),
            causes: Mutex::default(),
            log: Log::default(),
            partitions: Partitions::default(),
            transactions: TxnState::default(),
            delivery_bound,
            per_partition,
            events,
            facts: Mutex::default(),
            facts_changed: Condvar::new(),
            closing: Mutex::default(),
            counting: AtomicBool::new(false),
        })
    }

    // ---- records

    /// Hands an admitted record over; a refusal settles it and gives its room back.
    pub(crate) fn enqueue(&self, slot: Arc<Slot>, permit: Permit) -> Result<(), Permit> {
        slot.admit(permit);
        let second = if slot.record().isolated { Some(self.second()) } else { None };
        let second = match second.transpose() {
            Ok(second) => second,
            Err(error) => return self.settle(&slot, Err(error)).map_or(Ok(()), Err),
        };
        let client = second.as_ref().map_or(&self.client, |second| &second.client);
        let Err((code, slot)) = client.produce(slot) else { return Ok(()) };
        let error = self.refused(code, &slot, client);
        self.settle(&slot, Err(error)).map_or(Ok(()), Err)
    }

    /// Hands over a record that was parked, unless its time is up.
    pub(crate) fn enqueue_parked(&self, slot: Arc<Slot>, permit: Permit) -> Result<(), Permit> {
        let now = Instant::now();
        let enqueued = if slot.record().expires_at.is_none_or(|at| now < at) {
            self.enqueue(slot, permit)
        } else {
            slot.admit(permit);
            let error = self.expired(&slot, false, now);
            self.settle(&slot, Err(error)).map_or(Ok(()), Err)
        };
        if enqueued.is_err() {
            self.transactions.part_lost();
        }
        enqueued
    }

    fn second(&self) -> Result<Arc<Second>> {
        let mut alone = lock(&self.alone);
        if let Some(second) = alone.as_ref() {
            return Ok(Arc::clone(second));
        }
        let mut config = self.config.clone();
        config.set("batch.num.messages", "1");
        let client = Client::create(&config).map_err(|error| properties::creation_error(&error, &self.config))?;
        let second = Arc::new(Second { client, stop: AtomicBool::new(false), thread: Mutex::default() });
        let gone = || Error::new(ErrorKind::Closed, "the transport is closed");
        let shared = self.me.upgrade().ok_or_else(gone)?;
        let thread = event_loop::spawn_second(shared, Arc::clone(&second)).map_err(event_loop::no_thread)?;
        *lock(&second.thread) = Some(thread);
        Ok(Arc::clone(alone.insert(second)))
    }

    fn refused(&self, code: i32, slot: &Slot, client: &Client) -> Error {
        let record = slot.record();
        let elapsed = slot.called_at().elapsed();
        let error = match code {
            codes::LOCAL_FATAL => match client.fatal_error() {
                Some((_, text)) => Error::new(
                    ErrorKind::Fatal,
                    format!("not delivered to {}: the producer had ended before: {text}", record.topic),
                ),
                None => classify::record_error(code, 0, record, elapsed),
            },
            codes::MESSAGE_TOO_LARGE => {
                let limit = self.config.get("message.max.bytes").unwrap_or("1000000");
                let size = record.size();
                let text = format!(
                    "a record of {size} bytes for {} is larger than the client's message.max.bytes ({limit})",
                    record.topic
                );
                Error::new(ErrorKind::RecordTooLarge, text).with_error_type("MESSAGE_TOO_LARGE")
            }
            _ => classify::record_error(code, 0, record, elapsed),
        };
        let scope = if error.scope() == Scope::Batch { Scope::Record } else { error.scope() };
        self.explained(error, record)
            .with_scope(scope)
            .with_elapsed(elapsed)
            .with_persistence(Persistence::NotPersisted)
    }

    /// A record's fate is known: tells the caller, counts it if the transport is closing, gives its room back.
    pub(crate) fn settle(&self, slot: &Slot, outcome: Result<Acknowledged>) -> Option<Permit> {
        if outcome.is_err() {
            self.transactions.part_failed();
        }
        if self.counting.load(Ordering::Acquire) {
            lock(&self.closing).report.count(slot.record().clone(), &outcome);
        }
        slot.settle(outcome)
    }

    // ---- time

    /// Looks at the record again when its deadline has passed, and when it was on its way for too long.
    pub(crate) fn watch(&self, slot: &Arc<Slot>) {
        let bound = self.bound(slot);
        let at = slot.record().expires_at.map_or(bound, |deadline| deadline.min(bound));
        let mut expiry = lock(&self.expiry);
        let first = expiry.push(at, slot);
        let settled = expiry.take_settled();
        drop(expiry);
        if first {
            self.client.wake();
        }
        drop(settled); // not under the lock: what is in a record may be foreign code
    }

    /// Leaves settled records to those who call: memory is freed best where it was taken. Two threads that free and take it
    /// from one arena wait for each other.
    pub(crate) fn leave(&self, settled: &mut Vec<Arc<Slot>>) {
        lock(&self.expiry).leave(settled);
    }

    /// Frees what was left to those who call, if nobody did since the last time.
    pub(crate) fn tidy(&self) {
        // A statement of its own: not under the lock, as above.
        let forsaken = lock(&self.expiry).forsaken();
        if forsaken.is_some() {
            drop(forsaken);
            lock(&self.expiry).pop_gone(usize::MAX);
        }
    }

    fn bound(&self, slot: &Slot) -> Instant {
        later(slot.called_at(), self.delivery_bound.saturating_add(clock::TICK))
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        lock(&self.expiry).next()
    }

    /// Tells those whose time is up, withdraws them if they were not handed over, and gives all up that is on its way when
    /// one of them has been for too long.
    pub(crate) fn expire(&self, now: Instant) {
        let is_due = |slot: &Slot| slot.record().expires_at.is_some_and(|at| at <= now) || self.bound(slot) <= now;
        let (mut parked, mut overdue) = (Vec::new(), false);
        loop {
            // A statement of its own: callers are woken without the lock.
            let due = lock(&self.expiry).pop(now);
            let Some(slot) = due else { break };
            let deadline_passed = slot.record().expires_at.is_some_and(|at| at <= now);
            if slot.is_parked() {
                parked.push(slot);
                continue;
            }
            if deadline_passed && matches!(slot.expire(|| self.expired(&slot, true, now)), Expiry::Parked) {
                parked.push(slot);
            } else if !slot.is_settled() {
                let bound = self.bound(&slot);
                if bound <= now {
                    overdue = true;
                } else {
                    lock(&self.expiry).push(bound, &slot);
                }
            }
        }
        if !parked.is_empty() {
            let settle = |slot: Arc<Slot>| {
                let error = self.expired(&slot, false, now);
                self.transactions.part_lost();
                let _never_admitted = self.settle(&slot, Err(error));
            };
            self.gate.withdraw(|slot| is_due(slot), settle, |slot, permit| self.enqueue_parked(slot, permit));
            // One that is being handed over at this moment is looked at again.
            for slot in parked.into_iter().filter(|slot| !slot.is_settled()) {
                lock(&self.expiry).push(now, &slot);
            }
        }
        if overdue {
            let left = self.gate.in_flight();
            tracing::error!(
                records = left.records,
                bound = ?self.delivery_bound,
                "a record was without an answer for too long: all that are on their way are given up"
            );
            self.purge();
        }
    }

    /// What the code says, with what is known of the topic.
    pub(crate) fn explained(&self, error: Error, record: &Record) -> Error {
        match (error.kind(), record.partition, self.partitions.get(&record.topic)) {
            (ErrorKind::UnknownTopicOrPartition, Some(partition), Some(count)) if partition as u32 >= count => {
                error.with_help(format!("{} has {count} partitions, and they count from 0", record.topic))
            }
            _ => error,
        }
    }

    /// The error of a record that librdkafka was told to give up.
    pub(crate) fn given_up(&self, slot: &Slot, persistence: Persistence) -> Option<Error> {
        if self.counting.load(Ordering::Acquire) {
            return None;
        }
        let topic = &slot.record().topic;
        if self.transactions.aborting.load(Ordering::Acquire) {
            return Some(transactions::aborted(topic, persistence));
        }
        let now = Instant::now();
        let cause = self.causes().latest(now).map(|cause| format!("; {}", Ago(cause, now))).unwrap_or_default();
        let bound = classify::seconds(self.delivery_bound);
        let text = format!("not delivered to {topic}: given up, because a record had no answer within {bound}{cause}");
        Some(Error::new(ErrorKind::Timeout, text).with_persistence(persistence))
    }

    /// The number of a topic's partitions is known, or has changed.
    pub(crate) fn partitions_changed(&self) {
        let Some((topic, records)) = &self.per_partition else { return };
        let Some(partitions) = self.partitions.get(topic) else { return };
        let mut limits = self.gate.limits();
        let records = records.saturating_mul(partitions as usize);
        if limits.records != records {
            limits.records = records;
            self.gate.set_limits(limits, |slot, permit| self.enqueue_parked(slot, permit));
        }
    }

    fn expired(&self, slot: &Slot, handed_over: bool, now: Instant) -> Error {
        classify::expired(slot.record(), handed_over, slot.called_at(), now, lock(&self.causes).latest(now))
    }

    // ---- errors of the client

    pub(crate) fn causes(&self) -> MutexGuard<'_, Causes> {
        lock(&self.causes)
    }

    pub(crate) fn change_facts(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut lock(&self.facts));
        self.facts_changed.notify_all();
    }

    /// Waits until the facts answer, or the deadline passed.
    pub(crate) fn wait_for_facts<R>(&self, until: Instant, mut answer: impl FnMut(&Facts) -> Option<R>) -> Option<R> {
        let mut facts = lock(&self.facts);
        loop {
            if let Some(answer) = answer(&facts) {
                return Some(answer);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            facts = self.facts_changed.wait_timeout(facts, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    // ---- the end

    /// No new records; those on their way have until the deadline.
    pub(crate) fn begin_close(&self, within: Duration) -> Option<oneshot::Receiver<()>> {
        let deadline = later(Instant::now(), within);
        let mut closing = lock(&self.closing);
        closing.deadline = Some(closing.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        self.counting.store(true, Ordering::Release);
        let (sender, receiver) = oneshot::channel();
        if !closing.done {
            closing.waiting.push(sender);
        }
        let done = closing.done;
        drop(closing);
        self.gate.close();
        self.client.wake();
        (!done).then_some(receiver)
    }

    pub(crate) fn close_deadline(&self) -> Option<Instant> {
        if !self.counting.load(Ordering::Acquire) {
            return None;
        }
        lock(&self.closing).deadline
    }

    /// All records are settled: those who wait for it are told, and then the producers end, which takes its time where a
    /// broker's name is being resolved.
    pub(crate) fn end(&self) {
        {
            let mut closing = lock(&self.closing);
            closing.done = true;
            for waiting in closing.waiting.drain(..) {
                let _nobody_waits_any_more = waiting.send(());
            }
        }
        let second = lock(&self.alone).take();
        if let Some(second) = second {
            second.end();
        }
        self.client.destroy();
        let settled = lock(&self.expiry).take_all_settled();
        drop(settled);
    }

    /// Records whose fate librdkafka did not tell.
    pub(crate) fn count_lost(&self, records: u64) {
        lock(&self.closing).report.unknown += records;
    }

    /// A producer that has ended takes no more isolated records: the next one gets a new one.
    pub(crate) fn retire(&self, client: &Client) {
        let retired = {
            let mut alone = lock(&self.alone);
            match alone.as_ref() {
                Some(second) if std::ptr::eq(&second.client, client) => alone.take(),
                _ => None,
            }
        };
        if let Some(second) = retired {
            // Not here: this is its own event loop. Its last records are reported first.
            let end = move || second.end_when_settled();
            if let Err(error) = std::thread::Builder::new().name("kafka-tower-retire".to_owned()).spawn(end) {
                tracing::warn!(%error, "no thread to end a producer");
            }
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        lock(&self.closing).done
    }

    pub(crate) fn take_report(&self) -> CloseReport {
        std::mem::take(&mut lock(&self.closing).report)
    }

    pub(crate) fn purge(&self) {
        self.client.purge();
        if let Some(second) = lock(&self.alone).as_ref() {
            second.client.purge();
        }
    }

    pub(crate) fn flush(&self, timeout: Duration) {
        if let Some(second) = lock(&self.alone).as_ref() {
            second.client.flush(Duration::ZERO);
        }
        self.client.flush(timeout);
    }
}
