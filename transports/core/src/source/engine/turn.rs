//! Events, and the turn that answers them.

use std::time::{Duration, Instant};

use super::{Action, Engine, Listening, Notice, OutOfRange, Partition, Wait};
use crate::clock::later;
use crate::source::{Facts, MemberAction};
use crate::{CommitAnswer, CommitTicket, GroupEvent, TopicOffset, TopicPartition};

/// How long a partition is set aside whose commit was refused.
const ASIDE: Duration = Duration::from_secs(60);

impl Engine {
    /// Takes an event. Call [`turn`](Self::turn) afterwards.
    pub fn event(&mut self, now: Instant, event: GroupEvent) {
        match event {
            GroupEvent::Assigned(partitions) => {
                let started = self.member.assign(&partitions);
                for started in &started {
                    let mut partition = Partition::new(started.epoch, self.settings.commits.strategy);
                    partition.locating = self.settings.locate;
                    if self.settings.listener {
                        partition.listener = Listening::Assigned;
                    }
                    self.partitions.insert(started.at.clone(), partition);
                    self.actions.push(Action::Start(started.clone()));
                    if self.settings.locate && !self.settings.listener {
                        self.actions.push(Action::Locate(started.clone()));
                    }
                }
                if self.settings.listener && !started.is_empty() {
                    self.actions.push(Action::Assigned(started));
                }
            }
            GroupEvent::Revoked(partitions) => {
                self.revoking(&partitions, later(now, self.settings.drain));
                self.member.revoke(&partitions, now, self.settings.drain);
                self.committer.hurry(now);
            }
            GroupEvent::Lost(partitions) => {
                let lost = self.member.lose(&partitions);
                let left = self.end_partitions(&lost);
                if self.member.is_closing() {
                    self.closed.unsettled.extend(left);
                }
                if !lost.is_empty() {
                    self.actions.push(Action::Notice(Notice::Lost(lost)));
                }
            }
            GroupEvent::Committed { ticket, answers } => self.committed(now, ticket, &answers),
            GroupEvent::Restarted { at, from } => {
                if self.seek(&at, from, now) {
                    self.actions.push(Action::Notice(Notice::Restarted(at, from)));
                }
            }
            GroupEvent::OutOfRange { at, offset, start, end } => {
                if let Some(partition) = self.current(&at) {
                    partition.out_of_range = Some(OutOfRange { offset, start, end, told: false });
                }
            }
            GroupEvent::Unable { error, at } => self.actions.push(Action::Notice(Notice::Unable(error, at))),
            GroupEvent::Failed(error) => self.actions.push(Action::Notice(Notice::Failed(error))),
            GroupEvent::Left => {
                // The transport may end by itself. Nobody answers any more.
                self.end_all();
                self.member.left();
                self.sent.clear();
                self.waits.iter_mut().for_each(|wait| wait.deadline = now);
            }
        }
    }

    fn committed(&mut self, now: Instant, ticket: CommitTicket, answers: &[(TopicPartition, CommitAnswer)]) {
        let Some(sent) = self.sent.remove(&ticket) else { return };
        let mut again = false;
        let (mut failed, mut cause) = (Vec::new(), None);
        for (at, since, offset) in sent {
            if self.member.owned_since(&at) != Some(since) {
                continue;
            }
            let Some(partition) = self.partitions.get_mut(&at) else { continue };
            match answers.iter().find(|(answered, _)| *answered == at).map(|(_, answer)| answer) {
                Some(CommitAnswer::Committed) => {
                    partition.watermark.committed(offset);
                    partition.failing = None;
                }
                Some(CommitAnswer::NotAMember(_)) if !self.member.is_active(&at) => partition.fenced = true,
                Some(CommitAnswer::Refused(error)) => {
                    partition.aside_until = Some(later(now, ASIDE));
                    // A partition that is given back does not wait for that.
                    partition.fenced |= !self.member.is_active(&at);
                    let notice = Notice::NotCommitted(vec![at.clone()], Some(error.clone()));
                    self.fail_waits(&at, &notice);
                    self.actions.push(Action::Notice(notice));
                }
                Some(CommitAnswer::Retry(error) | CommitAnswer::NotAMember(error)) => {
                    again = true;
                    let mut since = partition.failing.take().map_or(now, |(since, _)| since);
                    if later(since, self.settings.commits.timeout) <= now {
                        failed.push(at);
                        cause.get_or_insert_with(|| error.clone());
                        since = now;
                    }
                    partition.failing = Some((since, error.clone()));
                }
                None => again = true,
            }
        }
        if !failed.is_empty() {
            self.actions.push(Action::Notice(Notice::NotCommitted(failed, cause)));
        }
        self.committer.answered(ticket, now, again);
    }

    /// Ends the waits for a commit of this partition.
    pub(super) fn fail_waits(&mut self, at: &TopicPartition, notice: &Notice) {
        let (failed, others) =
            self.waits.drain(..).partition(|wait| wait.targets.iter().any(|(target, ..)| target == at));
        self.waits = others;
        let failed: Vec<Wait> = failed;
        self.actions.extend(failed.into_iter().map(|wait| Action::Answer(wait.id, Err(notice.clone()))));
    }

    /// Returns what to do now, in order, and when to call it again, if nothing happens before.
    pub fn turn(&mut self, now: Instant) -> (Vec<Action>, Option<Instant>) {
        self.seek_back(now);
        self.leave_range(now);
        self.look_for_stalls(now);
        if let Some(ticket) = self.committer.overdue(now) {
            let sent = self.sent.get(&ticket).into_iter().flatten();
            let partitions: Vec<_> = sent.map(|(at, ..)| at.clone()).collect();
            partitions.iter().for_each(|at| drop(self.partitions.get_mut(at).and_then(|of| of.failing.take())));
            self.actions.push(Action::Notice(Notice::NotCommitted(partitions, None)));
        }
        self.answer_waits(now);
        self.give_back_partitions(now);
        self.commit(now);
        self.promised = self.wake_at(now);
        (std::mem::take(&mut self.actions), self.promised)
    }

    fn seek_back(&mut self, now: Instant) {
        for (at, partition) in self.partitions.iter_mut() {
            if partition.seek_at.is_none_or(|due| due > now) || partition.watermark.rejected() > 0 {
                continue;
            }
            let Some(assignment) = self.member.rewound(at) else { continue };
            (partition.seek_at, partition.out_of_range) = (None, None);
            if let Some(to) = partition.watermark.rewind(assignment.epoch) {
                self.actions.push(Action::Seek { at: assignment, to });
            }
        }
    }

    fn give_back_partitions(&mut self, now: Instant) {
        let (commits, waits, partitions) = (self.commits_on_revoke(), !self.is_at_most_once(), &self.partitions);
        let facts = |at: &TopicPartition| {
            let partition = partitions.get(at);
            let heard = partition.is_none_or(|partition| partition.listener != Listening::Revoking);
            Facts {
                in_hand: !heard || waits && partition.is_some_and(|partition| partition.watermark.in_hand() > 0),
                due: commits && partition.is_some_and(|partition| partition.holds_release(now)),
            }
        };
        for action in self.member.turn(now, facts) {
            match action {
                MemberAction::Ask(drained, until) => self.revoked(&drained, until),
                MemberAction::Release(released) => {
                    let unsettled = self.end_partitions(&released);
                    if self.member.is_closing() {
                        self.closed.unsettled.extend(unsettled);
                    } else if !unsettled.is_empty() {
                        self.actions.push(Action::Notice(Notice::Unsettled(unsettled)));
                    }
                    self.actions.push(Action::Release(released));
                }
                MemberAction::Leave => {
                    self.end_all();
                    self.actions.push(Action::Leave);
                }
            }
        }
        if commits && self.member.wants_commit() {
            self.committer.request(now);
        }
    }

    /// Ends what is left when the source leaves.
    fn end_all(&mut self) {
        let all: Vec<_> = self.partitions.keys().cloned().collect();
        let left = self.end_partitions(&all);
        self.closed.unsettled.extend(left);
    }

    fn commit(&mut self, now: Instant) {
        for partition in self.partitions.values_mut() {
            if partition.aside_until.take_if(|until| *until <= now).is_some() {
                self.committer.moved(now, 0);
            }
        }
        let due = self.partitions.iter().filter_map(|(at, partition)| Some((at, partition.due(now)?)));
        let due = due.filter_map(|(at, offset)| Some((at.clone(), self.member.owned_since(at)?, offset)));
        let due: Vec<_> = due.collect();
        let Some(ticket) = self.committer.start(now, !due.is_empty()) else { return };
        let offset = |(at, _, offset): &(TopicPartition, u64, i64)| TopicOffset {
            topic: at.topic.clone(),
            partition: at.partition,
            offset: *offset,
        };
        let offsets = due.iter().map(offset).collect();
        self.sent.insert(ticket, due);
        self.actions.push(Action::Commit { ticket, offsets });
    }

    fn answer_waits(&mut self, now: Instant) {
        for mut wait in std::mem::take(&mut self.waits) {
            let mut lost = Vec::new();
            wait.targets.retain(|(at, since, offset)| {
                let owned = self.member.owned_since(at) == Some(*since);
                if !owned {
                    lost.push(at.clone());
                }
                let committed = self.partitions.get(at).and_then(|partition| partition.watermark.last_committed());
                owned && committed.is_none_or(|committed| committed < *offset)
            });
            let result = if !lost.is_empty() {
                self.gone.retain(|at| !lost.contains(at));
                Err(Notice::Gone(lost))
            } else if wait.targets.is_empty() {
                Ok(())
            } else if wait.deadline <= now {
                let behind = |(at, _, offset): &&(TopicPartition, u64, i64)| {
                    let partition = self.partitions.get(at);
                    wait.record && partition.is_some_and(|of| of.watermark.committable() < Some(*offset))
                };
                let behind: Vec<_> = wait.targets.iter().filter(behind).map(|(at, ..)| at.clone()).collect();
                if !behind.is_empty() {
                    self.actions.push(Action::Answer(wait.id, Err(Notice::Behind(behind))));
                    continue;
                }
                let failing = |(at, ..): &(TopicPartition, u64, i64)| self.partitions.get(at)?.failing.clone();
                let cause = wait.targets.iter().find_map(failing).map(|(_, error)| error);
                Err(Notice::NotCommitted(wait.targets.into_iter().map(|(at, ..)| at).collect(), cause))
            } else {
                self.waits.push(wait);
                continue;
            };
            self.actions.push(Action::Answer(wait.id, result));
        }
    }

    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let due = self.partitions.values().any(|partition| partition.due(now).is_some());
        let of_partition = |partition: &Partition| {
            let seek = partition.seek_at.filter(|_| partition.watermark.rejected() == 0);
            let aside = partition.aside_until.filter(|until| *until > now && partition.target().is_some());
            [seek, aside]
        };
        let active = self.partitions.iter().filter(|(at, _)| self.member.is_active(at));
        let of_partitions = active.flat_map(|(_, partition)| of_partition(partition)).flatten();
        let others = [self.member.wake_at(), self.committer.wake_at(due), self.look_at].into_iter().flatten();
        of_partitions.chain(others).chain(self.waits.iter().map(|wait| wait.deadline)).min()
    }
}
