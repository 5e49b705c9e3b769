//! What a source does next: puts watermarks, commits and partitions together. No clock, no lock, no async.
//!
//! The reader and the messages call the methods of this file; [`turn`](Engine::turn) is called by the transport. A method
//! that may bring a turn forward says so by its result or by [`needs_turn`](Engine::needs_turn).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{CommitSettings, CommitStrategy, Committer, DeliveryId, Member, PartitionMap, Settled, Stall, Watermark};
use crate::clock::later;
use crate::{Assignment, CommitTicket, Error, TopicPartition};

mod action;
mod checkpoint;
mod listener;
mod out_of_range;
mod place;
mod standing;
mod transaction;
mod turn;

pub use action::{Action, Change, Closed, CommitWait, Notice, Standing, Unsettled};
use listener::Listening;
use out_of_range::OutOfRange;
pub use out_of_range::OutOfRangePolicy;
pub use transaction::Span;

/// Longest delay before a record is delivered again.
const MAX_REDELIVERY: Duration = Duration::from_secs(30);

/// Settings of an [`Engine`].
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// When it commits.
    pub commits: CommitSettings,
    /// Whether settled records are committed when partitions are given back and at the close.
    pub commit_on_revoke: bool,
    /// How long a revocation waits for records in the user's hands.
    pub drain: Duration,
    /// First delay before a record that was given back is delivered again; it doubles with each attempt, up to 30 s.
    pub redelivery_backoff: Duration,
    /// Maximum number of records of a partition that are not settled, or settled behind one that is not.
    pub max_unsettled: usize,
    /// Whether each partition waits for [`Engine::located`] when it is assigned.
    pub locate: bool,
    /// How a partition goes on whose next offset is not in its log any more.
    pub out_of_range: OutOfRangePolicy,
    /// After which time the user is told of a partition whose first record in the user's hands is not settled. `None`: never.
    pub stall_warning: Option<Duration>,
    /// Whether a listener is told of assignments and revocations, and partitions wait for it.
    pub listener: bool,
}

/// State of a source.
#[derive(Debug)]
pub struct Engine {
    settings: EngineSettings,
    member: Member,
    committer: Committer,
    partitions: PartitionMap<Partition>,
    /// Commits without an answer: the offset of each partition, and the epoch of its assignment.
    sent: BTreeMap<CommitTicket, Vec<(TopicPartition, u64, i64)>>,
    waits: Vec<Wait>,
    next_wait: u64,
    /// Partitions that ended with settled records that are not committed, until a [`commit_now`](Self::commit_now) says so.
    gone: BTreeSet<TopicPartition>,
    /// Results of events, until the next turn ends.
    actions: Vec<Action>,
    /// When to look for stalls again.
    look_at: Option<Instant>,
    /// When the transport calls the next turn.
    promised: Option<Instant>,
    closed: Closed,
}

#[derive(Debug)]
struct Partition {
    watermark: Watermark,
    /// When to seek back to the first record that has to be delivered again.
    seek_at: Option<Instant>,
    /// Number of failed attempts, by offset.
    attempts: BTreeMap<i64, u32>,
    /// Until when its commits are not repeated, because they were refused.
    aside_until: Option<Instant>,
    /// Its commits fail: since when, or since the user was told, and the last error.
    failing: Option<(Instant, Error)>,
    /// The group refused a commit of this member while the partition was being given back.
    fenced: bool,
    /// It is not known yet where it begins.
    locating: bool,
    /// The epoch in which it was assigned.
    assigned: u64,
    /// What the listener has to answer before it goes on.
    listener: Listening,
    /// The user does not want its records at present.
    paused: bool,
    /// The next offset is not in the log: nothing more is read.
    out_of_range: Option<OutOfRange>,
    strategy: CommitStrategy,
    /// The offset to commit with [`CommitStrategy::Checkpoint`].
    asked: Option<i64>,
    stall: Stall,
}

#[derive(Debug)]
struct Wait {
    id: CommitWait,
    targets: Vec<(TopicPartition, u64, i64)>,
    deadline: Instant,
    /// Until a record is committed, and not only what was settled at the call.
    record: bool,
}

impl Engine {
    /// Creates an engine without partitions.
    #[must_use]
    pub fn new(settings: EngineSettings) -> Self {
        Self {
            member: Member::new(settings.commits.timeout, settings.listener.then_some(settings.drain)),
            committer: Committer::new(settings.commits),
            settings,
            partitions: PartitionMap::new(),
            sent: BTreeMap::new(),
            waits: Vec::new(),
            next_wait: 0,
            gone: BTreeSet::new(),
            actions: Vec::new(),
            look_at: None,
            promised: None,
            closed: Closed::default(),
        }
    }

    /// The partitions from which records may be read now, in order.
    #[must_use]
    pub fn readable(&self) -> Vec<Assignment> {
        self.member.active().filter(|at| self.is_readable(&at.at)).collect()
    }

    /// Whether records may be read from a partition now.
    fn is_readable(&self, at: &TopicPartition) -> bool {
        let room = |partition: &Partition| partition.watermark.len() < self.settings.max_unsettled;
        self.member.is_active(at)
            && self.partitions.get(at).is_some_and(|of| of.is_open() && of.out_of_range.is_none() && room(of))
    }

    /// Number of records that may be read from a partition now.
    #[must_use]
    pub fn room(&self, at: &Assignment) -> usize {
        let used = self.partitions.get(&at.at).map_or(usize::MAX, |partition| partition.watermark.len());
        self.settings.max_unsettled.saturating_sub(used)
    }

    /// Enters the records of a batch, one after another: call the result with their offsets. It returns `None` for a record that
    /// is of an old epoch, or out of order.
    pub fn deliver(&mut self, at: &Assignment) -> impl FnMut(i64) -> Option<DeliveryId> {
        let mut current = self.current(at);
        move |offset| current.as_mut()?.watermark.deliver(offset)
    }

    /// The transport continues at this position.
    pub fn reach(&mut self, at: &Assignment, position: i64, now: Instant) {
        let Some(partition) = self.current(at) else { return };
        let before = partition.target();
        partition.watermark.reach(position, at.epoch);
        if partition.target() != before {
            self.committer.moved(now, 0);
        }
    }

    fn current(&mut self, at: &Assignment) -> Option<&mut Partition> {
        self.partitions.get_mut(&at.at).filter(|partition| partition.watermark.epoch() == at.epoch)
    }

    /// Hands a record to the user. Returns the number of the attempt, from 1. `None` if it may not be handed out any more;
    /// then it is delivered again, here or to its partition's next owner.
    pub fn dispatch(&mut self, at: &TopicPartition, id: DeliveryId) -> Option<u32> {
        let partition = self.partitions.get_mut(at).filter(|partition| partition.is_open())?;
        if !self.member.is_active(at) || !partition.watermark.dispatch(id) {
            return None;
        }
        if partition.attempts.is_empty() {
            return Some(1);
        }
        let failed = partition.watermark.offset(id).and_then(|offset| partition.attempts.get(&offset));
        Some(1 + failed.copied().unwrap_or(0))
    }

    /// A record that was [handed](Self::dispatch) to the user cannot be handled, for example because it could not be decoded.
    /// Its partition waits until it is settled or given back.
    pub fn reject(&mut self, at: &TopicPartition, id: DeliveryId, now: Instant) -> Settled {
        let Some(partition) = self.partitions.get_mut(at) else { return Settled::Stale };
        let rejected = partition.watermark.reject(id);
        if rejected == Settled::Done {
            // What was read behind it is not handed out, and has to be read again.
            partition.seek_at = partition.seek_at.max(Some(now));
        }
        rejected
    }

    /// The user has handled a record. `now` is asked only if it matters.
    pub fn settle(&mut self, at: &TopicPartition, id: DeliveryId, now: impl Fn() -> Instant) -> Change {
        let change = self.end(at, id, now);
        self.closed.settled += u64::from(change.settled == Settled::Done);
        change
    }

    /// The user settles a record without handling it.
    pub fn skip(&mut self, at: &TopicPartition, id: DeliveryId, now: Instant) -> Change {
        let change = self.end(at, id, || now);
        self.closed.skipped += u64::from(change.settled == Settled::Done);
        change
    }

    /// A record is settled, because its dead letter is delivered.
    pub fn dead_letter(&mut self, at: &TopicPartition, id: DeliveryId, now: Instant) -> Change {
        let change = self.end(at, id, || now);
        self.closed.dead_lettered += u64::from(change.settled == Settled::Done);
        change
    }

    fn end(&mut self, at: &TopicPartition, id: DeliveryId, now: impl Fn() -> Instant) -> Change {
        let Some(partition) = self.partitions.get_mut(at) else { return self.changed(at, Settled::Stale) };
        let offset = if partition.attempts.is_empty() { None } else { partition.watermark.offset(id) };
        let (before, rejected) = (partition.watermark.len(), partition.watermark.rejected());
        let settled = partition.watermark.settle(id);
        if settled == Settled::Done {
            offset.map(|offset| partition.attempts.remove(&offset));
        }
        let is_special = rejected > 0 || partition.out_of_range.is_some();
        // Not one that is settled behind another one that is not: it cannot be committed yet.
        let passed = before - partition.watermark.len();
        let mut is_sooner = false;
        if passed > 0 {
            is_sooner = self.committer.passed(&now, passed as u64);
            if self.waits.iter().any(|wait| wait.record) {
                self.committer.request(now());
                is_sooner = true;
            }
        }
        // Most records change nothing but the watermark.
        let asks = is_sooner || is_special || !self.member.is_active(at);
        Change {
            settled,
            needs_turn: asks && self.needs_turn(at),
            readable: before >= self.settings.max_unsettled && self.is_readable(at),
        }
    }

    fn changed(&self, at: &TopicPartition, settled: Settled) -> Change {
        Change { settled, needs_turn: self.needs_turn(at), readable: false }
    }

    /// The user gives a record back unsettled, after this number of failed attempts: it is delivered again after a back-off,
    /// and what follows it as well. Meanwhile its partition is not read.
    ///
    /// With [`CommitStrategy::AtMostOnce`] it is settled.
    pub fn give_back(&mut self, at: &TopicPartition, id: DeliveryId, attempts: u32, now: Instant) -> Change {
        if self.is_at_most_once() {
            return self.end(at, id, || now);
        }
        let Some(partition) = self.partitions.get_mut(at) else { return self.changed(at, Settled::Stale) };
        let offset = partition.watermark.offset(id);
        let held = partition.watermark.hold(id);
        if let (Settled::Done, Some(offset)) = (held, offset) {
            let failed = partition.attempts.entry(offset).or_default();
            *failed = failed.saturating_add(attempts.max(1));
            let delay = self.settings.redelivery_backoff.saturating_mul(1 << (*failed - 1).min(16));
            let delay = delay.min(MAX_REDELIVERY);
            partition.seek_at = partition.seek_at.max(Some(later(now, delay)));
        }
        self.changed(at, held)
    }

    /// Takes a record back that the user has not begun to handle: it is delivered again at once, and what follows it as well.
    ///
    /// With [`CommitStrategy::AtMostOnce`] it is settled: what follows it may be in the user's hands.
    pub fn put_back(&mut self, at: &TopicPartition, id: DeliveryId, now: Instant) -> Change {
        if self.is_at_most_once() {
            return self.end(at, id, || now);
        }
        let Some(partition) = self.partitions.get_mut(at) else { return self.changed(at, Settled::Stale) };
        let taken = partition.watermark.put_back(id);
        if taken == Settled::Done {
            partition.seek_at = partition.seek_at.max(Some(now));
        }
        self.changed(at, taken)
    }

    /// Whether the user may begin to handle a record that was [handed](Self::dispatch) out: its partition is read, and it was
    /// not given back.
    #[must_use]
    pub fn may_begin(&self, at: &TopicPartition, id: DeliveryId) -> bool {
        self.member.is_active(at) && self.partitions.get(at).is_some_and(|partition| partition.watermark.is_open(id))
    }

    /// Whether a record that is not settled cannot be settled any more: its partition has gone, or is read again from before it.
    #[must_use]
    pub fn is_stale(&self, at: &TopicPartition, id: DeliveryId) -> bool {
        self.partitions.get(at).is_none_or(|partition| partition.watermark.is_stale(id))
    }

    /// Starts to commit what is settled now, of each partition up to the first record that is not. [`Action::Answer`] has
    /// the result. `None` if nothing is due.
    ///
    /// # Errors
    ///
    /// [`Notice::Gone`], if partitions have ended since the last call with settled records that are not committed. What is
    /// due of the others is committed.
    pub fn commit_now(&mut self, now: Instant) -> Result<Option<CommitWait>, Notice> {
        let due = self.partitions.iter().filter_map(|(at, partition)| Some((at, partition.target()?)));
        let targets = due.filter_map(|(at, offset)| Some((at.clone(), self.member.owned_since(at)?, offset)));
        let targets: Vec<_> = targets.collect();
        if !targets.is_empty() {
            self.partitions.values_mut().for_each(|partition| partition.aside_until = None);
            self.committer.request(now);
            self.committer.hurry(now);
        }
        let gone = std::mem::take(&mut self.gone);
        if !gone.is_empty() {
            return Err(Notice::Gone(gone.into_iter().collect()));
        }
        if targets.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.wait(targets, false, now)))
    }

    fn wait(&mut self, targets: Vec<(TopicPartition, u64, i64)>, record: bool, now: Instant) -> CommitWait {
        let id = CommitWait(self.next_wait);
        self.next_wait += 1;
        self.waits.push(Wait { id, targets, deadline: later(now, self.settings.commits.timeout), record });
        id
    }

    /// Stops reading, waits at most `within` for the records in the user's hands, commits, and leaves.
    pub fn close(&mut self, now: Instant, within: Duration) {
        let all: Vec<_> = self.member.active().map(|at| at.at).collect();
        self.revoking(&all, later(now, within));
        self.member.close(now, within);
        self.committer.hurry(now);
    }

    /// Whether the source closes or was closed.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.member.is_closing()
    }

    /// The result so far. Complete after [`Action::Leave`].
    #[must_use]
    pub fn closed(&self) -> &Closed {
        &self.closed
    }

    /// Whether the transport has to be [notified](crate::Consumer::notify), because the last change brought the next turn
    /// forward.
    #[must_use]
    pub fn needs_turn(&self, changed: &TopicPartition) -> bool {
        let is_sooner = |next: Instant| self.promised.is_none_or(|promised| next < promised);
        self.committer.wake_at(true).is_some_and(is_sooner)
            || self.partitions.get(changed).is_some_and(|partition| {
                let seek = partition.seek_at.filter(|_| partition.watermark.rejected() == 0);
                seek.is_some_and(is_sooner) || partition.may_leave_range() || !self.member.is_active(changed)
            })
    }

    /// Forgets partitions. Returns those with something left.
    fn end_partitions(&mut self, ended: &[TopicPartition]) -> Vec<Unsettled> {
        let left = ended.iter().filter_map(|at| self.partitions.remove(at)?.unsettled(at));
        let left: Vec<_> = left.collect();
        self.gone.extend(left.iter().filter(|left| left.uncommitted).map(|left| left.at.clone()));
        left
    }

    fn commits_on_revoke(&self) -> bool {
        match self.settings.commits.strategy {
            CommitStrategy::Manual => self.settings.commit_on_revoke,
            CommitStrategy::Transaction | CommitStrategy::Checkpoint | CommitStrategy::AtMostOnce => false,
            _ => true,
        }
    }

    /// Whether offsets are committed in transactions, and not by the source.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.settings.commits.strategy == CommitStrategy::Transaction
    }

    fn is_at_most_once(&self) -> bool {
        self.settings.commits.strategy == CommitStrategy::AtMostOnce
    }
}

impl Partition {
    fn new(epoch: u64, strategy: CommitStrategy) -> Self {
        Self {
            watermark: Watermark::new(epoch),
            seek_at: None,
            attempts: BTreeMap::new(),
            aside_until: None,
            failing: None,
            fenced: false,
            locating: false,
            assigned: epoch,
            listener: Listening::Done,
            paused: false,
            out_of_range: None,
            strategy,
            asked: None,
            stall: Stall::default(),
        }
    }

    /// Whether its records may be handed out, as far as its own records say.
    fn is_open(&self) -> bool {
        let waits = self.locating || self.paused || self.listener == Listening::Assigned;
        self.seek_at.is_none() && self.watermark.rejected() == 0 && !waits
    }

    /// The offset to commit, if the group does not have it.
    fn target(&self) -> Option<i64> {
        match self.strategy {
            CommitStrategy::AtMostOnce => self.watermark.due_position(),
            CommitStrategy::Checkpoint => {
                let committed = self.watermark.last_committed();
                self.asked.filter(|asked| committed.is_none_or(|committed| *asked > committed))
            }
            _ => self.watermark.due(),
        }
    }

    /// The offset to commit now.
    fn due(&self, now: Instant) -> Option<i64> {
        let asked = self.listener == Listening::Revoked;
        let waits = asked || self.fenced || self.aside_until.is_some_and(|until| until > now);
        self.target().filter(|_| !waits)
    }

    /// Whether something has to be committed before it is given back.
    fn holds_release(&self, now: Instant) -> bool {
        self.watermark.is_uncommitted() && self.due(now).is_some()
    }

    fn unsettled(&self, at: &TopicPartition) -> Option<Unsettled> {
        let uncommitted = match self.strategy {
            // Nothing is read again.
            CommitStrategy::AtMostOnce => return None,
            // In transactions, records are settled by their commit. A checkpoint is the application's.
            CommitStrategy::Transaction | CommitStrategy::Checkpoint => false,
            _ => self.watermark.is_uncommitted() || self.watermark.has_settled(),
        };
        let records = self.watermark.unsettled();
        let next_offset = self.watermark.last_committed();
        (records > 0 || uncommitted).then(|| Unsettled { at: at.clone(), records, uncommitted, next_offset })
    }
}

#[cfg(test)]
mod tests;
