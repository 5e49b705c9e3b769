//! Where the source stands, and whether it gets on.

use std::time::{Duration, Instant};

use super::{Action, Engine, Notice, Partition, Standing};
use crate::TopicPartition;
use crate::clock::later;
use crate::source::Noticed;

impl Engine {
    /// Where the source stands in each of its partitions.
    pub fn standings(&mut self, now: Instant) -> Vec<Standing> {
        let (actions, standing) = (&mut self.actions, |at: &TopicPartition, partition: &Partition| Standing {
            at: at.clone(),
            unsettled: partition.watermark.unsettled(),
            next: partition.watermark.committable(),
            stalled: partition.stall.lasts(now),
        });
        let looked = self.partitions.iter_mut().map(|(at, partition)| {
            // The next turn tells what has gone on.
            actions.extend(partition.look(at, None, now));
            standing(at, partition)
        });
        looked.collect()
    }

    /// Looks for partitions that do not get on, four times in the time after which the user is told.
    pub(super) fn look_for_stalls(&mut self, now: Instant) {
        let Some(after) = self.settings.stall_warning else { return };
        if self.partitions.is_empty() {
            self.look_at = None;
            return;
        }
        let look_at = *self.look_at.get_or_insert(now);
        if look_at <= now {
            self.look_at = Some(later(now, (after / 4).max(Duration::from_millis(1))));
            for (at, partition) in self.partitions.iter_mut() {
                self.actions.extend(partition.look(at, Some(after), now));
            }
        }
    }
}

impl Partition {
    fn look(&mut self, at: &TopicPartition, after: Option<Duration>, now: Instant) -> Option<Action> {
        let (next, handed) = (self.watermark.committable(), self.watermark.has_handed());
        let at = || at.clone();
        let notice = match self.stall.look(next, handed, after, now)? {
            Noticed::Stalled(offset, lasts) => Notice::Stalled(at(), offset, lasts),
            Noticed::GoesOn(offset, lasts) => Notice::GoesOn(at(), offset, lasts),
        };
        Some(Action::Notice(notice))
    }
}
