//! Reasons for missing answers, from the brokers' activity, error events and the log.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::{Shared, lock};
use crate::causes::Causes;
use crate::explain::{Explanation, Wait, explain};
use crate::lines::Line;
use crate::peers::Peer;
use crate::slot::Slot;
use crate::{codes, listen, properties};

/// Maximum age of an error for [`Shared::last_error`].
const LATELY: Duration = Duration::from_secs(60);
/// Time without an answer after which [`Shared::last_error`] names a broker.
const PATIENCE: Duration = Duration::from_secs(1);

/// The brokers' activity at one moment, for all records that expire then.
pub(crate) struct Sight {
    peers: Vec<Peer>,
    second: Vec<Peer>,
    /// Whether a line about it was logged.
    pub(super) told: Cell<bool>,
}

impl Shared {
    pub(crate) fn causes(&self) -> MutexGuard<'_, Causes> {
        lock(&self.causes)
    }

    /// Records an error event of the client.
    pub(crate) fn failed(&self, code: i32, text: &str, now: Instant) {
        // So that answers before the error do not end it.
        self.client.look_at_peers(now);
        // An idle connection that the broker closed is not an error, and it may be the only connection.
        let idle = code == codes::LOCAL_ALL_BROKERS_DOWN && self.last_error(now).is_none();
        if !idle {
            self.causes().error(code, text, now);
        }
    }

    /// Records a log line about an error that librdkafka retries by itself. Returns its text if it should be logged.
    pub(crate) fn heard(&self, line: &Line<'_>, now: Instant) -> Option<String> {
        let mut causes = self.causes();
        let said = causes.line(line, now).map(str::to_owned);
        self.suspects.store(causes.of_partitions(), Ordering::Release);
        said
    }

    /// Records a delivery to a partition that had a cause.
    pub(crate) fn delivered(&self, topic: &str, partition: i32) {
        let mut causes = self.causes();
        causes.delivered(topic, partition);
        self.suspects.store(causes.of_partitions(), Ordering::Release);
    }

    pub(crate) fn sight(&self) -> Sight {
        let now = Instant::now();
        Sight { peers: self.client.peers(now), second: self.alone.peers(now), told: Cell::new(false) }
    }

    /// Returns whether a broker throttles the client for a record.
    pub(crate) fn is_throttled(&self, slot: &Slot) -> bool {
        self.why_left(slot, true).is_some_and(|why| why.is_throttling())
    }

    /// Reason why a record that is given up has no answer.
    pub(crate) fn why_left(&self, slot: &Slot, handed_over: bool) -> Option<Explanation> {
        self.why(slot, handed_over, Instant::now(), &self.sight())
    }

    /// Reason why a record has no answer.
    pub(crate) fn why(&self, slot: &Slot, handed_over: bool, now: Instant, sight: &Sight) -> Option<Explanation> {
        let record = slot.record();
        let leader = record.partition.and_then(|partition| self.partitions.leader(&record.topic, partition));
        let wait = Wait {
            // A parked record waits for room, which any other record may free.
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

    /// Reason why a call that began at `since` has no answer: a transactional call, or connecting.
    pub(crate) fn why_call(&self, since: Instant, coordinator: bool, now: Instant) -> Option<Explanation> {
        self.why_all(since, now.saturating_duration_since(since) / 2, coordinator, now)
    }

    /// Returns what is wrong now, independent of any record.
    pub(crate) fn last_error(&self, now: Instant) -> Option<Explanation> {
        self.why_all(now.checked_sub(LATELY).unwrap_or(now), PATIENCE, false, now)
    }

    fn why_all(&self, since: Instant, patience: Duration, coordinator: bool, now: Instant) -> Option<Explanation> {
        let wait = Wait { topic: None, partition: None, leader: None, coordinator, patience, since, now };
        explain(&wait, self.causes().iter(), &self.client.peers(now))
    }

    /// Enables librdkafka's debug lines about batches if a record takes long, and disables them some time later.
    pub(crate) fn listen(&self, now: Instant, since_report: Duration, until: &mut Option<Instant>) {
        self.client.look_at_peers(now);
        // A separate statement: not under the lock, as in `watch`.
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
            // Every time, because a second producer may have been made meanwhile.
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
}
