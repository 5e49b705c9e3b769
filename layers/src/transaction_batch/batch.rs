//! A batch: its records, and how far its transaction has come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::error::transport::of_isolated;
use kafka_tower_core::ledger::RecordTransport;
use kafka_tower_core::{ConsumerGroup, Delivery, Error, Persistence, Record, Result, Tenant};

use super::entry::{Entry, Outcome};
use super::event::{CutReason, Slots, TransactionEvent, TransactionOutcome};
use super::expiry::NOT_COMMITTED;
use super::inner::BatchInner;
use super::offsets::{GroupOffsets, merge};
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
    /// The member of a consumer group whose offsets were not taken.
    pub(super) group: Option<ConsumerGroup>,
}

impl Failure {
    pub(super) fn new(cause: Error, outcomes: Vec<Result<Delivery>>) -> Self {
        Self { cause, outcomes, group: None }
    }

    pub(super) fn of_group(cause: Error, group: ConsumerGroup) -> Self {
        Self { cause, outcomes: Vec::new(), group: Some(group) }
    }
}

/// Records and units that share a transaction. Whatever ends its task, each one is settled: dropping the batch does it.
pub(super) struct Batch {
    inner: Arc<BatchInner>,
    entries: Vec<Entry>,
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
    pub(super) fn new(inner: &Arc<BatchInner>, entries: Vec<Entry>, reason: CutReason) -> Self {
        let waited = |entry: &Entry| inner.now().saturating_duration_since(entry.called_at());
        let cut = Cut { reason, age: entries.first().map(waited).unwrap_or_default() };
        Self { inner: Arc::clone(inner), entries, stage: Stage::Waiting, replays: 0, attempts: 0, cut }
    }

    /// Reports a transaction of these records, which has ended.
    pub(super) fn report(&self, lane: usize, took: Duration, outcome: TransactionOutcome, failure: Option<&Failure>) {
        if self.inner.hooks.are_none() || self.is_empty() {
            return;
        }
        let refused = failure.map_or(0, |failure| self.refused(failure));
        self.inner.hooks.call(&TransactionEvent {
            lane,
            records: self.records(),
            bytes: self.entries.iter().map(Entry::size).sum(),
            cut: self.cut.reason,
            age: self.cut.age,
            attempt: self.attempts,
            took,
            outcome,
            refused,
            error: failure.map(|failure| &failure.cause),
            slots: Slots(&self.entries),
        });
    }

    fn refused(&self, failure: &Failure) -> usize {
        let is_refused =
            |outcome: &&Result<Delivery>| outcome.as_ref().is_err_and(|error| decide::is_poison(error, self.len()));
        failure.outcomes.iter().filter(is_refused).count()
    }

    /// Number of records and units.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Number of records, with those of units.
    pub(super) fn records(&self) -> usize {
        self.entries.iter().map(|entry| entry.records().len()).sum()
    }

    /// The offsets of its units.
    pub(super) fn offsets(&self) -> Vec<GroupOffsets> {
        merge(self.entries.iter().filter_map(|entry| match entry {
            Entry::Unit(joined) => joined.unit.group.as_ref().map(|group| (group, &joined.unit.offsets[..])),
            Entry::Record(_) => None,
        }))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Starts an attempt. Records whose own deadline has passed are taken out: their callers have their time-out. So are
    /// units after one that failed.
    pub(super) fn start(&mut self, now: Instant) {
        let mut late = Vec::new();
        let Self { inner, entries, .. } = self;
        entries.retain(|entry| {
            let error = match entry {
                Entry::Record(slot) => {
                    let has_expired = slot.record().expires_at.is_some_and(|at| at <= now);
                    let late = || {
                        let error = slot.time_out(true, now, Some(NOT_COMMITTED));
                        error.with_persistence(Persistence::NotPersisted)
                    };
                    (has_expired || !slot.hand_over(now)).then(late)
                }
                // At once, because later units of the batch may depend on this one.
                Entry::Unit(joined) => inner.fail_after_earlier(joined),
            };
            let is_sent = error.is_none();
            late.extend(error.map(|error| entry.clone().failed(|_| error)));
            is_sent
        });
        inner.settle_all(late);
    }

    /// The records to send, with this deadline.
    pub(super) fn to_send(&self, now: Instant, deadline: Instant) -> impl Iterator<Item = Record> {
        let within = deadline.saturating_duration_since(now);
        // The caller's own deadline is kept by the layer: if the transport kept it, the whole transaction would fail.
        let record = move |record: &Record| {
            // The tenants are those of this layer, which the transport does not know.
            let mut record = record.clone().with_given(within).with_tenant(Tenant::default());
            record.expires_at = Some(deadline);
            record
        };
        self.entries.iter().flat_map(Entry::records).map(record)
    }

    /// Called when the transaction was certainly aborted: from now on the records are in no log.
    pub(super) fn aborted(&mut self) {
        self.stage = Stage::Waiting;
        for entry in &self.entries {
            if let Entry::Record(slot) = entry {
                slot.hold();
            }
        }
    }

    /// Settles all records with their deliveries.
    pub(super) fn committed(mut self, deliveries: Vec<Result<Delivery>>) {
        debug_assert_eq!(deliveries.len(), self.records());
        let mut deliveries = deliveries.into_iter();
        let entries = std::mem::take(&mut self.entries);
        self.inner.settle_all(entries.into_iter().filter_map(|entry| match entry {
            Entry::Record(slot) => deliveries.next().map(|delivery| Outcome::Record(slot, delivery)),
            Entry::Unit(joined) => {
                let own = deliveries.by_ref().take(joined.unit.records.len()).collect();
                Some(Outcome::Unit(joined, own))
            }
        }));
    }

    /// Settles all records with this error.
    pub(super) fn fail(&mut self, error: impl Fn(&str) -> Error) {
        let attempts = self.replays.saturating_add(1);
        let entries = std::mem::take(&mut self.entries);
        let failed = |entry: Entry| entry.failed(|topic| error(topic).with_attempts(attempts));
        self.inner.settle_all(entries.into_iter().map(failed));
    }

    /// Settles the records that were refused themselves with their own errors, and keeps the others. The transaction was
    /// aborted, so none of them is in the log.
    pub(super) fn refuse(&mut self, outcomes: Vec<Result<Delivery>>) {
        let size = self.entries.len();
        let mut outcomes = outcomes.into_iter();
        let (mut kept, mut refused) = (Vec::new(), Vec::new());
        for entry in std::mem::take(&mut self.entries) {
            let own: Vec<_> = outcomes.by_ref().take(entry.records().len()).collect();
            let poison = own.into_iter().enumerate().find_map(|(place, outcome)| {
                outcome.err().filter(|error| decide::is_poison(error, size)).map(|error| (place, error))
            });
            match (poison, entry) {
                (None, entry) => kept.push(entry),
                (Some((_, error)), Entry::Record(slot)) => {
                    let error = if size == 1 { of_isolated(error) } else { error };
                    refused.push(Outcome::Record(slot, Err(error.with_persistence(Persistence::NotPersisted))));
                }
                (Some((place, error)), Entry::Unit(joined)) => {
                    let error = errors::unit_refused(&joined.name, place, &error);
                    refused.push(Outcome::Unit(joined, Err(error)));
                }
            }
        }
        self.entries = kept;
        self.inner.settle_all(refused);
    }

    /// Fails the units with offsets of this member of a consumer group, and keeps the others.
    pub(super) fn refuse_group(&mut self, group: &ConsumerGroup, cause: &Error) {
        let is_refused =
            |entry: &Entry| matches!(entry, Entry::Unit(joined) if joined.unit.group.as_ref() == Some(group));
        let (refused, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.entries).into_iter().partition(is_refused);
        self.entries = kept;
        let attempts = self.replays.saturating_add(1);
        let error = |name: &str| errors::offsets_refused(name, cause).with_attempts(attempts);
        self.inner.settle_all(refused.into_iter().map(|entry| entry.failed(error)));
    }

    /// Takes the second half as a batch of its own, to be sent after this one.
    pub(super) fn halve(&mut self) -> Self {
        let rest = self.entries.split_off(self.entries.len().div_ceil(2));
        let Self { stage, replays, attempts, cut, .. } = *self;
        Self { entries: rest, inner: Arc::clone(&self.inner), stage, replays, attempts, cut }
    }

    pub(super) fn now(&self) -> Instant {
        self.inner.now()
    }
}

impl Drop for Batch {
    /// Called with records only if the owner task was stopped or its runtime ended.
    fn drop(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        let persistence = self.stage.persistence();
        self.fail(|topic| errors::stopped(topic, persistence, "the batching layer ended"));
    }
}
