//! The contract of a transport that reads.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

mod event;
mod inspection;
mod place;
mod record;
mod subscription;

pub use event::{CommitAnswer, CommitTicket, GroupEvent};
pub use inspection::{
    ConsumerInspection, FoundBroker, FoundGroup, FoundMember, FoundPartition, FoundSourceTopic, LogRange,
};
pub use place::{Assignment, SeekTo, TopicPartition};
pub use record::{Batch, BatchSink, RecordRef};
pub use subscription::{Isolation, OffsetReset, Subscription};

use crate::{ConsumerGroup, ControlFuture, Error, ErrorKind, TopicOffset};

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
