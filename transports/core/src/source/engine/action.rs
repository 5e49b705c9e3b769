//! What an engine asks for and says.

use std::time::{Duration, Instant};

use crate::source::Settled;
use crate::{Assignment, CommitTicket, Error, TopicOffset, TopicPartition};

/// Effect of what the user does with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whether the record's state has changed.
    pub settled: Settled,
    /// As [`Engine::needs_turn`](super::Engine::needs_turn).
    pub needs_turn: bool,
    /// Whether its partition can be read again, which had as many records that are not settled as it may.
    pub readable: bool,
}

/// What the transport or the source has to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Begin to read a partition.
    Start(Assignment),
    /// Find out where a partition begins, and call [`Engine::located`](super::Engine::located). It is not read meanwhile.
    Locate(Assignment),
    /// Tell the listener that partitions were assigned, and call [`Engine::prepared`](super::Engine::prepared) for each. They are
    /// not read meanwhile.
    Assigned(Vec<Assignment>),
    /// Tell the listener that partitions are about to be given back, and call
    /// [`Engine::revoking_heard`](super::Engine::revoking_heard) for each. The drain waits for it, until this time.
    Revoking(Vec<Assignment>, Instant),
    /// Ask the listener before what was settled of drained partitions is committed, and call
    /// [`Engine::revoked_heard`](super::Engine::revoked_heard) for each. After this time it is not committed.
    Revoked(Vec<Assignment>, Instant),
    /// Give partitions back.
    Release(Vec<TopicPartition>),
    /// Send a commit.
    Commit {
        /// The commit.
        ticket: CommitTicket,
        /// The offset of each partition.
        offsets: Vec<TopicOffset>,
    },
    /// Continue a partition elsewhere, in a new epoch.
    Seek {
        /// The partition with its new epoch.
        at: Assignment,
        /// The offset.
        to: i64,
    },
    /// Leave the group. [`Engine::closed`](super::Engine::closed) has the result.
    Leave,
    /// Tell the user.
    Notice(Notice),
    /// A [`commit_now`](super::Engine::commit_now) has ended.
    Answer(CommitWait, Result<(), Notice>),
}

/// Something that the user has to know.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Partitions were lost: what was not committed is read again by their new owner.
    Lost(Vec<TopicPartition>),
    /// Offsets were not committed, and stay due. Without an error: there was no answer in time.
    NotCommitted(Vec<TopicPartition>, Option<Error>),
    /// Partitions were given back with records in the user's hands, or with settled records whose commit did not end in
    /// time: their new owner reads them again.
    Unsettled(Vec<Unsettled>),
    /// A [`commit_now`](super::Engine::commit_now) ended because of a [`seek`](super::Engine::seek) in these partitions: whether
    /// their offsets were committed is not known.
    Moved(Vec<TopicPartition>),
    /// A [`commit_record`](super::Engine::commit_record) has ended: records before it in these partitions are not settled.
    Behind(Vec<TopicPartition>),
    /// A [`commit_now`](super::Engine::commit_now) came too late: these partitions were given back or lost with settled records
    /// that are not committed, as far as is known.
    Gone(Vec<TopicPartition>),
    /// The record at this offset of a partition was handed out and has not been settled for that long. Nothing behind it can be
    /// committed. Once for each stall.
    Stalled(TopicPartition, i64, Duration),
    /// A partition goes on that was [stalled](Self::Stalled) at this offset for that long.
    GoesOn(TopicPartition, i64, Duration),
    /// The log of a partition begins anew, and is read on from this offset.
    Restarted(TopicPartition, i64),
    /// The next offset of a partition is not in its log. It is not read until a [`seek`](super::Engine::seek).
    OutOfRange {
        /// The partition.
        at: TopicPartition,
        /// The offset.
        offset: i64,
        /// The first offset of the log.
        start: i64,
        /// The end of the log.
        end: i64,
    },
    /// Records of a partition were deleted before they were read, and it is read on behind them.
    Skipped {
        /// The partition.
        at: TopicPartition,
        /// The first offset that is skipped.
        from: i64,
        /// The offset from which it is read.
        to: i64,
    },
    /// The transport's client cannot read at present, or not this partition, and goes on trying.
    Unable(Error, Option<TopicPartition>),
    /// The transport's client has ended.
    Failed(Error),
}

/// A partition that was given back before everything was settled and committed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsettled {
    /// The partition.
    pub at: TopicPartition,
    /// Number of records that were handed out and not settled.
    pub records: usize,
    /// Whether settled records are not committed, as far as is known. Also those behind one that is not settled.
    pub uncommitted: bool,
    /// The offset at which the next owner continues, if this source has committed one.
    pub next_offset: Option<i64>,
}

/// Where a source stands in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// The partition.
    pub at: TopicPartition,
    /// Number of records that were handed out and are not settled.
    pub unsettled: usize,
    /// The offset that may be committed, if it is known.
    pub next: Option<i64>,
    /// How long that offset has not moved although records are handed out, as far as those who looked have seen.
    pub stalled: Duration,
}

/// Result of a source, when it has left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// Number of records that were settled because they were handled.
    pub settled: u64,
    /// Number of records that were settled without being handled.
    pub skipped: u64,
    /// Number of records that were settled because their dead letter was delivered.
    pub dead_lettered: u64,
    /// The partitions that were given back or lost at the close before everything was settled and committed.
    pub unsettled: Vec<Unsettled>,
}

/// Identifies a [`commit_now`](super::Engine::commit_now).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommitWait(pub(super) u64);
