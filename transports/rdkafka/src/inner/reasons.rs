//! Reasons for missing answers, from the brokers' activity, error events and the log.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use kafka_tower_core::recent_errors::RecentErrors;
use kafka_tower_core::sync::lock;

use super::TransportInner;
use crate::broker_activity::ActivitySnapshot;
use crate::explain::{Explanation, Wait, explain};
use crate::log_lines::LogLine;
use crate::slot::Slot;
use crate::{batch_logging, codes, properties, recent_errors};

/// Maximum age of an error for [`TransportInner::last_error`].
const RECENT: Duration = Duration::from_secs(60);
/// Time without an answer after which [`TransportInner::last_error`] names a broker.
const PATIENCE: Duration = Duration::from_secs(1);

impl TransportInner {
    pub(crate) fn recent_errors(&self) -> MutexGuard<'_, RecentErrors> {
        lock(&self.recent_errors)
    }

    /// Records an error event of the client.
    pub(crate) fn record_error_event(&self, code: i32, text: &str, now: Instant) {
        // So that answers before the error do not end it.
        self.client.update_broker_activity(now);
        // An idle connection that the broker closed is not an error, and it may be the only connection.
        let idle = code == codes::LOCAL_ALL_BROKERS_DOWN && self.last_error(now).is_none();
        if !idle {
            self.recent_errors().push(recent_errors::of_event(code, text, now));
        }
    }

    /// Records a log line about an error that librdkafka retries by itself. Returns its text if it should be logged.
    pub(crate) fn record_log_line(&self, line: &LogLine<'_>, now: Instant) -> Option<String> {
        let mut errors = self.recent_errors();
        let text = recent_errors::push_line(&mut errors, line, now).map(str::to_owned);
        self.has_partition_errors.store(errors.has_partition_errors(), Ordering::Release);
        text
    }

    /// Records a delivery to a partition that had a cause.
    pub(crate) fn record_delivery(&self, topic: &str, partition: i32) {
        let mut errors = self.recent_errors();
        errors.delivered(topic, partition);
        self.has_partition_errors.store(errors.has_partition_errors(), Ordering::Release);
    }

    pub(crate) fn activity_snapshot(&self) -> ActivitySnapshot {
        let now = Instant::now();
        ActivitySnapshot {
            peers: self.client.broker_activity(now),
            isolated: self.isolated.broker_activity(now),
            logged: Cell::new(false),
        }
    }

    /// Reason why a record that is given up has no answer.
    pub(crate) fn reason_for_unanswered(&self, slot: &Slot, handed_over: bool) -> Option<Explanation> {
        self.reason_for(slot, handed_over, Instant::now(), &self.activity_snapshot())
    }

    /// Reason why a record has no answer.
    pub(crate) fn reason_for(
        &self,
        slot: &Slot,
        handed_over: bool,
        now: Instant,
        activity_snapshot: &ActivitySnapshot,
    ) -> Option<Explanation> {
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
        let token = if record.isolated { self.isolated.token_trouble(now) } else { self.client.token_trouble(now) };
        let peers = if record.isolated { &activity_snapshot.isolated } else { &activity_snapshot.peers };
        token.map(Explanation::without_token).or_else(|| explain(&wait, self.recent_errors().iter(), peers))
    }

    /// Reason why a call that began at `since` has no answer: a transactional call, or connecting.
    pub(crate) fn reason_for_call(&self, since: Instant, coordinator: bool, now: Instant) -> Option<Explanation> {
        self.reason_since(since, now.saturating_duration_since(since) / 2, coordinator, now)
    }

    /// Returns what is wrong now, independent of any record.
    pub(crate) fn last_error(&self, now: Instant) -> Option<Explanation> {
        self.reason_since(now.checked_sub(RECENT).unwrap_or(now), PATIENCE, false, now)
    }

    fn reason_since(&self, since: Instant, patience: Duration, coordinator: bool, now: Instant) -> Option<Explanation> {
        let wait = Wait { topic: None, partition: None, leader: None, coordinator, patience, since, now };
        let token = self.client.token_trouble(now).map(Explanation::without_token);
        token.or_else(|| explain(&wait, self.recent_errors().iter(), &self.client.broker_activity(now)))
    }

    /// Enables librdkafka's debug lines about batches if a record takes long, and disables them some time later.
    pub(crate) fn adjust_batch_logging(&self, now: Instant, since_report: Duration, until: &mut Option<Instant>) {
        self.client.update_broker_activity(now);
        let oldest = self.ledger.oldest();
        let long = |slot: &Arc<Slot>| {
            let budget = slot.record().expires_at.map(|at| at.saturating_duration_since(slot.called_at()));
            let age = now.saturating_duration_since(slot.called_at());
            !slot.is_settled() && batch_logging::takes_long(age, budget, since_report)
        };
        if oldest.iter().flatten().any(long) {
            *until = Some(batch_logging::enabled_until(now));
        }
        match *until {
            // Every time, because an isolated producer may have been made meanwhile.
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
        self.isolated.log_batches(on);
    }
}
