//! Where partitions are read, if the user decides.

use std::time::Instant;

use super::{Action, Engine, Notice};
use crate::{Assignment, TopicPartition};

impl Engine {
    /// The partitions that are read, in order. Not those that are being given back.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.member.active().map(|at| at.at).collect()
    }

    /// Whether an assignment waits for [`located`](Self::located).
    #[must_use]
    pub fn is_locating(&self, at: &Assignment) -> bool {
        self.member.is_active(&at.at)
            && self.partitions.get(&at.at).is_some_and(|of| of.locating && of.watermark.epoch() == at.epoch)
    }

    /// A partition begins at this offset, or, without one, where the transport begins by itself. Changes nothing if the
    /// assignment does not wait for it any more.
    pub fn located(&mut self, at: &Assignment, offset: Option<i64>, now: Instant) {
        if !self.is_locating(at) {
            return;
        }
        if let Some(offset) = offset {
            self.seek(&at.at, offset, now);
        } else if let Some(partition) = self.partitions.get_mut(&at.at) {
            partition.locating = false;
        }
    }

    /// Continues a partition at an offset. What was read of it before is stale, whether settled or not, and the offset is
    /// due. False if the partition is not read by this source.
    pub fn seek(&mut self, at: &TopicPartition, to: i64, now: Instant) -> bool {
        let Some(partition) = self.partitions.get_mut(at) else { return false };
        let Some(assignment) = self.member.moved(at) else { return false };
        partition.watermark.seek(to, assignment.epoch);
        partition.attempts.clear();
        (partition.seek_at, partition.aside_until, partition.failing) = (None, None, None);
        (partition.locating, partition.asked, partition.out_of_range) = (false, None, None);
        self.gone.remove(at);
        self.actions.push(Action::Seek { at: assignment, to });
        self.fail_waits(at, &Notice::Moved(vec![at.clone()]));
        self.committer.moved(now, 0);
        true
    }

    /// Stops handing out records of a partition, until it is resumed or given back. False if it is not read by this source.
    pub fn pause(&mut self, at: &TopicPartition) -> bool {
        self.set_paused(at, true).is_some()
    }

    /// Hands records of a paused partition out again. False if it is not read by this source.
    pub fn resume(&mut self, at: &TopicPartition, now: Instant) -> bool {
        let was_paused = self.set_paused(at, false);
        if was_paused == Some(true) {
            if let Some(partition) = self.partitions.get_mut(at).filter(|partition| partition.watermark.has_waiting()) {
                // What was read and not handed out may be lost, and is read again.
                partition.seek_at = partition.seek_at.max(Some(now));
            }
        }
        was_paused.is_some()
    }

    /// Returns whether it was paused before.
    fn set_paused(&mut self, at: &TopicPartition, paused: bool) -> Option<bool> {
        let partition = self.partitions.get_mut(at).filter(|_| self.member.is_active(at))?;
        Some(std::mem::replace(&mut partition.paused, paused))
    }
}
