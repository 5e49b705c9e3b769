//! A batch: its records, and how far its transaction has come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::error::transport::of_isolated;
use kafka_tower_core::ledger::{RecordTransport, Slot};
use kafka_tower_core::{Delivery, Error, Persistence, Record, Result};

use super::event::{CutReason, Slots, TransactionEvent, TransactionOutcome};
use super::inner::BatchInner;
use super::{decide, errors};

/// How far the transaction of a batch has come. It decides what is known if nothing more is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No transaction was begun for it, or it was aborted.
    Waiting,
    /// Begin was called, and not commit: the transaction is never committed.
    Open,
    /// Commit was called: the records may be visible.
    Committing,
}

impl Stage {
    pub(super) fn persistence(self) -> Persistence {
        match self {
            Self::Waiting | Self::Open => Persistence::NotPersisted,
            Self::Committing => Persistence::PossiblyPersisted,
        }
    }
}

/// Why an attempt failed.
pub(super) struct Failure {
    pub(super) cause: Error,
    /// Outcomes of the first records, in order. Later ones were not sent, or their outcomes were not awaited.
    pub(super) outcomes: Vec<Result<Delivery>>,
}

/// Records that share a transaction. Whatever ends its task, each record is settled: dropping the batch does it.
pub(super) struct Batch {
    inner: Arc<BatchInner>,
    slots: Vec<Arc<Slot<Delivery>>>,
    pub(super) stage: Stage,
    /// How often it was replayed.
    pub(super) replays: u32,
    /// Number of attempts.
    pub(super) attempts: u32,
    cut: Cut,
}

/// Why and when a batch was cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) reason: CutReason,
    /// Time that its oldest record had waited.
    pub(super) age: Duration,
}

impl Batch {
    pub(super) fn new(inner: &Arc<BatchInner>, slots: Vec<Arc<Slot<Delivery>>>, reason: CutReason) -> Self {
        let waited = |slot: &Arc<Slot<Delivery>>| inner.now().saturating_duration_since(slot.called_at());
        let cut = Cut { reason, age: slots.first().map(waited).unwrap_or_default() };
        Self { inner: Arc::clone(inner), slots, stage: Stage::Waiting, replays: 0, attempts: 0, cut }
    }

    /// Reports a transaction of these records, which has ended.
    pub(super) fn report(&self, lane: usize, took: Duration, outcome: TransactionOutcome, failure: Option<&Failure>) {
        if self.inner.hooks.are_none() || self.is_empty() {
            return;
        }
        let refused = failure.map_or(0, |failure| self.refused(failure));
        self.inner.hooks.call(&TransactionEvent {
            lane,
            records: self.len(),
            bytes: self.slots.iter().map(|slot| slot.record().size()).sum(),
            cut: self.cut.reason,
            age: self.cut.age,
            attempt: self.attempts,
            took,
            outcome,
            refused,
            error: failure.map(|failure| &failure.cause),
            slots: Slots(&self.slots),
        });
    }

    fn refused(&self, failure: &Failure) -> usize {
        let is_refused =
            |outcome: &&Result<Delivery>| outcome.as_ref().is_err_and(|error| decide::is_poison(error, self.len()));
        failure.outcomes.iter().filter(is_refused).count()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Starts an attempt. Returns the records to send, with this deadline. Records whose own deadline has passed are
    /// taken out: their callers have their time-out.
    pub(super) fn start(&mut self, now: Instant, deadline: Instant) -> Vec<Record> {
        let within = deadline.saturating_duration_since(now);
        let (mut sent, mut late) = (Vec::with_capacity(self.slots.len()), Vec::new());
        for slot in std::mem::take(&mut self.slots) {
            let has_expired = slot.record().expires_at.is_some_and(|at| at <= now);
            if has_expired || !slot.hand_over(now) {
                late.push((Arc::clone(&slot), Err(slot.time_out(false, now, None))));
            } else {
                sent.push(slot);
            }
        }
        self.slots = sent;
        self.inner.settle_all(late);
        // The caller's own deadline is kept by the layer: if the transport kept it, the whole transaction would fail.
        let record = |slot: &Arc<Slot<Delivery>>| {
            let mut record = slot.record().clone().with_given(within);
            record.expires_at = Some(deadline);
            record
        };
        self.slots.iter().map(record).collect()
    }

    /// Called when the transaction was certainly aborted: from now on the records are in no log.
    pub(super) fn aborted(&mut self) {
        self.stage = Stage::Waiting;
        self.slots.iter().for_each(|slot| slot.hold());
    }

    /// Settles all records with their deliveries.
    pub(super) fn committed(mut self, deliveries: Vec<Result<Delivery>>) {
        debug_assert_eq!(deliveries.len(), self.slots.len());
        let slots = std::mem::take(&mut self.slots);
        self.inner.settle_all(slots.into_iter().zip(deliveries));
    }

    /// Settles all records with this error.
    pub(super) fn fail(&mut self, error: impl Fn(&str) -> Error) {
        let attempts = self.replays.saturating_add(1);
        let slots = std::mem::take(&mut self.slots);
        self.inner.settle_all(slots.into_iter().map(|slot| {
            let outcome = Err(error(&slot.record().topic).with_attempts(attempts));
            (slot, outcome)
        }));
    }

    /// Settles the records that were refused themselves with their own errors, and keeps the others. The transaction was
    /// aborted, so none of them is in the log.
    pub(super) fn refuse(&mut self, outcomes: Vec<Result<Delivery>>) {
        let size = self.slots.len();
        let mut outcomes = outcomes.into_iter();
        let (mut kept, mut refused) = (Vec::new(), Vec::new());
        for slot in std::mem::take(&mut self.slots) {
            match outcomes.next() {
                Some(Err(error)) if decide::is_poison(&error, size) => {
                    let error = if size == 1 { of_isolated(error) } else { error };
                    refused.push((slot, Err(error.with_persistence(Persistence::NotPersisted))));
                }
                _ => kept.push(slot),
            }
        }
        self.slots = kept;
        self.inner.settle_all(refused);
    }

    /// Takes the second half as a batch of its own, to be sent after this one.
    pub(super) fn halve(&mut self) -> Self {
        let rest = self.slots.split_off(self.slots.len().div_ceil(2));
        let Self { stage, replays, attempts, cut, .. } = *self;
        Self { slots: rest, inner: Arc::clone(&self.inner), stage, replays, attempts, cut }
    }

    pub(super) fn now(&self) -> Instant {
        self.inner.now()
    }
}

impl Drop for Batch {
    /// Called with records only if the owner task was stopped or its runtime ended.
    fn drop(&mut self) {
        if self.slots.is_empty() {
            return;
        }
        let persistence = self.stage.persistence();
        self.fail(|topic| errors::stopped(topic, persistence, "the batching layer ended"));
    }
}
