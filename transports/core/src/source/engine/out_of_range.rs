//! How a partition goes on whose next offset is not in its log.

use std::time::Instant;

use super::{Action, Engine, Notice, Partition};

/// How a source goes on in a partition whose next offset is not in its log any more (the second meaning of
/// `auto.offset.reset`): records were deleted before they were read, or the log was truncated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutOfRangePolicy {
    /// Not at all: an error says where the log begins and ends, and the partition waits until the application seeks in it.
    Fail,
    /// At the first record in the log. The records that were deleted are counted in a warning.
    #[default]
    Earliest,
    /// At the end of the log. The records that are skipped are counted in a warning.
    Latest,
}

/// The next offset, and the log that does not have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutOfRange {
    pub(super) offset: i64,
    pub(super) start: i64,
    pub(super) end: i64,
    /// The user knows, and decides.
    pub(super) told: bool,
}

impl Partition {
    /// Whether the policy may be followed: everything that was read is settled. Otherwise it may be settled yet, and records
    /// that were read and not handed out are nowhere else any more.
    pub(super) fn may_leave_range(&self) -> bool {
        let waits = self.out_of_range.is_some_and(|of| !of.told);
        waits && self.watermark.len() == 0 && self.seek_at.is_none() && !self.locating
    }
}

impl Engine {
    /// Follows the policy in partitions whose next offset is not in their log.
    pub(super) fn leave_range(&mut self, now: Instant) {
        let policy = self.settings.out_of_range;
        let leaving = self.partitions.iter().filter(|(at, of)| of.may_leave_range() && self.member.is_active(at));
        let leaving: Vec<_> = leaving.filter_map(|(at, of)| Some((at.clone(), of.out_of_range?))).collect();
        for (at, OutOfRange { offset, start, end, .. }) in leaving {
            let to = match policy {
                OutOfRangePolicy::Earliest => start,
                OutOfRangePolicy::Latest => end,
                OutOfRangePolicy::Fail => {
                    let partition = self.partitions.get_mut(&at);
                    partition.and_then(|of| of.out_of_range.as_mut()).into_iter().for_each(|of| of.told = true);
                    self.actions.push(Action::Notice(Notice::OutOfRange { at, offset, start, end }));
                    continue;
                }
            };
            if offset >= start {
                // Behind the end, or the log is another one: the place is before what the group has.
                self.seek(&at, to, now);
                self.actions.push(Action::Notice(Notice::Restarted(at, to)));
                continue;
            }
            // A hole like any other: what was settled before it stays due.
            let (Some(assignment), Some(partition)) = (self.member.rewound(&at), self.partitions.get_mut(&at)) else {
                continue;
            };
            partition.out_of_range = None;
            partition.watermark.rewind(assignment.epoch);
            partition.watermark.reach(to, assignment.epoch);
            self.committer.moved(now, 0);
            self.actions.push(Action::Seek { at: assignment, to });
            self.actions.push(Action::Notice(Notice::Skipped { at, from: offset, to }));
        }
    }
}
