//! Commits of certain offsets, and those before a record is handed out.

use std::time::Instant;

use super::{CommitStrategy, CommitWait, DeliveryId, Engine, Notice};
use crate::TopicPartition;

impl Engine {
    /// The next offset to read of each partition that is owned, up to the first record that is not settled.
    #[must_use]
    pub fn checkpoint(&self) -> Vec<(TopicPartition, i64)> {
        let owned = self.partitions.iter().filter(|(at, _)| self.member.owned_since(at).is_some());
        owned.filter_map(|(at, partition)| Some((at.clone(), partition.watermark.committable()?))).collect()
    }

    /// The offset up to which everything of a partition is settled.
    #[must_use]
    pub fn settled_offset(&self, at: &TopicPartition) -> Option<i64> {
        self.partitions.get(at)?.watermark.committable()
    }

    /// Starts to commit these offsets, none beyond a record that is not settled. [`Action::Answer`](super::Action::Answer) has
    /// the result. `None` if the group has them.
    ///
    /// # Errors
    ///
    /// [`Notice::Gone`] with the partitions that are not owned any more. The others are committed.
    pub fn commit_offsets(
        &mut self,
        offsets: impl IntoIterator<Item = (TopicPartition, i64)>,
        now: Instant,
    ) -> Result<Option<CommitWait>, Notice> {
        let (mut targets, mut gone) = (Vec::new(), Vec::new());
        for (at, offset) in offsets {
            let (Some(partition), Some(since)) = (self.partitions.get_mut(&at), self.member.owned_since(&at)) else {
                gone.push(at);
                continue;
            };
            let Some(offset) = partition.watermark.committable().map(|settled| settled.min(offset)) else { continue };
            if partition.watermark.last_committed().is_none_or(|committed| committed < offset) {
                partition.asked = partition.asked.max(Some(offset));
                partition.aside_until = None;
                targets.push((at, since, offset));
            }
        }
        if !targets.is_empty() {
            self.committer.request(now);
            self.committer.hurry(now);
        }
        if !gone.is_empty() {
            return Err(Notice::Gone(gone));
        }
        Ok(if targets.is_empty() { None } else { Some(self.wait(targets, false, now)) })
    }

    /// Starts to commit a record that is settled. It is committed when the records before it in its partition are settled, too.
    /// `None` if it is committed.
    ///
    /// # Errors
    ///
    /// [`Notice::Gone`] if the partition is not owned any more.
    pub fn commit_record(
        &mut self,
        at: &TopicPartition,
        offset: i64,
        now: Instant,
    ) -> Result<Option<CommitWait>, Notice> {
        let (Some(partition), Some(since)) = (self.partitions.get_mut(at), self.member.owned_since(at)) else {
            return Err(Notice::Gone(vec![at.clone()]));
        };
        if partition.watermark.last_committed().is_some_and(|committed| committed > offset) {
            return Ok(None);
        }
        partition.aside_until = None;
        self.committer.request(now);
        self.committer.hurry(now);
        Ok(Some(self.wait(vec![(at.clone(), since, offset + 1)], true, now)))
    }

    /// With [`CommitStrategy::AtMostOnce`]: whether a record that was read may not be handed out yet, because it is not committed.
    pub fn waits_for_commit(&mut self, at: &TopicPartition, id: DeliveryId, now: Instant) -> bool {
        let partition = self.partitions.get(at).filter(|_| self.member.is_active(at));
        let Some(partition) = partition.filter(|of| of.strategy == CommitStrategy::AtMostOnce) else { return false };
        // A stale record is not handed out anyway.
        let Some(offset) = partition.watermark.offset(id) else { return false };
        let waits = partition.watermark.last_committed().is_none_or(|committed| committed <= offset);
        if waits {
            self.committer.moved(now, 0);
        }
        waits
    }
}
