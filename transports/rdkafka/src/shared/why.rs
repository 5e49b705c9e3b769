//! Why nothing moves: what is seen of the brokers, as errors and the log tell it.

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

/// How long ago an error may be for [`Shared::last_error`].
const LATELY: Duration = Duration::from_secs(60);
/// How long a broker may take for an answer before [`Shared::last_error`] names it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is seen of the brokers at one moment, for all records whose time is up then.
pub(super) struct Sight {
    peers: Vec<Peer>,
    second: Vec<Peer>,
    /// The log has a line of it.
    pub(super) told: Cell<bool>,
}

impl Shared {
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

    pub(super) fn sight(&self) -> Sight {
        let now = Instant::now();
        Sight { peers: self.client.peers(now), second: self.alone.peers(now), told: Cell::new(false) }
    }

    /// Whether a broker delays a record because of a quota.
    pub(crate) fn is_throttled(&self, slot: &Slot) -> bool {
        self.why_left(slot, true).is_some_and(|why| why.is_throttling())
    }

    /// Why a record that is given up has no answer.
    pub(crate) fn why_left(&self, slot: &Slot, handed_over: bool) -> Option<Explanation> {
        self.why(slot, handed_over, Instant::now(), &self.sight())
    }

    /// Why a record has no answer.
    pub(super) fn why(&self, slot: &Slot, handed_over: bool, now: Instant, sight: &Sight) -> Option<Explanation> {
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
}
