//! What the handles of a transport and its event loop share.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use kafka_tower_core::gate::{Gate, Permit};
use kafka_tower_core::outstanding::Outstanding;
use kafka_tower_core::{Error, ErrorKind, Persistence, Record, Result, Scope, TransactionEnd, text};
use rdkafka::ClientConfig;
use tokio::sync::oneshot;

use crate::alone::{Alone, Second};
use crate::causes::Causes;
use crate::classify;
use crate::clock;
use crate::closing::Closing;
use crate::codes;
use crate::events::ClientEvents;
use crate::expiry::ExpiryQueue;
use crate::explain::{Explanation, Wait, explain};
use crate::facts::Known;
use crate::ffi::Client;
use crate::held::Held;
use crate::lines::Line;
use crate::listen;
use crate::log::{Log, Source};
use crate::peers::Peer;
use crate::properties;
use crate::refresh::Partitions;
use crate::replace::Why;
use crate::slot::{Acknowledged, Expiry, Slot};
use crate::transactions::{self, TxnState};

pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) alone: Alone,
    me: Weak<Self>,
    config: ClientConfig,
    pub(crate) gate: Arc<Gate<Arc<Slot>>>,
    expiry: Mutex<ExpiryQueue>,
    causes: Mutex<Causes>,
    /// Whether a delivery would end a cause: read for each report of a batch, without the lock.
    pub(crate) suspects: AtomicBool,
    pub(crate) log: Log,
    pub(crate) partitions: Partitions,
    pub(crate) held: Held,
    /// How many times the client was replaced.
    pub(crate) generation: AtomicU64,
    /// While the instance before gives up what it has.
    pub(crate) replaced_for: Mutex<Option<Why>>,
    pub(crate) transactions: TxnState,
    /// How long a record may be on its way, whatever its deadline.
    delivery_bound: Duration,
    /// Records admitted for each partition of a topic.
    per_partition: Option<(Arc<str>, usize)>,
    pub(crate) events: Option<Arc<dyn ClientEvents>>,
    pub(crate) facts: Arc<Known>,
    pub(crate) closing: Closing,
    /// Failures that their callers' futures have not seen.
    pub(crate) unseen: Outstanding<()>,
}

/// How long ago an error may be for [`Shared::last_error`].
const LATELY: Duration = Duration::from_secs(60);
/// How long a broker may take for an answer before [`Shared::last_error`] names it.
const PATIENCE: Duration = Duration::from_secs(1);

/// When records are looked at again that were on their way for too long and stay there.
const OVERDUE_AGAIN: Duration = Duration::from_secs(1);

/// What is seen of the brokers at one moment, for all records whose time is up then.
struct Sight {
    peers: Vec<Peer>,
    second: Vec<Peer>,
    /// What the log is told of it. Written by [`Shared::tell`], because the error of a record is made under the record's lock.
    line: OnceCell<String>,
}

/// A time so much later, or one that nobody lives to see where the clock ends.
pub(crate) fn later(time: Instant, by: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);
    time.checked_add(by.min(YEARS)).unwrap_or(time)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
            alone: Alone::default(),
            me: Weak::clone(me),
            config,
            gate,
            expiry: Mutex::default(),
            causes: Mutex::default(),
            suspects: AtomicBool::new(false),
            log: Log::default(),
            partitions: Partitions::default(),
            held: Held::default(),
            generation: AtomicU64::new(0),
            replaced_for: Mutex::default(),
            transactions: TxnState::default(),
            delivery_bound,
            per_partition,
            events,
            facts: Arc::default(),
            closing: Closing::default(),
            unseen: Outstanding::new(),
        })
    }

    pub(crate) fn arc(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// How long librdkafka waits for an answer to a request.
    pub(crate) fn question_time(&self) -> Duration {
        let millis = self.config.get("socket.timeout.ms").and_then(|millis| millis.parse().ok());
        Duration::from_millis(millis.unwrap_or(60_000))
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
        let Some(second) = second else { return self.produce(slot) };
        let client = &second.client;
        let Err((code, slot)) = client.produce_held(slot) else { return Ok(()) };
        let error = self.refused(code, &slot, client);
        self.settle(&slot, Err(error)).map_or(Ok(()), Err)
    }

    fn produce(&self, slot: Arc<Slot>) -> Result<(), Permit> {
        let Err((code, slot)) = self.client.produce(slot, |slot| self.held.push(slot)) else { return Ok(()) };
        match self.hold_for_a_look(code, slot) {
            Ok(()) => Ok(()),
            Err(slot) => {
                let error = self.refused(code, &slot, &self.client);
                self.settle(&slot, Err(error)).map_or(Ok(()), Err)
            }
        }
    }

    /// Hands over a record that was parked, unless its time is up.
    pub(crate) fn enqueue_parked(&self, slot: Arc<Slot>, permit: Permit) -> Result<(), Permit> {
        let now = Instant::now();
        let enqueued = if slot.record().expires_at.is_none_or(|at| now < at) {
            slot.leave_gate(now);
            self.enqueue(slot, permit)
        } else {
            slot.admit(permit);
            let sight = self.sight();
            let error = self.expired(&slot, false, now, &sight);
            self.tell(sight, now);
            self.settle(&slot, Err(error)).map_or(Ok(()), Err)
        };
        if enqueued.is_err() {
            self.transactions.part_lost();
        }
        enqueued
    }

    fn second(&self) -> Result<Arc<Second>> {
        let gone = || Error::new(ErrorKind::Closed, "the transport is closed");
        self.alone.get_or_start(&self.config, || self.me.upgrade().ok_or_else(gone))
    }

    pub(crate) fn refused(&self, code: i32, slot: &Slot, client: &Client) -> Error {
        let record = slot.record();
        let elapsed = slot.called_at().elapsed();
        let error = match code {
            codes::LOCAL_FATAL => match client.fatal_error() {
                Some((_, text)) => Error::new(
                    ErrorKind::Fatal,
                    format!("not delivered to {}: the producer had ended before: {text}", record.topic),
                ),
                None => classify::record_error(code, Persistence::NotPersisted, record, elapsed),
            },
            codes::MESSAGE_TOO_LARGE => {
                let limit = self.config.get("message.max.bytes").unwrap_or("1000000");
                let size = record.size();
                let text = format!(
                    "a record of {size} bytes for {} is larger than the client's message.max.bytes ({limit})",
                    record.topic
                );
                Error::new(ErrorKind::RecordTooLarge, text)
                    .with_error_type("MESSAGE_TOO_LARGE")
                    .with_help("send less in one record, or raise message.max.bytes")
            }
            _ => classify::record_error(code, Persistence::NotPersisted, record, elapsed),
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
        self.closing.count(slot.record(), &outcome);
        slot.settle(outcome, Some(&self.unseen))
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

    /// Tells those whose time is up, and withdraws them if they were not handed over. Those that are on their way for too long
    /// it gives back.
    pub(crate) fn expire(&self, now: Instant) -> Vec<Arc<Slot>> {
        let is_due = |slot: &Slot| slot.record().expires_at.is_some_and(|at| at <= now) || self.bound(slot) <= now;
        let (mut parked, mut overdue) = (Vec::new(), Vec::new());
        let sight = OnceCell::new();
        let expired = |slot: &Slot, admitted, handed_over| {
            self.expired_with(slot, admitted, handed_over, now, sight.get_or_init(|| self.sight()))
        };
        loop {
            // A statement of its own: callers are woken without the lock.
            let due = lock(&self.expiry).pop(now);
            let Some(slot) = due else { break };
            let deadline_passed = slot.record().expires_at.is_some_and(|at| at <= now);
            if slot.is_parked() {
                parked.push(slot);
                continue;
            }
            // Before the record is locked: the client's lock may be held by one that waits for the record's.
            sight.get_or_init(|| self.sight());
            let on_its_way = |handed_over| expired(&slot, true, handed_over);
            if deadline_passed && matches!(slot.expire(now, on_its_way, &self.unseen), Expiry::Parked) {
                parked.push(slot);
            } else if !slot.is_settled() {
                let bound = self.bound(&slot);
                if bound <= now {
                    overdue.push(slot);
                } else {
                    lock(&self.expiry).push(bound, &slot);
                }
            }
        }
        if !parked.is_empty() {
            let settle = |slot: Arc<Slot>| {
                let error = expired(&slot, false, false);
                self.transactions.part_lost();
                let _never_admitted = self.settle(&slot, Err(error));
            };
            self.gate.withdraw(|slot| is_due(slot), settle, |slot, permit| self.enqueue_parked(slot, permit));
            // One that is being handed over at this moment is looked at again.
            for slot in parked.into_iter().filter(|slot| !slot.is_settled()) {
                lock(&self.expiry).push(now, &slot);
            }
        }
        if let Some(sight) = sight.into_inner() {
            self.tell(sight, now);
        }
        overdue
    }

    /// Looks again at records that were on their way for too long: their client may be replaced then.
    pub(crate) fn look_again(&self, overdue: &[Arc<Slot>], at: Instant) {
        for slot in overdue {
            lock(&self.expiry).push(at, slot);
        }
    }

    /// Tells the callers of records that were on their way for too long, and lets the client keep those.
    pub(crate) fn tell_overdue(&self, overdue: &[Arc<Slot>], now: Instant) {
        let sight = self.sight();
        for slot in overdue {
            let error = |handed_over| {
                let persistence = if handed_over { Persistence::PossiblyPersisted } else { Persistence::NotPersisted };
                self.overdue(slot, persistence, now, &sight)
            };
            slot.expire(now, error, &self.unseen);
        }
        self.look_again(overdue, later(now, OVERDUE_AGAIN));
    }

    /// Gives up all that is on its way.
    pub(crate) fn give_up_overdue(&self) {
        let left = self.gate.in_flight();
        tracing::error!(
            records = left.records,
            bound = ?self.delivery_bound,
            "a record was without an answer for too long: all that are on their way are given up"
        );
        self.purge();
    }

    /// Records that the client has and whose callers wait. Records of the second producer are not among them.
    pub(crate) fn on_their_way(&self) -> Vec<Arc<Slot>> {
        // A statement of its own: what is dropped may be foreign code.
        let mut all = lock(&self.expiry).all();
        all.retain(|slot| !slot.record().isolated && slot.is_on_its_way());
        all
    }

    /// What the code says, with what is known of the topic.
    pub(crate) fn explained(&self, error: Error, record: &Record) -> Error {
        match (error.kind(), record.partition, self.partitions.get(&record.topic)) {
            (ErrorKind::UnknownTopicOrPartition, Some(partition), Some(count)) if partition as u32 >= count => error
                .with_help(format!(
                    "{} has {}, and they count from 0",
                    record.topic,
                    text::count(count as usize, "partition")
                )),
            _ => error,
        }
    }

    /// The error of a record that librdkafka was told to give up.
    pub(crate) fn given_up(&self, slot: &Slot, partition: i32, persistence: Persistence) -> Option<Error> {
        if let Some(error) = self.given_up_by_old(slot, partition, persistence) {
            return Some(error);
        }
        let topic = &slot.record().topic;
        if self.transactions.aborting.load(Ordering::Acquire) {
            return Some(transactions::aborted(topic, persistence));
        }
        if self.closing.has_begun() {
            return None;
        }
        Some(self.overdue(slot, persistence, Instant::now(), &self.sight()))
    }

    fn overdue(&self, slot: &Slot, persistence: Persistence, now: Instant, sight: &Sight) -> Error {
        let topic = &slot.record().topic;
        let why = self.why(slot, true, now, sight);
        let cause = why.map(|why| format!("; {}", why.text)).unwrap_or_default();
        let bound = classify::seconds(self.delivery_bound);
        let text =
            format!("the delivery to {topic} was given up, because a record had no answer within {bound}{cause}");
        Error::new(ErrorKind::Timeout, text).with_persistence(persistence)
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

    fn expired(&self, slot: &Slot, handed_over: bool, now: Instant, sight: &Sight) -> Error {
        let why = self.why(slot, handed_over, now, sight);
        if let Some(why) = &why {
            let text = || format!("records to {} are not delivered in time: {}", slot.record().topic, why.text);
            sight.line.get_or_init(text);
        }
        classify::expired(slot.record(), handed_over, slot.called_at(), now, why.as_ref())
    }

    /// Writes the line of a sight to the log: foreign code, which no lock may be held for.
    fn tell(&self, sight: Sight, now: Instant) {
        if let Some(text) = sight.line.into_inner() {
            self.log.tell(Source::Warning, &text, now);
        }
    }

    /// The error of an admitted record that no producer has.
    pub(crate) fn expired_while_held(&self, slot: &Slot, now: Instant) -> Error {
        let sight = self.sight();
        let error = self.expired_with(slot, true, false, now, &sight);
        self.tell(sight, now);
        error
    }

    fn expired_with(&self, slot: &Slot, admitted: bool, handed_over: bool, now: Instant, sight: &Sight) -> Error {
        let error = self.expired(slot, admitted, now, sight);
        if handed_over { error } else { error.with_persistence(Persistence::NotPersisted) }
    }

    // ---- why nothing moves

    pub(crate) fn causes(&self) -> MutexGuard<'_, Causes> {
        lock(&self.causes)
    }

    /// An error event of the client.
    pub(crate) fn failed(&self, code: i32, text: &str, now: Instant) {
        // What was answered before it does not end it.
        self.client.look_at_peers(now);
        // An idle connection that the broker closed is no error, and there may be none but that one.
        let idle = code == codes::LOCAL_ALL_BROKERS_DOWN && self.last_error(now).is_none();
        if !idle {
            self.causes().error(code, text, now);
        }
    }

    /// A line of the log that tells of an error which librdkafka tries to get over by itself. Gives back what it says.
    pub(crate) fn heard(&self, line: &Line<'_>, now: Instant) -> Option<String> {
        let mut causes = self.causes();
        let said = causes.line(line, now).map(str::to_owned);
        self.suspects.store(causes.of_partitions(), Ordering::Release);
        said
    }

    /// A record was delivered to a partition that had a cause.
    pub(crate) fn delivered(&self, topic: &str, partition: i32) {
        let mut causes = self.causes();
        causes.delivered(topic, partition);
        self.suspects.store(causes.of_partitions(), Ordering::Release);
    }

    fn sight(&self) -> Sight {
        let now = Instant::now();
        Sight { peers: self.client.peers(now), second: self.alone.peers(now), line: OnceCell::new() }
    }

    /// Why a record that the close gives up has no answer.
    pub(crate) fn is_throttled(&self, slot: &Slot) -> bool {
        self.why_left(slot, true).is_some_and(|why| why.is_throttling())
    }

    pub(crate) fn why_left(&self, slot: &Slot, handed_over: bool) -> Option<Explanation> {
        self.why(slot, handed_over, Instant::now(), &self.sight())
    }

    /// Why a record has no answer.
    fn why(&self, slot: &Slot, handed_over: bool, now: Instant, sight: &Sight) -> Option<Explanation> {
        let record = slot.record();
        let leader = record.partition.and_then(|partition| self.partitions.leader(&record.topic, partition));
        let wait = Wait {
            // Room is what all others give back.
            topic: handed_over.then_some(&*record.topic),
            partition: record.partition.filter(|_| handed_over),
            leader: leader.filter(|_| handed_over),
            coordinator: false,
            patience: now.saturating_duration_since(slot.called_at()) / 2,
            since: slot.called_at(),
            now,
        };
        let peers = if record.isolated { &sight.second } else { &sight.peers };
        explain(&wait, self.causes().iter(), peers)
    }

    /// Why a call that began at `since` has no answer: one of transactions, or connecting.
    pub(crate) fn why_call(&self, since: Instant, coordinator: bool, now: Instant) -> Option<Explanation> {
        self.why_all(since, now.saturating_duration_since(since) / 2, coordinator, now)
    }

    /// What is wrong now, whatever waits for it.
    pub(crate) fn last_error(&self, now: Instant) -> Option<Explanation> {
        self.why_all(now.checked_sub(LATELY).unwrap_or(now), PATIENCE, false, now)
    }

    fn why_all(&self, since: Instant, patience: Duration, coordinator: bool, now: Instant) -> Option<Explanation> {
        let wait = Wait { topic: None, partition: None, leader: None, coordinator, patience, since, now };
        explain(&wait, self.causes().iter(), &self.client.peers(now))
    }

    /// Looks whether a record takes long, and lets librdkafka write its debug lines of batches until some time after that.
    pub(crate) fn listen(&self, now: Instant, since_report: Duration, until: &mut Option<Instant>) {
        self.client.look_at_peers(now);
        // A statement of its own: not under the lock, as in `watch`.
        let oldest = lock(&self.expiry).oldest();
        let long = |slot: &Arc<Slot>| {
            let budget = slot.record().expires_at.map(|at| at.saturating_duration_since(slot.called_at()));
            let age = now.saturating_duration_since(slot.called_at());
            !slot.is_settled() && listen::takes_long(age, budget, since_report)
        };
        if oldest.iter().flatten().any(long) {
            *until = Some(listen::until(now));
        }
        match *until {
            // Each time: a second producer may have been made meanwhile.
            Some(until) if now < until => self.log_batches(true),
            Some(_) => {
                *until = None;
                if !properties::logs_batches(&self.config) {
                    self.log_batches(false);
                }
            }
            None => {}
        }
    }

    fn log_batches(&self, on: bool) {
        self.client.log_batches(on);
        self.alone.log_batches(on);
    }

    // ---- properties

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }

    pub(crate) fn delivery_bound(&self) -> Duration {
        self.delivery_bound
    }

    pub(crate) fn is_idempotent(&self) -> bool {
        self.config.get("enable.idempotence").is_some_and(|value| matches!(value.trim(), "true" | "1" | "t"))
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.config.get("transactional.id").is_some()
    }

    /// How often metadata is renewed; none for never.
    pub(crate) fn refresh_interval(&self) -> Option<Duration> {
        let set = self.config.get("topic.metadata.refresh.interval.ms").and_then(|ms| ms.trim().parse::<i64>().ok());
        // librdkafka's default. A negative one turns the renewal off.
        u64::try_from(set.unwrap_or(300_000)).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    // ---- the end

    /// No new records; those on their way have until the deadline, and so has the end of an open transaction. None if it is done already.
    pub(crate) fn begin_close(&self, within: Duration) -> Option<oneshot::Receiver<()>> {
        // Before the event loop can see that the close has begun.
        let (first, open) = self.transactions.open.close();
        if first && open {
            self.closing.ends_transaction();
        }
        let end = self.closing.begin(within);
        self.gate.close();
        if first && open {
            self.end_transaction();
        }
        self.client.wake();
        end
    }

    /// In a thread of its own: librdkafka's calls block, and need the event loop meanwhile.
    fn end_transaction(&self) {
        let (Some(shared), Some(until)) = (self.me.upgrade(), self.closing.deadline()) else { return };
        let thread = std::thread::Builder::new().name("kafka-tower-close".to_owned());
        let spawned = thread.spawn(move || {
            let ended = transactions::end_at_close(&shared, until);
            shared.closing.transaction_ended(ended);
            shared.client.wake();
        });
        if let Err(error) = spawned {
            let ended = TransactionEnd::Unknown(crate::event_loop::no_thread(error));
            self.transactions.open.closed(Some(ended.clone()));
            self.closing.transaction_ended(Some(ended));
        }
    }

    /// All records are settled: those who wait for it are told, and then the producers end, which takes its time where a
    /// broker's name is being resolved.
    pub(crate) fn end(&self) {
        self.closing.done();
        self.alone.end();
        self.client.destroy();
        let settled = lock(&self.expiry).take_all_settled();
        drop(settled);
    }

    pub(crate) fn purge(&self) {
        self.client.purge();
        self.alone.purge();
    }

    pub(crate) fn flush(&self, timeout: Duration) {
        self.alone.flush();
        self.client.flush(timeout);
    }
}

#[cfg(test)]
mod tests;
