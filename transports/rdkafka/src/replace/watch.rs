//! The event loop's state about a client in trouble, and which reports concern it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::codes;
use crate::ffi::Report;
use crate::slot::Slot;
use crate::stuck_partitions::{Partition, PartitionTroubles, ReplaceBackOff, StuckReason};

/// Interval at which the records in flight to other partitions are checked.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The event loop's state about a client in trouble.
#[derive(Default)]
pub(crate) struct StuckWatch {
    pub(crate) troubles: PartitionTroubles,
    pub(super) back_off: ReplaceBackOff,
    pub(super) paused: Option<PausedPartitions>,
    pub(super) look: Option<Instant>,
    /// Records of the old instance that go to the new one, while both exist.
    pub(super) taken_back: Option<Vec<Arc<Slot>>>,
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
        self.paused.is_some().then_some(CHECK_INTERVAL)
    }

    /// Called when a topic's partition count changed: new partitions are not paused.
    pub(crate) fn partitions_changed(&mut self) {
        if let Some(paused) = &mut self.paused {
            paused.is_sure = false;
        }
    }

    /// Looks at a report. Returns whether it takes the record back from the old instance, which certainly never sent
    /// it.
    pub(crate) fn takes(&mut self, report: &Report<'_>) -> bool {
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
        taken_back.push(Arc::clone(report.slot));
        true
    }
}
