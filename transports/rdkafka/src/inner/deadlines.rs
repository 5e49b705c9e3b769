//! Deadlines of records, and the errors of records whose deadline has passed.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::gate::Gated;
use kafka_tower_core::ledger::RecordTransport;
use kafka_tower_core::sync::lock;
use kafka_tower_core::{Error, Persistence, Result};

use super::TransportInner;
use crate::broker_activity::ActivitySnapshot;
use crate::classify;
use crate::ffi::Client;
use crate::log::Source;
use crate::slot::Slot;
use crate::transactions::errors;

/// Interval at which records are checked again that were in flight for too long and still are.
const OVERDUE_AGAIN: Duration = Duration::from_secs(1);

impl TransportInner {
    /// Watches the record's deadline and the delivery bound.
    ///
    /// # Errors
    ///
    /// Its sink was closed.
    pub(crate) fn watch(&self, slot: &Arc<Slot>) -> Result<()> {
        if self.ledger.watch(slot)? {
            self.client.wake();
        }
        Ok(())
    }

    /// Expires records: returns the time-out to their callers, and withdraws those that were not handed over. Returns
    /// the records that were in flight for too long.
    pub(crate) fn expire_due(self: &Arc<Self>, now: Instant) -> Vec<Arc<Slot>> {
        let activity_snapshot = OnceCell::new();
        self.expire(now, |slot, admitted| {
            self.expired(slot, admitted, now, activity_snapshot.get_or_init(|| self.activity_snapshot()))
        })
    }

    /// Returns a time-out to the callers of records that were in flight for too long, and leaves the records to the
    /// client.
    pub(crate) fn time_out_overdue(&self, overdue: &[Arc<Slot>], now: Instant) {
        let activity_snapshot = self.activity_snapshot();
        self.time_out(overdue, now, |slot, handed_over| {
            let persistence = if handed_over { Persistence::PossiblyPersisted } else { Persistence::NotPersisted };
            self.overdue(slot, persistence, now, &activity_snapshot)
        });
        self.ledger.watch_again(overdue, later(now, OVERDUE_AGAIN));
    }

    /// Gives up all records in flight.
    pub(crate) fn give_up_overdue(&self) {
        let left = self.gate().in_flight();
        tracing::error!(
            records = left.records,
            bound = ?self.delivery_bound,
            "a record had no answer for too long: all records in flight are given up"
        );
        self.purge();
    }

    /// Returns the records of the client whose callers wait, without those of the isolated producer.
    pub(crate) fn awaited_in_producer(&self) -> Vec<Arc<Slot>> {
        let mut all = self.ledger.watched();
        all.retain(|slot| !slot.record().isolated && slot.is_awaited_in_producer());
        all
    }

    /// Returns the records of the client, or of the isolated producer, whether their callers wait or not.
    pub(crate) fn in_producer(&self, isolated: bool) -> Vec<Arc<Slot>> {
        let mut all = self.ledger.watched();
        all.retain(|slot| slot.record().isolated == isolated && slot.is_in_producer());
        all
    }

    /// Error of a record that librdkafka was told to give up.
    pub(crate) fn given_up(
        &self,
        client: &Client,
        slot: &Slot,
        partition: i32,
        persistence: Persistence,
    ) -> Option<Error> {
        let by_old = self.given_up_by_old(slot, partition, persistence);
        let replaced = by_old.or_else(|| self.given_up_by_ended(client, slot, partition, persistence));
        if replaced.is_some() {
            return replaced;
        }
        let topic = &slot.record().topic;
        if self.transactions.aborting.load(Ordering::Acquire) {
            return Some(errors::aborted(topic, persistence));
        }
        if self.closing().has_begun() {
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
        let isolated = slot.record().isolated;
        let refusal = if isolated { None } else { self.ended.refusal(&slot.record().topic, persistence) };
        if refusal.is_some() {
            return refusal;
        }
        let fatal = if isolated { None } else { self.client.fatal_error() };
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
        classify::expired(slot, handed_over, now, why.as_ref())
    }

    /// Error of an admitted record that no producer has.
    pub(crate) fn expired_while_held(&self, slot: &Slot, now: Instant) -> Error {
        self.expired(slot, true, now, &self.activity_snapshot()).with_persistence(Persistence::NotPersisted)
    }
}
