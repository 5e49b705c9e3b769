//! The records in flight to one partition, as on one connection: they reach the log in order and are answered in
//! order. No clock, no lock, no async.

use std::collections::VecDeque;
use std::time::Duration;

use kafka_tower_core::{Delivery, Error, Persistence, Record, Result, Scope, Timestamp};
use tokio::time::Instant;

use crate::errors;
use crate::resend::{BACKOFF, Tries};
use crate::script::{Action, Answer};
use crate::waits::{WaitId, Waits};

/// `T` is the receiver of the outcome.
#[derive(Debug)]
pub(crate) struct PartitionQueue<T> {
    partition: i32,
    queue: VecDeque<Entry<T>>,
    /// Number of entries at the front that have reached the log, or were refused by it.
    arrived: usize,
    /// The batch that is being filled.
    open: Option<Open>,
    next_batch: u64,
}

#[derive(Debug)]
struct Open {
    batch: u64,
    owner: usize,
    wait: WaitId,
    records: usize,
}

/// How a client fills its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batching {
    pub(crate) records: usize,
    pub(crate) linger: Duration,
}

#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) who: T,
    timestamp: Timestamp,
    action: Action,
    timer: Option<WaitId>,
    tries: Tries,
    /// Open until the client sends the record again.
    resend: Option<WaitId>,
    /// The record's batch, until it is full or has lingered.
    batch: Option<(u64, WaitId)>,
    /// Error of the whole batch.
    refusal: Option<Error>,
    /// The broker refuses the timestamp.
    misdated: bool,
    /// Set when the record has arrived.
    outcome: Option<Result<Delivery>>,
}

/// An entry with its outcome.
#[derive(Debug)]
pub(crate) struct Settled<T> {
    pub(crate) who: T,
    pub(crate) outcome: Result<Delivery>,
}

/// Receiver of the outcome of a record, which it holds.
pub(crate) trait Sent {
    fn record(&self) -> &Record;
}

/// The partition's log, and the retry logic of its clients.
pub(crate) trait Leader<T> {
    /// Numbers a record before it is sent, if its client does so.
    fn number(&mut self, who: &T, record: &Record, tries: &mut Tries);

    /// Checks a whole batch before its first record is written: an error applies to all of its records.
    fn judge(&mut self, batch: &[&Record]) -> Option<Error>;

    /// Writes a record, or returns why not.
    fn write(&mut self, who: &T, record: &Record, timestamp: Timestamp, tries: &Tries) -> Result<Delivery>;

    /// Returns the action for another attempt, if the client makes one.
    fn again(&mut self, who: &T, record: &Record, tries: &Tries, error: &Error) -> Option<Action>;
}

impl<T: Sent> Entry<T> {
    pub(crate) fn new(who: T, timestamp: Timestamp, action: Action, now: Instant) -> Self {
        let (timer, resend, batch, refusal, misdated, outcome) = Default::default();
        let tries = Tries::new(now);
        Self { who, timestamp, action, timer, tries, resend, batch, refusal, misdated, outcome }
    }

    /// Sets whether the broker refuses the record's timestamp.
    pub(crate) fn misdated(mut self, misdated: bool) -> Self {
        self.misdated = misdated;
        self
    }

    fn refused_time(&self, scope: Scope) -> Option<Error> {
        self.misdated.then(|| errors::misdated(&self.who.record().topic, self.timestamp).with_scope(scope))
    }

    /// Makes an attempt. Returns whether the next records may follow: numbered records must not overtake a lost one.
    fn arrive(&mut self, partition: i32, leader: &mut impl Leader<T>, waits: &mut Waits, now: Instant) -> bool {
        leader.number(&self.who, self.who.record(), &mut self.tries);
        let refusal = self.refusal.take();
        let write = || match refusal.or_else(|| self.refused_time(Scope::Record)) {
            Some(refusal) => Err(refusal),
            None => leader.write(&self.who, self.who.record(), self.timestamp, &self.tries),
        };
        let written = self.action.write.then(write);
        let is_there = matches!(written, Some(Ok(_)));
        let mut outcome = match (&self.action.answer, written) {
            // A client that retries learns of a lost refusal by its next attempt.
            (Answer::Lost, Some(Err(_))) if self.tries.resends => {
                Err(errors::lost(&self.who.record().topic, partition))
            }
            // The log's own refusal takes precedence over the scripted answer.
            (_, Some(Err(refused))) => Err(refused),
            (Answer::Truth, Some(Ok(delivery))) => Ok(delivery),
            (Answer::Error(error), _) => Err(error.clone()),
            (Answer::Lost | Answer::Truth, _) => Err(errors::lost(&self.who.record().topic, partition)),
        };
        if let Err(error) = outcome {
            self.tries.doubt |= error.persistence() == Persistence::PossiblyPersisted;
            if let Some(action) = leader.again(&self.who, self.who.record(), &self.tries, &error) {
                let late = self.action.late.saturating_add(BACKOFF).saturating_add(action.append_late);
                self.resend = Some(waits.at(now.checked_add(late)));
                self.action = action;
                self.tries.count += 1;
                return is_there || self.tries.sequence.is_none();
            }
            outcome = Err(self.tries.blame(error));
        }
        self.resend = None;
        self.outcome = Some(outcome);
        if !self.action.late.is_zero() {
            self.timer = Some(waits.at(now.checked_add(self.action.late)));
        }
        true
    }

    /// Whether the record waits to be sent or sent again.
    fn waits(&self, waits: &Waits) -> bool {
        let batch = self.batch.map(|(_, wait)| wait);
        waits.is_open(batch) || waits.is_open(self.resend) || waits.is_open(self.action.append_hold)
    }
}

impl<T: Sent> PartitionQueue<T> {
    pub(crate) fn new(partition: i32) -> Self {
        Self { partition, queue: VecDeque::new(), arrived: 0, open: None, next_batch: 0 }
    }

    pub(crate) fn partition(&self) -> i32 {
        self.partition
    }

    /// A record that is sent alone ends the batch before it.
    pub(crate) fn push(&mut self, mut entry: Entry<T>, waits: &mut Waits) {
        self.end_batch(waits);
        entry.tries.batch = self.next_batch;
        self.next_batch += 1;
        self.queue.push_back(entry);
    }

    /// Adds a record to its owner's batch, which is sent when it is full, has lingered, or another batch begins.
    pub(crate) fn push_batched(
        &mut self,
        mut entry: Entry<T>,
        owner: usize,
        batching: Batching,
        waits: &mut Waits,
        now: Instant,
    ) {
        let joins = self.open.as_ref().is_some_and(|open| open.owner == owner && waits.is_open(Some(open.wait)));
        if !joins {
            self.end_batch(waits);
            let wait = waits.at(now.checked_add(batching.linger));
            self.open = Some(Open { batch: self.next_batch, owner, wait, records: 0 });
            self.next_batch += 1;
        }
        if let Some(open) = &mut self.open {
            entry.batch = Some((open.batch, open.wait));
            entry.tries.batch = open.batch;
            open.records += 1;
            if open.records >= batching.records {
                self.end_batch(waits);
            }
        }
        self.queue.push_back(entry);
    }

    /// Ends the batch that `owner` is filling.
    pub(crate) fn end_batch_of(&mut self, owner: usize, waits: &mut Waits) {
        if self.open.as_ref().is_some_and(|open| open.owner == owner) {
            self.end_batch(waits);
        }
    }

    fn end_batch(&mut self, waits: &mut Waits) {
        if let Some(open) = self.open.take() {
            waits.end(open.wait);
        }
    }

    /// Checks the batch of the next entry, if the entry is the first of one.
    fn judge(&mut self, leader: &mut impl Leader<T>) {
        let entries = self.queue.range(self.arrived..);
        let Some((batch, _)) = entries.clone().next().and_then(|entry| entry.batch) else { return };
        let is_of_it = |entry: &&Entry<T>| entry.batch.is_some_and(|(of, _)| of == batch);
        let records: Vec<_> = entries.take_while(is_of_it).map(|entry| entry.who.record()).collect();
        let count = records.len();
        let scope = if count > 1 { Scope::Batch } else { Scope::Record };
        let misdated = || self.queue.range(self.arrived..).take(count).find_map(|entry| entry.refused_time(scope));
        let refusal = leader.judge(&records).or_else(misdated);
        for entry in self.queue.range_mut(self.arrived..).take(count) {
            // A batch is checked only once, while it is complete.
            entry.batch = None;
            entry.refusal.clone_from(&refusal);
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry<T>> {
        self.queue.iter()
    }

    /// Lets entries arrive that wait for nothing, then passes the settled ones at the front to `settled`.
    pub(crate) fn advance(
        &mut self,
        leader: &mut impl Leader<T>,
        waits: &mut Waits,
        now: Instant,
        settled: &mut impl FnMut(Settled<T>),
    ) {
        let arrived = self.queue.iter_mut().take(self.arrived);
        for entry in arrived.filter(|entry| entry.resend.is_some()) {
            if !entry.waits(waits) {
                entry.arrive(self.partition, leader, waits, now);
            }
        }
        while let Some(entry) = self.queue.get(self.arrived) {
            if entry.waits(waits) {
                break;
            }
            self.judge(leader);
            let Some(entry) = self.queue.get_mut(self.arrived) else { break };
            if !entry.arrive(self.partition, leader, waits, now) {
                break;
            }
            self.arrived += 1;
        }
        while let Some(entry) = self.queue.front() {
            if entry.outcome.is_none() || waits.is_open(entry.timer) || waits.is_open(entry.action.answer_hold) {
                break;
            }
            let Some(Entry { who, outcome: Some(outcome), .. }) = self.queue.pop_front() else {
                break;
            };
            self.arrived -= 1;
            settled(Settled { who, outcome });
        }
    }

    /// Fails the entries that wait for one of these timers, which will not fire any more.
    pub(crate) fn fail_timers(&mut self, dead: &[WaitId]) {
        for entry in &mut self.queue {
            let is_dead = |wait: Option<WaitId>| wait.is_some_and(|wait| dead.contains(&wait));
            if is_dead(entry.timer) || is_dead(entry.resend) {
                entry.resend = None;
                entry.outcome = Some(Err(errors::no_runtime(&entry.who.record().topic)));
            }
        }
    }

    pub(crate) fn held_by(&self, id: WaitId) -> usize {
        let holds = |entry: &&Entry<T>| entry.action.append_hold == Some(id) || entry.action.answer_hold == Some(id);
        self.queue.iter().filter(holds).count()
    }
}

#[cfg(test)]
mod tests;
