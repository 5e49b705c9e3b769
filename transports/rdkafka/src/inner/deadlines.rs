//! Deadlines of records, and the errors of records whose deadline has passed.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kafka_tower_core::clock::{TICK, later};
use kafka_tower_core::{Error, Persistence};

use super::TransportInner;
use crate::broker_activity::ActivitySnapshot;
use crate::classify;
use crate::log::Source;
use crate::slot::Slot;
use crate::sync::lock;
use crate::transactions::errors;

/// Interval at which records are checked again that were in flight for too long and still are.
const OVERDUE_AGAIN: Duration = Duration::from_secs(1);

impl TransportInner {
    /// Adds the record to the expiry queue, for its deadline and for the delivery bound.
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
        drop(settled); // not under the lock: dropping a record may run foreign code
    }

    /// Leaves settled records to calling threads: memory is freed best by the thread that allocated it. Two threads
    /// that free and allocate in one arena block each other.
    pub(crate) fn defer_drop(&self, settled: &mut Vec<Arc<Slot>>) {
        lock(&self.expiry).defer_drop(settled);
    }

    /// Frees settled records that were left to callers, if there was no call since the last time.
    pub(crate) fn drain_settled(&self) {
        // A separate statement: not under the lock, as above.
        let take_stale = lock(&self.expiry).take_stale();
        if take_stale.is_some() {
            drop(take_stale);
            lock(&self.expiry).pop_gone(usize::MAX);
        }
    }

    fn bound(&self, slot: &Slot) -> Instant {
        later(slot.called_at(), self.delivery_bound.saturating_add(TICK))
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        lock(&self.expiry).next()
    }

    /// Expires records: returns the time-out to their callers, and withdraws those that were not handed over. Returns
    /// the records that were in flight for too long.
    pub(crate) fn expire(&self, now: Instant) -> Vec<Arc<Slot>> {
        let is_due = |slot: &Slot| slot.record().expires_at.is_some_and(|at| at <= now) || self.bound(slot) <= now;
        let (mut parked, mut overdue) = (Vec::new(), Vec::new());
        let activity_snapshot = OnceCell::new();
        let expired = |slot: &Slot, admitted, handed_over| {
            self.expired_with(
                slot,
                admitted,
                handed_over,
                now,
                activity_snapshot.get_or_init(|| self.activity_snapshot()),
            )
        };
        loop {
            // A separate statement: callers are woken without the lock.
            let due = lock(&self.expiry).pop(now);
            let Some(slot) = due else { break };
            let deadline_passed = slot.record().expires_at.is_some_and(|at| at <= now);
            if slot.is_parked() {
                parked.push(slot);
                continue;
            }
            if deadline_passed && slot.is_awaited() {
                // Before the record is locked, because this locks the client and writes to the log.
                let error = expired(&slot, true, true);
                let for_caller = |handed_over| {
                    if handed_over { error } else { error.with_persistence(Persistence::NotPersisted) }
                };
                slot.expire(now, for_caller, &self.unseen);
            }
            if !slot.is_settled() {
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
                self.transactions.record_lost();
                let _never_admitted = self.settle(&slot, Err(error));
            };
            self.guarded("a waker", || {
                self.gate.withdraw(|slot| is_due(slot), settle, |slot, permit| self.enqueue_parked(slot, permit));
            });
            // A record that is being handed over at this moment is checked again.
            for slot in parked.into_iter().filter(|slot| !slot.is_settled()) {
                lock(&self.expiry).push(now, &slot);
            }
        }
        overdue
    }

    /// Puts records that were in flight for too long back into the queue, because their client may be replaced
    /// meanwhile.
    pub(crate) fn watch_again(&self, overdue: &[Arc<Slot>], at: Instant) {
        for slot in overdue {
            lock(&self.expiry).push(at, slot);
        }
    }

    /// Returns a time-out to the callers of records that were in flight for too long, and leaves the records to the
    /// client.
    pub(crate) fn time_out_overdue(&self, overdue: &[Arc<Slot>], now: Instant) {
        let activity_snapshot = self.activity_snapshot();
        for slot in overdue {
            let error = |handed_over| {
                let persistence = if handed_over { Persistence::PossiblyPersisted } else { Persistence::NotPersisted };
                self.overdue(slot, persistence, now, &activity_snapshot)
            };
            slot.expire(now, error, &self.unseen);
        }
        self.watch_again(overdue, later(now, OVERDUE_AGAIN));
    }

    /// Gives up all records in flight.
    pub(crate) fn give_up_overdue(&self) {
        let left = self.gate.in_flight();
        tracing::error!(
            records = left.records,
            bound = ?self.delivery_bound,
            "a record had no answer for too long: all records in flight are given up"
        );
        self.purge();
    }

    /// Returns the records of the client whose callers wait, without those of the isolated producer.
    pub(crate) fn awaited_in_producer(&self) -> Vec<Arc<Slot>> {
        // A separate statement: dropping a record may run foreign code.
        let mut all = lock(&self.expiry).all();
        all.retain(|slot| !slot.record().isolated && slot.is_awaited_in_producer());
        all
    }

    /// Returns the records of the client, or of the isolated producer, whether their callers wait or not.
    pub(crate) fn in_producer(&self, isolated: bool) -> Vec<Arc<Slot>> {
        // A separate statement, as above.
        let mut all = lock(&self.expiry).all();
        all.retain(|slot| slot.record().isolated == isolated && slot.is_in_producer());
        all
    }

    /// Error of a record that librdkafka was told to give up.
    pub(crate) fn given_up(&self, slot: &Slot, partition: i32, persistence: Persistence) -> Option<Error> {
        if let Some(error) = self.given_up_by_old(slot, partition, persistence) {
            return Some(error);
        }
        let topic = &slot.record().topic;
        if self.transactions.aborting.load(Ordering::Acquire) {
            return Some(errors::aborted(topic, persistence));
        }
        if self.closing.has_begun() {
            return None;
        }
        let by_itself = self.given_up_by_itself(slot, persistence);
        Some(by_itself.unwrap_or_else(|| self.overdue(slot, persistence, Instant::now(), &self.activity_snapshot())))
    }

    /// Error of a record that the previous instance gives up.
    fn given_up_by_old(&self, slot: &Slot, partition: i32, persistence: Persistence) -> Option<Error> {
        let bound = self.delivery_bound();
        let replaced_for = if slot.record().isolated { &self.isolated_replaced_for } else { &self.replaced_for };
        let why = lock(replaced_for);
        let why = why.as_ref()?;
        // The new instance has no activity yet.
        let cause = why
            .activity_snapshot
            .as_ref()
            .and_then(|activity_snapshot| self.reason_for(slot, true, Instant::now(), activity_snapshot));
        Some(why.error(slot, partition, persistence, bound, cause.as_ref()))
    }

    /// Error of a record that librdkafka gave up by itself, because the producer or its transaction cannot continue.
    fn given_up_by_itself(&self, slot: &Slot, persistence: Persistence) -> Option<Error> {
        let what = classify::outcome(&slot.record().topic, persistence);
        let fatal = if slot.record().isolated { None } else { self.client.fatal_error() };
        if let Some((code, text)) = fatal {
            return Some(classify::client_error(code, &what, Some(&text)).with_persistence(persistence));
        }
        let why = self.transactions.error()?;
        Some(errors::failed(&what, &why, persistence))
    }

    fn overdue(
        &self,
        slot: &Slot,
        persistence: Persistence,
        now: Instant,
        activity_snapshot: &ActivitySnapshot,
    ) -> Error {
        let why = self.reason_for(slot, true, now, activity_snapshot);
        classify::overdue(&slot.record().topic, self.delivery_bound, persistence, why.as_ref())
    }

    /// Error of an expired record. No lock may be held, because the log is foreign code.
    pub(super) fn expired(
        &self,
        slot: &Slot,
        handed_over: bool,
        now: Instant,
        activity_snapshot: &ActivitySnapshot,
    ) -> Error {
        let why = self.reason_for(slot, handed_over, now, activity_snapshot);
        if let Some(why) = why.as_ref().filter(|_| !activity_snapshot.logged.replace(true)) {
            let text = format!("records to {} are not delivered in time: {}", slot.record().topic, why.text);
            self.guarded("a subscriber", || self.log.write(Source::Warning, &text, now));
        }
        classify::expired(slot.record(), handed_over, slot.called_at(), now, why.as_ref())
    }

    /// Error of an admitted record that no producer has.
    pub(crate) fn expired_while_held(&self, slot: &Slot, now: Instant) -> Error {
        self.expired_with(slot, true, false, now, &self.activity_snapshot())
    }

    fn expired_with(
        &self,
        slot: &Slot,
        admitted: bool,
        handed_over: bool,
        now: Instant,
        activity_snapshot: &ActivitySnapshot,
    ) -> Error {
        let error = self.expired(slot, admitted, now, activity_snapshot);
        if handed_over { error } else { error.with_persistence(Persistence::NotPersisted) }
    }
}
