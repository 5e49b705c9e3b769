//! The contract of a transport that reads.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

mod inspection;

pub use inspection::{
    ConsumerInspection, FoundBroker, FoundGroup, FoundMember, FoundPartition, FoundSourceTopic, LogRange,
};

use crate::{
    ConsumerGroup, ControlFuture, Error, ErrorKind, Persistence, Timestamp, TimestampType, TopicOffset, TopicPattern,
    codes,
};

/// A partition of a topic.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

/// By topic, then by partition.
impl Ord for TopicPartition {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        // Most are of the same topic, and share its text.
        let topics =
            if Arc::ptr_eq(&self.topic, &other.topic) { Ordering::Equal } else { self.topic.cmp(&other.topic) };
        topics.then(self.partition.cmp(&other.partition))
    }
}

impl PartialOrd for TopicPartition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A partition as it is read at present. The epoch changes with each assignment and each seek, and is never used again:
/// whatever belongs to another epoch is stale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The partition.
    pub at: TopicPartition,
    /// Number of this reading of the partition.
    pub epoch: u64,
}

/// Where a group begins to read a partition for which it has committed no offset (`auto.offset.reset`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffsetReset {
    /// At the first record in the log. The default, because the other choice skips records silently.
    #[default]
    Earliest,
    /// At the end of the log. Until the group has committed an offset, each restart begins at the end again.
    Latest,
}

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeekTo {
    /// The first record that is still in the log.
    Beginning,
    /// The end of the log: only records that are written later are behind it.
    End,
    /// The first readable record at this offset or behind it.
    Offset(i64),
    /// The first record with this timestamp or a later one; the end of the log if there is none.
    Timestamp(Timestamp),
}

/// Which records a consumer gets (`isolation.level`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Isolation {
    /// Records of committed transactions, and records without a transaction; none behind the first open transaction.
    #[default]
    ReadCommitted,
    /// All records, also those of open and aborted transactions.
    ReadUncommitted,
}

/// What a consumer reads, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subscription {
    /// `group.id`.
    pub group_id: Arc<str>,
    /// The topics.
    pub topics: Vec<Arc<str>>,
    /// All topics with such a name, in place of `topics`; also those that are created later.
    pub pattern: Option<TopicPattern>,
    /// These partitions of the topics, and no others: the consumer does not join the group, which only keeps its offsets.
    /// They are [assigned](GroupEvent::Assigned) at once, and never revoked. Empty: the group assigns partitions.
    pub partitions: Vec<TopicPartition>,
    /// Where a partition begins for which the group has committed no offset.
    pub start: OffsetReset,
    /// Which records are read.
    pub isolation: Isolation,
    /// Whether records are lent with their headers. If not, a transport need not look for them. Default: true.
    pub headers: bool,
}

impl Subscription {
    /// Subscribes a group to topics, with the defaults of [`OffsetReset`] and [`Isolation`].
    #[must_use]
    pub fn new(group_id: impl Into<Arc<str>>, topics: Vec<Arc<str>>) -> Self {
        let (start, isolation) = (OffsetReset::default(), Isolation::default());
        Self {
            group_id: group_id.into(),
            topics,
            pattern: None,
            partitions: Vec::new(),
            start,
            isolation,
            headers: true,
        }
    }

    /// Subscribes a group to all topics with such a name, with the defaults of [`OffsetReset`] and [`Isolation`].
    #[must_use]
    pub fn matching(group_id: impl Into<Arc<str>>, pattern: TopicPattern) -> Self {
        Self { pattern: Some(pattern), ..Self::new(group_id, Vec::new()) }
    }

    /// Reads fixed [`partitions`](Self::partitions), with the defaults of [`OffsetReset`] and [`Isolation`].
    #[must_use]
    pub fn fixed(group_id: impl Into<Arc<str>>, partitions: Vec<TopicPartition>) -> Self {
        let topics: BTreeSet<_> = partitions.iter().map(|at| Arc::clone(&at.topic)).collect();
        Self { partitions, ..Self::new(group_id, topics.into_iter().collect()) }
    }
}

/// Opens [consumers](Consumer): the reading side of a transport.
pub trait ConsumerTransport: Send + Sync + fmt::Debug + 'static {
    /// Finds a broker and the topics, and makes a consumer, which joins its group when it [runs](Consumer::run).
    fn open(&self, subscription: Subscription) -> ControlFuture<'_, Arc<dyn Consumer>>;

    /// Asks for what a consumer of this subscription needs, before there is one: it joins no group, and changes nothing.
    ///
    /// What was not found out is left out, or is an error inside the inspection, and is never guessed. The future fails only
    /// if nothing can be asked.
    ///
    /// Without this method, a source cannot be tried before it is built.
    fn inspect(&self, subscription: Subscription) -> ControlFuture<'_, ConsumerInspection> {
        let _ = subscription;
        let error = Error::new(ErrorKind::Config, "the transport cannot inspect a cluster").without_record();
        let error = error.with_help("build the source: its error has the cause if it cannot read");
        Box::pin(std::future::ready(Err(error)))
    }
}

/// A member of a consumer group: carries out what a source decides. No method blocks.
///
/// The types cannot express these laws:
///
/// 1. **Order.** Records of one epoch come in the order of their offsets, each once, none before the start.
/// 2. **No silent gap.** An offset between two records that is not handed out is not readable: removed by compaction,
///    part of an aborted transaction, or a marker. If the next offset is not in the log any more, for example because its record
///    was deleted, everything before it is lent, [`GroupEvent::OutOfRange`] comes, and nothing of the partition is read until a
///    seek.
/// 3. **The position is true**: greater than every record handed out, and not greater than the first readable one that
///    was not. It passes markers and aborted records, also at the end of the log. It is left out rather than guessed.
/// 4. **Commits are answered.** Each ticket is answered exactly once with [`GroupEvent::Committed`], or the consumer has
///    ended. `Ok` means that the group has the offset.
/// 5. **Ownership.** After `release` or [`GroupEvent::Lost`], no records and no position of the epoch come any more. The
///    source commits no offset of such a partition; neither Kafka nor the consumer would refuse it.
/// 6. **A release is an answer.** After [`GroupEvent::Revoked`] the group waits for `release`. Until then commits of these
///    partitions are accepted.
/// 7. **Membership** does not depend on anybody who polls records. A consumer of fixed partitions is no member, and has them
///    until it leaves.
/// 8. **Back-pressure.** Records that are not polled are not buffered beyond the transport's limits. `Pending` has
///    registered the waker; nothing sleeps or polls.
/// 9. **Lending.** The bytes of a record are valid until [`BatchSink::record`] returns, and nothing else of the client
///    leaves through this trait.
/// 10. **Seek.** After `seek` the next record is the first readable one at or after the target.
/// 11. **Opened means connected**, as for a [`Transport`](crate::Transport).
/// 12. **End.** `leave` ends with [`GroupEvent::Left`] within its time. Afterwards nothing is read or committed, and what remains of
///     the consumer ends by itself.
/// 13. **Look-ups are true.** `committed` says what the group has, and `offset_of` the offset of the place at the time of the
///     call, or they fail within their time.
///
/// The package `kafka-tower-testkit` tests the laws that a test can check.
pub trait Consumer: Send + Sync + fmt::Debug + 'static {
    /// Joins the group, and calls [`ConsumerEvents::turn`] from now on: with each event, at the time that the previous
    /// turn has asked for, and after [`notify`](Self::notify). Turns do not overlap. Called once.
    fn run(&self, events: Arc<dyn ConsumerEvents>);

    /// Asks for a turn soon.
    fn notify(&self);

    /// Lends the next records of a partition to `into`, at most `max`, in order.
    ///
    /// `Ready` without records reports a new position, for example behind an aborted transaction, or says that the
    /// epoch has ended. `into` is called without a lock, because it runs foreign code.
    fn poll_batch(&self, at: &Assignment, max: usize, into: &mut dyn BatchSink, cx: &mut Context<'_>) -> Poll<Batch>;

    /// Answers [`GroupEvent::Assigned`] for a partition: begins to read it where the group has committed, otherwise as
    /// [`Subscription::start`] says. It waits for the end of a transaction that contains an offset of the partition.
    fn start(&self, at: &Assignment);

    /// Answers [`GroupEvent::Revoked`] with the same partitions: gives them back, and the group goes on.
    fn release(&self, at: &[TopicPartition]);

    /// Sends a commit of the offsets of the next records to read.
    fn commit(&self, offsets: &[TopicOffset], ticket: CommitTicket);

    /// Continues a partition at an offset. `at` has a new epoch, and the old one ends.
    fn seek(&self, at: &Assignment, to: i64);

    /// Finds the offsets that the group has committed for these partitions, in their order. `None`: none.
    ///
    /// They are stable (`require_stable` of Kafka's `OffsetFetch`): it waits for the end of a transaction that contains an
    /// offset of the partitions, and fails if that takes longer. The offsets of a transaction that was committed are in the
    /// answer.
    ///
    /// Without this method, a source can begin only as [`Subscription::start`] says, and
    /// does not find out how a transaction ended whose commit had no answer.
    fn committed<'a>(&'a self, at: &'a [TopicPartition], within: Duration) -> ControlFuture<'a, Vec<Option<i64>>> {
        let _ = (at, within);
        no_look_ups()
    }

    /// Finds the offset of a place in a partition.
    ///
    /// Without this method, a source can seek only to offsets.
    fn offset_of<'a>(&'a self, at: &'a TopicPartition, place: SeekTo, within: Duration) -> ControlFuture<'a, i64> {
        let _ = (at, within);
        match place {
            SeekTo::Offset(offset) => Box::pin(std::future::ready(Ok(offset))),
            _ => no_look_ups(),
        }
    }

    /// The end of a partition's log (Kafka's high watermark), as far as the transport knows it without asking. For the lag.
    fn end_offset(&self, at: &TopicPartition) -> Option<i64> {
        let _ = at;
        None
    }

    /// The metadata of this member, for [`send_offsets`](crate::TransactionControl::send_offsets); `None` before it has
    /// joined.
    ///
    /// Never newer than the events: a member that has lost partitions, or was asked to give them back, has the metadata of a
    /// later generation only after the turn with that event has returned. Kafka does not check which member owns a partition,
    /// so newer metadata would commit what a previous assignment has read.
    fn group(&self) -> Option<ConsumerGroup>;

    /// Leaves the group and ends the consumer, at most within this time.
    fn leave(&self, within: Duration);
}

fn no_look_ups<'a, T: Send + 'a>() -> ControlFuture<'a, T> {
    let error = Error::new(ErrorKind::Config, "the transport cannot look up offsets").without_record();
    Box::pin(std::future::ready(Err(error.with_help("name an offset, or use a transport that looks them up"))))
}

/// Receives the events of a [`Consumer`], and decides what it does next.
pub trait ConsumerEvents: Send + Sync + 'static {
    /// Takes an event, or none if only time has passed. Returns when to call it again, if nothing happens before.
    ///
    /// It may call the consumer's methods, and does not block.
    fn turn(&self, now: Instant, event: Option<GroupEvent>) -> Option<Instant>;
}

/// Event of a consumer in its group.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GroupEvent {
    /// The consumer now owns these partitions, in addition to others. Answered by [`Consumer::start`].
    Assigned(Vec<TopicPartition>),
    /// The group takes these partitions back and waits. Answered by [`Consumer::release`], also if the list is empty.
    Revoked(Vec<TopicPartition>),
    /// These partitions may already belong to others: nothing of them may be committed.
    Lost(Vec<TopicPartition>),
    /// The answer to a commit, for each of its partitions.
    Committed {
        /// The commit.
        ticket: CommitTicket,
        /// The answer for each partition.
        answers: Vec<(TopicPartition, CommitAnswer)>,
    },
    /// The log of a partition begins anew, at an offset before what was read of it: it was truncated, or its topic was deleted
    /// and created again. The epoch has ended. Answered by [`Consumer::seek`] to this offset.
    Restarted {
        /// The partition.
        at: TopicPartition,
        /// The first offset of what comes now.
        from: i64,
    },
    /// The next offset to read is not in the log: records were deleted before they were read, or the offset is behind the end.
    /// What was before it in the epoch was lent, and nothing more of the epoch comes. Answered by [`Consumer::seek`].
    OutOfRange {
        /// The partition, and the epoch that has ended.
        at: Assignment,
        /// The offset.
        offset: i64,
        /// The first offset of the log.
        start: i64,
        /// The end of the log: the offset of its next record.
        end: i64,
    },
    /// The client cannot read at present, with an error [without a record](Error::without_record), and goes on trying: for
    /// example because a right is missing or no broker can be reached. Once for each cause, and not with each attempt.
    Unable {
        /// The cause.
        error: Error,
        /// The partition, if it is about one.
        at: Option<TopicPartition>,
    },
    /// The client has ended by an error [without a record](Error::without_record). [`Left`](Self::Left) follows.
    Failed(Error),
    /// The consumer has left its group. The last event.
    Left,
}

/// Answer to the commit of a partition. The errors are [without a record](Error::without_record).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CommitAnswer {
    /// The group has the offset.
    Committed,
    /// It was not committed, and may be when it is sent again.
    Retry(Error),
    /// It was not committed: the group does not know the member, or has a newer generation. The partition may already
    /// belong to another member.
    NotAMember(Error),
    /// It was not committed, and will not be soon: the principal may not, or the offset is not acceptable.
    Refused(Error),
}

impl CommitAnswer {
    /// The answer that a coordinator's error code means. 0 is `Committed`, and an unknown code means `Retry`.
    ///
    /// ```
    /// use kafka_tower_core::CommitAnswer;
    ///
    /// let answer = CommitAnswer::of_code(27, "orders");
    /// assert!(matches!(&answer, CommitAnswer::Retry(error) if error.error_type() == "REBALANCE_IN_PROGRESS"));
    /// ```
    #[must_use]
    pub fn of_code(code: i32, topic: &str) -> Self {
        let text = || format!("the offset of {topic} was not committed: {}", codes::describe(code));
        let error = || codes::error(code, Persistence::NotPersisted, text()).without_record();
        let reads = || error().with_help("grant this principal READ on the group and on the topic");
        match code {
            0 => Self::Committed,
            // ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, STALE_MEMBER_EPOCH
            22 | 25 | 82 | 113 => Self::NotAMember(error().with_help("nothing: the new owner reads the records again")),
            // TOPIC_, GROUP_ and TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            29 | 30 | 53 => Self::Refused(reads()),
            // OFFSET_METADATA_TOO_LARGE, INVALID_COMMIT_OFFSET_SIZE
            12 | 28 => Self::Refused(error().with_help("report it: the source sends small commits without metadata")),
            _ => Self::Retry(error().with_help("nothing: the offset is committed again")),
        }
    }
}

/// Number of a commit, unique in its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitTicket(pub u64);

/// Takes the records of a batch.
pub trait BatchSink {
    /// Takes a record, whose bytes are valid until this returns.
    fn record(&mut self, record: RecordRef<'_>);
}

/// Result of [`Consumer::poll_batch`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Number of records that were lent.
    pub records: usize,
    /// The offset at which the transport continues, if it is known.
    pub position: Option<i64>,
}

/// A lent record.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct RecordRef<'a> {
    /// The offset.
    pub offset: i64,
    /// The timestamp.
    pub timestamp: Option<Timestamp>,
    /// Who set the timestamp, if that is known.
    pub timestamp_type: Option<TimestampType>,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in their order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl<'a> RecordRef<'a> {
    /// Lends a record without timestamp, key, value and headers. Set the fields that it has.
    #[must_use]
    pub fn new(offset: i64) -> Self {
        Self { offset, timestamp: None, timestamp_type: None, key: None, value: None, headers: &[] }
    }

    /// Sets the value.
    #[must_use]
    pub fn with_value(mut self, value: Option<&'a [u8]>) -> Self {
        self.value = value;
        self
    }

    /// Sets the key.
    #[must_use]
    pub fn with_key(mut self, key: Option<&'a [u8]>) -> Self {
        self.key = key;
        self
    }

    /// Sets the headers.
    #[must_use]
    pub fn with_headers(mut self, headers: &'a [(&'a str, Option<&'a [u8]>)]) -> Self {
        self.headers = headers;
        self
    }

    /// Sets the timestamp.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: Option<Timestamp>) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// Sets who set the timestamp.
    #[must_use]
    pub fn with_timestamp_type(mut self, timestamp_type: Option<TimestampType>) -> Self {
        self.timestamp_type = timestamp_type;
        self
    }
}

/// Prints sizes, not contents: keys and values may be secret.
impl fmt::Debug for RecordRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordRef")
            .field("offset", &self.offset)
            .field("key_bytes", &self.key.map(<[u8]>::len))
            .field("value_bytes", &self.value.map(<[u8]>::len))
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every code with which a coordinator answers a commit, and one that does not exist.
    #[test]
    fn each_code_of_a_commit_has_its_answer() {
        type Is = fn(&CommitAnswer) -> bool;
        let retry: Is = |answer| matches!(answer, CommitAnswer::Retry(_));
        let not_a_member: Is = |answer| matches!(answer, CommitAnswer::NotAMember(_));
        let refused: Is = |answer| matches!(answer, CommitAnswer::Refused(_));
        assert!(matches!(CommitAnswer::of_code(0, "orders"), CommitAnswer::Committed));
        for (codes, is) in [
            (&[3, 7, 14, 15, 16, 24, 27, -1, 200][..], retry),
            (&[22, 25, 82, 113], not_a_member),
            (&[12, 28, 29, 30, 53], refused),
        ] {
            for code in codes {
                let answer = CommitAnswer::of_code(*code, "orders");
                assert!(is(&answer), "{code}: {answer:?}");
            }
        }
    }
}
