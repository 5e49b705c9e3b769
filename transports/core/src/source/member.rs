//! The partitions that a source owns, from their assignment until they are given back. No clock, no lock, no async.
//!
//! | state | left when |
//! |---|---|
//! | `Active`: read | revoked, lost, or the source closes |
//! | `Draining`: not read; records in the user's hands can still be settled | none is left, or the deadline passes |
//! | `Drained`: only with a listener, which is asked when all are drained | it has answered, or its deadline passes |
//! | `Committing`: what is settled is committed | nothing is due any more, or the deadline passes |
//! | `Done` | all partitions of the same revocation are done, and are given back together |
//!
//! A lost partition is forgotten at once, in any state. The protocols of Kafka differ only in the events: with the eager
//! one a revocation has all partitions, with the cooperative one and KIP-848 only those that move; the others keep their
//! epoch and are not affected.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::PartitionMap;
use crate::clock::later;
use crate::{Assignment, TopicPartition};

/// The partitions of one source.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    partitions: PartitionMap<Owned>,
    last_epoch: u64,
    /// The revocation that the group waits for.
    revoked: Option<Vec<TopicPartition>>,
    phase: Phase,
    commit_within: Duration,
    /// Whether a listener is asked before what was drained is committed, and how long it may take.
    listener: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Owned {
    /// Epoch of the assignment, or of the user's last seek. Later epochs of the partition are those of rewinds.
    since: u64,
    epoch: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active,
    Draining {
        until: Instant,
    },
    /// Without a time, the listener was not asked yet.
    Drained {
        until: Option<Instant>,
    },
    Committing {
        until: Instant,
    },
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Closing,
    Left,
}

/// Facts about a partition that is to be given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Whether records in the user's hands can still be settled.
    pub in_hand: bool,
    /// Whether settled records have to be committed before.
    pub due: bool,
}

/// What to do with partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MemberAction {
    /// Ask the listener, which has until then. [`Member::answered`] takes the answer.
    Ask(Vec<TopicPartition>, Instant),
    /// Give these partitions back: the answer to a revocation.
    Release(Vec<TopicPartition>),
    /// Leave the group.
    Leave,
}

impl Member {
    /// Creates a member without partitions. `commit_within`: how long a partition that is given back waits for the
    /// commit of what is settled. `listener`: how long a listener may take for a revocation, if there is one.
    #[must_use]
    pub(crate) fn new(commit_within: Duration, listener: Option<Duration>) -> Self {
        let (partitions, phase) = (PartitionMap::new(), Phase::Running);
        Self { partitions, last_epoch: 0, revoked: None, phase, commit_within, listener }
    }

    /// Takes an assignment. Returns the partitions to start: those that are not owned yet. None once the source closes.
    pub(crate) fn assign(&mut self, partitions: &[TopicPartition]) -> Vec<Assignment> {
        let mut started = Vec::new();
        for at in partitions {
            if self.phase == Phase::Running && !self.partitions.contains_key(at) {
                let epoch = self.new_epoch();
                // One text for each topic, which makes comparisons cheap.
                let known = self.partitions.keys().find(|known| known.topic == at.topic);
                let topic = known.map_or(&at.topic, |known| &known.topic);
                let at = TopicPartition { topic: Arc::clone(topic), partition: at.partition };
                self.partitions.insert(at.clone(), Owned { since: epoch, epoch, state: State::Active });
                started.push(Assignment { at, epoch });
            }
        }
        started
    }

    /// Takes a revocation. [`turn`](Self::turn) answers it, in the same turn if there is nothing to wait for. Records in
    /// the user's hands may be settled until `now + within`.
    pub(crate) fn revoke(&mut self, partitions: &[TopicPartition], now: Instant, within: Duration) {
        self.revoked.get_or_insert_default().extend_from_slice(partitions);
        for at in partitions {
            if let Some(owned) = self.partitions.get_mut(at) {
                owned.drain(later(now, within));
            }
        }
    }

    /// Forgets partitions: nothing of them may be committed. Returns those that were owned.
    pub(crate) fn lose(&mut self, partitions: &[TopicPartition]) -> Vec<TopicPartition> {
        let lost: Vec<_> = partitions.iter().filter(|at| self.partitions.remove(at).is_some()).cloned().collect();
        if let Some(revoked) = &mut self.revoked {
            revoked.retain(|at| !partitions.contains(at));
            if revoked.is_empty() && !partitions.is_empty() {
                // The group waits for nothing any more.
                self.revoked = None;
            }
        }
        lost
    }

    /// Gives all partitions back and leaves the group, as soon as records in the user's hands are settled, or after
    /// `within`.
    pub(crate) fn close(&mut self, now: Instant, within: Duration) {
        if self.phase == Phase::Running {
            self.phase = Phase::Closing;
        }
        for owned in self.partitions.values_mut() {
            owned.drain(later(now, within));
        }
    }

    /// The group was left.
    pub(crate) fn left(&mut self) {
        self.phase = Phase::Left;
        self.partitions.clear();
        self.revoked = None;
    }

    /// Returns what to do now. `facts` is asked about partitions that are to be given back.
    pub(crate) fn turn(&mut self, now: Instant, mut facts: impl FnMut(&TopicPartition) -> Facts) -> Vec<MemberAction> {
        let mut actions = Vec::new();
        let drained = match self.listener {
            None => State::Committing { until: later(now, self.commit_within) },
            Some(_) => State::Drained { until: None },
        };
        // Whether something drains that only a close gives back, and that the group takes back.
        let (mut drains, revoked) = ([false; 2], &self.revoked);
        for (at, owned) in self.partitions.iter_mut() {
            if let State::Draining { until } = owned.state {
                if until <= now || !facts(at).in_hand {
                    owned.state = drained;
                } else {
                    drains[usize::from(is_in(revoked, at))] = true;
                }
            }
        }
        actions.extend(self.ask(now, drains));
        for (at, owned) in self.partitions.iter_mut() {
            owned.commits(now, || facts(at));
        }
        let done = |at: &TopicPartition| self.partitions.get(at).is_none_or(|owned| owned.state == State::Done);
        if let Some(revoked) = self.revoked.take_if(|revoked| revoked.iter().all(done)) {
            self.partitions.retain(|at| !revoked.contains(at));
            actions.push(MemberAction::Release(revoked));
        }
        let all_done = self.partitions.values().all(|owned| owned.state == State::Done);
        if self.phase == Phase::Closing && self.revoked.is_none() && all_done {
            self.phase = Phase::Left;
            self.partitions.clear();
            actions.push(MemberAction::Leave);
        }
        actions
    }

    /// Asks the listener about everything that is drained and that it was not asked about, unless others of the same kind
    /// still drain.
    fn ask(&mut self, now: Instant, drains: [bool; 2]) -> Option<MemberAction> {
        let until = later(now, self.listener?);
        let (mut asked, revoked) = (Vec::new(), &self.revoked);
        for (at, owned) in self.partitions.iter_mut() {
            if owned.state == (State::Drained { until: None }) && !drains[usize::from(is_in(revoked, at))] {
                owned.state = State::Drained { until: Some(until) };
                asked.push(at.clone());
            }
        }
        (!asked.is_empty()).then_some(MemberAction::Ask(asked, until))
    }

    /// The listener has answered for a partition that it was [asked](MemberAction::Ask) about: what is settled may be
    /// committed, or not. False if it is too late.
    pub(crate) fn answered(&mut self, at: &TopicPartition, may_commit: bool, now: Instant) -> bool {
        let Some(owned) = self.partitions.get_mut(at) else { return false };
        if !matches!(owned.state, State::Drained { until: Some(_) }) {
            return false;
        }
        let until = later(now, self.commit_within);
        owned.state = if may_commit { State::Committing { until } } else { State::Done };
        true
    }

    /// When to call [`turn`](Self::turn), if nothing happens before.
    #[must_use]
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let until = |owned: &Owned| match owned.state {
            State::Draining { until } | State::Committing { until } => Some(until),
            State::Drained { until } => until,
            State::Active | State::Done => None,
        };
        self.partitions.values().filter_map(until).min()
    }

    /// Whether a partition waits for a commit before it is given back.
    #[must_use]
    pub(crate) fn wants_commit(&self) -> bool {
        self.partitions.values().any(|owned| matches!(owned.state, State::Committing { .. }))
    }

    /// Starts a new epoch of a partition that is read, for a seek.
    pub(crate) fn rewound(&mut self, at: &TopicPartition) -> Option<Assignment> {
        let epoch = self.new_epoch();
        let owned = self.partitions.get_mut(at).filter(|owned| owned.state == State::Active)?;
        owned.epoch = epoch;
        Some(Assignment { at: at.clone(), epoch })
    }

    /// Starts a new epoch of a partition that is read, elsewhere. Commits of it that have no answer do not count any more.
    pub(crate) fn moved(&mut self, at: &TopicPartition) -> Option<Assignment> {
        let moved = self.rewound(at)?;
        self.partitions.get_mut(at)?.since = moved.epoch;
        Some(moved)
    }

    /// Whether a partition is read.
    #[must_use]
    pub(crate) fn is_active(&self, at: &TopicPartition) -> bool {
        self.partitions.get(at).is_some_and(|owned| owned.state == State::Active)
    }

    /// The epoch in which a partition was assigned, if it is still owned.
    #[must_use]
    pub(crate) fn owned_since(&self, at: &TopicPartition) -> Option<u64> {
        self.partitions.get(at).map(|owned| owned.since)
    }

    /// The partitions that are read, in order.
    pub(crate) fn active(&self) -> impl Iterator<Item = Assignment> {
        let active = self.partitions.iter().filter(|(_, owned)| owned.state == State::Active);
        active.map(|(at, owned)| Assignment { at: at.clone(), epoch: owned.epoch })
    }

    /// Whether the source closes or has left.
    #[must_use]
    pub(crate) fn is_closing(&self) -> bool {
        self.phase != Phase::Running
    }

    fn new_epoch(&mut self) -> u64 {
        self.last_epoch += 1;
        self.last_epoch
    }
}

impl Owned {
    /// An earlier deadline stays.
    fn drain(&mut self, until: Instant) {
        match &mut self.state {
            State::Active => self.state = State::Draining { until },
            State::Draining { until: present } => *present = until.min(*present),
            State::Drained { .. } | State::Committing { .. } | State::Done => {}
        }
    }

    fn commits(&mut self, now: Instant, mut facts: impl FnMut() -> Facts) {
        let done = match self.state {
            State::Committing { until } => until <= now || !facts().due,
            // The listener has not answered.
            State::Drained { until } => until.is_some_and(|until| until <= now),
            State::Active | State::Draining { .. } | State::Done => false,
        };
        if done {
            self.state = State::Done;
        }
    }
}

fn is_in(revoked: &Option<Vec<TopicPartition>>, at: &TopicPartition) -> bool {
    revoked.as_ref().is_some_and(|revoked| revoked.contains(at))
}

#[cfg(test)]
mod tests;
