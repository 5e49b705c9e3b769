//! The records on their way to one partition, as on one connection: they reach the log in order and are answered in
//! order. No clock, no lock, no async.

use std::collections::VecDeque;

use kafka_tower_core::{Delivery, Record, Result, Timestamp};
use tokio::time::Instant;

use crate::errors;
use crate::log::Log;
use crate::script::{Action, Answer};
use crate::waits::{WaitId, Waits};

/// `T` is whom to tell.
#[derive(Debug)]
pub(crate) struct Lane<T> {
    partition: i32,
    queue: VecDeque<Entry<T>>,
    /// So many at the front have reached the log, or were refused by it.
    arrived: usize,
}

#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) who: T,
    pub(crate) record: Record,
    timestamp: Timestamp,
    action: Action,
    timer: Option<WaitId>,
    /// Since its arrival.
    outcome: Option<Result<Delivery>>,
}

/// An entry whose answer is there.
#[derive(Debug)]
pub(crate) struct Settled<T> {
    pub(crate) who: T,
    pub(crate) record: Record,
    pub(crate) outcome: Result<Delivery>,
}

impl<T> Entry<T> {
    pub(crate) fn new(who: T, record: Record, timestamp: Timestamp, action: Action) -> Self {
        Self { who, record, timestamp, action, timer: None, outcome: None }
    }

    fn arrive(&mut self, partition: i32, log: &mut Log, waits: &mut Waits, now: Instant) {
        let written = self.action.write.then(|| log.append(&self.record, partition, self.timestamp));
        self.outcome = Some(match (&self.action.answer, written) {
            // The log's own refusal is the answer, whatever was scripted for a record that it takes.
            (_, Some(Err(refused))) => Err(refused),
            (Answer::Truth, Some(Ok(delivery))) => Ok(delivery),
            (Answer::Error(error), _) => Err(error.clone()),
            (Answer::Lost | Answer::Truth, _) => Err(errors::lost(&self.record.topic, partition)),
        });
        if !self.action.late.is_zero() {
            self.timer = Some(match now.checked_add(self.action.late) {
                Some(at) => waits.timer(at),
                // Past the end of time: a hold that nobody releases.
                None => waits.hold(),
            });
        }
    }
}

impl<T> Lane<T> {
    pub(crate) fn new(partition: i32) -> Self {
        Self { partition, queue: VecDeque::new(), arrived: 0 }
    }

    pub(crate) fn push(&mut self, entry: Entry<T>) {
        self.queue.push_back(entry);
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry<T>> {
        self.queue.iter()
    }

    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry<T>> {
        self.queue.iter_mut()
    }

    /// Lets arrive what waits for nothing, then takes out the answers at the front that are there.
    pub(crate) fn advance(&mut self, log: &mut Log, waits: &mut Waits, now: Instant, settled: &mut Vec<Settled<T>>) {
        while let Some(entry) = self.queue.get_mut(self.arrived) {
            if waits.is_open(entry.action.append_hold) {
                break;
            }
            entry.arrive(self.partition, log, waits, now);
            self.arrived += 1;
        }
        while let Some(entry) = self.queue.front() {
            if entry.outcome.is_none() || waits.is_open(entry.timer) || waits.is_open(entry.action.answer_hold) {
                break;
            }
            let Some(Entry { who, record, outcome: Some(outcome), .. }) = self.queue.pop_front() else {
                break;
            };
            self.arrived -= 1;
            settled.push(Settled { who, record, outcome });
        }
    }

    /// Answers with an error what waits for one of these timers, which nobody runs any more.
    pub(crate) fn fail_timers(&mut self, dead: &[WaitId]) {
        for entry in &mut self.queue {
            if entry.timer.is_some_and(|timer| dead.contains(&timer)) {
                entry.outcome = Some(Err(errors::no_runtime(&entry.record.topic)));
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
