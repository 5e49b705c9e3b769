//! The event loop's state about a client in trouble, and which reports concern it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ended::Replacement;
use super::fatal::FatalBudget;
use super::unsent::{self, Queued, Refusals};
use crate::codes;
use crate::ffi::{Instance, Report};
use crate::held::HeldRecords;
use crate::stuck_partitions::{self, Partition, PartitionTroubles, ReplaceBackOff, StuckReason};

/// Interval at which the records in flight to other partitions are checked.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The event loop's state about a client in trouble.
#[derive(Default)]
pub(crate) struct StuckWatch {
    pub(crate) troubles: PartitionTroubles,
    pub(super) back_off: ReplaceBackOff,
    pub(super) paused: Option<PausedPartitions>,
    pub(super) look: Option<Instant>,
    /// Number of records of a stuck instance that are held again, while it gives up its records.
    pub(super) taken_back: Option<usize>,
    /// The old instance, while it gives up its records.
    pub(super) old: Option<Instance>,
    /// The client has ended, and is replaced.
    pub(super) replacement: Option<Replacement>,
    pub(super) budget: FatalBudget,
    /// Time between attempts to replace a client that lacks a right.
    pub(super) asks: ReplaceBackOff,
    pub(super) refusals: Refusals,
}

/// Partitions that are paused.
pub(super) struct PausedPartitions {
    pub(super) partitions: BTreeMap<Partition, StuckReason>,
    /// Records that were called after this are not sent while [`is_sure`](Self::is_sure).
    pub(super) since: Instant,
    /// All of them are paused, and none was recreated since.
    pub(super) is_sure: bool,
}

impl StuckWatch {
    /// Returns whether reports need not be looked at.
    pub(crate) fn has_no_trouble(&self) -> bool {
        self.troubles.is_empty() && self.paused.is_none() && self.taken_back.is_none()
    }

    /// Returns when to check again.
    pub(crate) fn next(&self) -> Option<Duration> {
        (self.paused.is_some() || self.replacement.is_some()).then_some(CHECK_INTERVAL)
    }

    /// Reads a line of librdkafka's log.
    pub(crate) fn read(&mut self, facility: &str, text: &str, now: Instant) {
        if facility == "PARTCNT" {
            self.partitions_changed();
        } else if let Some((sign, partition)) = stuck_partitions::symptom(facility, text) {
            self.troubles.sign(sign, partition, now);
        }
        self.refusals.read(facility, text, now);
    }

    /// Whether the client that has ended certainly never wrote the record. `lost`: when the client last lost a connection
    /// with a produce request on it.
    pub(crate) fn is_certain(&self, report: &Report<'_>, lost: Option<Instant>) -> bool {
        let record = Queued {
            code: report.code,
            status: report.status,
            topic: &report.slot.record().topic,
            partition: report.partition,
            called_at: report.slot.called_at(),
        };
        let lost = lost.max(self.old.as_ref().and_then(Instance::produce_lost));
        unsent::is_certain(&record, &self.refusals, lost)
    }

    /// Holds a record again that the client which has ended certainly never wrote. Returns whether it did.
    pub(crate) fn holds_again(&mut self, report: &Report<'_>, held: &HeldRecords) -> bool {
        let Some(replacement) = &mut self.replacement else { return false };
        if !report.slot.is_awaited_in_producer() {
            return false;
        }
        replacement.held_again += 1;
        held.push(Arc::clone(report.slot));
        true
    }

    /// Called when a topic's partition count changed: new partitions are not paused.
    fn partitions_changed(&mut self) {
        if let Some(paused) = &mut self.paused {
            paused.is_sure = false;
        }
    }

    /// Looks at a report. Returns whether it holds the record again, because the old instance certainly never sent it.
    pub(crate) fn takes(&mut self, report: &Report<'_>, held: &HeldRecords) -> bool {
        if report.code == 0 {
            self.troubles.delivered(&report.slot.record().topic, report.partition);
            return false;
        }
        let Some(taken_back) = &mut self.taken_back else { return false };
        if report.code != codes::LOCAL_PURGE_QUEUE || !report.slot.is_awaited_in_producer() {
            return false;
        }
        // The code is not enough: a record that was refused and waits for librdkafka's retry has the same code as one
        // that was never sent, but it may have been appended.
        // A paused partition sends no record that was called later.
        let is_paused = |paused: &PausedPartitions| {
            let partition = (report.slot.record().topic.to_string(), report.partition);
            paused.is_sure && paused.partitions.contains_key(&partition) && report.slot.called_at() > paused.since
        };
        if report.partition >= 0 && !self.paused.as_ref().is_some_and(is_paused) {
            return false;
        }
        *taken_back += 1;
        held.push(Arc::clone(report.slot));
        true
    }
}
