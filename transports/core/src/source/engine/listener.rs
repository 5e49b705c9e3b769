//! What a listener of the application has to answer before a partition goes on.

use std::time::Instant;

use super::{Action, Engine};
use crate::{Assignment, TopicPartition};

/// What the listener was told of a partition and has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listening {
    /// Nothing.
    Done,
    /// It was assigned, and is not read yet.
    Assigned,
    /// It is being given back. It drains until the answer, at most for the time of a drain.
    Revoking,
    /// It is drained. Nothing of it is committed before the answer, or at all if there is none in time.
    Revoked,
}

impl Engine {
    /// The listener is ready for a partition, which begins at this offset, or, without one, as without the listener. False if
    /// the assignment has ended.
    pub fn prepared(&mut self, at: &Assignment) -> bool {
        let Some(partition) = self.assigned(at).filter(|partition| partition.listener == Listening::Assigned) else {
            return false;
        };
        partition.listener = Listening::Done;
        true
    }

    /// Whether the listener has to answer before an assignment is read.
    #[must_use]
    pub fn is_preparing(&self, at: &Assignment) -> bool {
        let partition = self.partitions.get(&at.at).filter(|partition| partition.assigned == at.epoch);
        self.member.is_active(&at.at) && partition.is_some_and(|of| of.listener == Listening::Assigned)
    }

    /// The listener has answered to [`Action::Revoking`]. Afterwards the drain waits only for records in the user's hands.
    pub fn revoking_heard(&mut self, at: &Assignment) {
        let partition = self.assigned(at).filter(|partition| partition.listener == Listening::Revoking);
        if let Some(partition) = partition {
            partition.listener = Listening::Done;
        }
    }

    /// The listener has answered to [`Action::Revoked`]: what is settled may be committed, or not, because the listener has
    /// failed. False if it is too late: the partition was lost, or given back without a commit.
    pub fn revoked_heard(&mut self, at: &Assignment, may_commit: bool, now: Instant) -> bool {
        if self.assigned(at).is_none() || !self.member.answered(&at.at, may_commit, now) {
            return false;
        }
        if let (true, Some(partition)) = (may_commit, self.assigned(at)) {
            partition.listener = Listening::Done;
        }
        true
    }

    fn assigned(&mut self, at: &Assignment) -> Option<&mut super::Partition> {
        self.partitions.get_mut(&at.at).filter(|partition| partition.assigned == at.epoch)
    }

    /// Partitions are about to be given back.
    pub(super) fn revoking(&mut self, partitions: &[TopicPartition], until: Instant) {
        if !self.settings.listener {
            return;
        }
        let mut told = Vec::new();
        for at in partitions.iter().filter(|at| self.member.is_active(at)) {
            if let Some(partition) = self.partitions.get_mut(at) {
                partition.listener = Listening::Revoking;
                told.push(Assignment { at: at.clone(), epoch: partition.assigned });
            }
        }
        if !told.is_empty() {
            self.actions.push(Action::Revoking(told, until));
        }
    }

    /// Partitions are drained, and the listener has until then.
    pub(super) fn revoked(&mut self, partitions: &[TopicPartition], until: Instant) {
        let mut asked = Vec::new();
        for at in partitions {
            if let Some(partition) = self.partitions.get_mut(at) {
                partition.listener = Listening::Revoked;
                asked.push(Assignment { at: at.clone(), epoch: partition.assigned });
            }
        }
        self.actions.push(Action::Revoked(asked, until));
    }
}
