//! A consumer of the in-memory Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use kafka_tower_core::{ConsumerGroup, Result, TopicOffset};
use tokio::time::{Sleep, sleep_until};

use crate::StoredRecord;
use crate::broker::Fetched;
use crate::client::Broker;
use crate::groups::{MemberId, Membership, TopicPartition};

/// Event of a [`MemoryConsumer`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsumerEvent {
    /// The consumer now owns these partitions. It reads each one from the group's committed offset, or from the
    /// beginning.
    Assigned(Vec<(Arc<str>, i32)>),
    /// The consumer no longer owns these partitions. Until its next poll it may commit what it has read; other
    /// members wait for that poll.
    Revoked(Vec<(Arc<str>, i32)>),
    /// The next record of a partition.
    Record(StoredRecord),
    /// The consumer was removed from its group: its partitions were given to others, and it may not commit. The last
    /// event.
    Expelled,
}

/// A member of a consumer group. Created by [`MemoryKafka::consumer`](crate::MemoryKafka::consumer).
///
/// Groups rebalance as with Kafka's classic eager protocol: a rebalance is complete when each member has polled past
/// its [`Revoked`](ConsumerEvent::Revoked), so a member that does not poll blocks the others. There is no session
/// time-out: use [`expel`](crate::MemoryKafka::expel) for its effect. Dropping a consumer leaves the group.
pub struct MemoryConsumer {
    broker: Arc<Broker>,
    group: Arc<str>,
    member: MemberId,
    committed_only: bool,
    generation: i32,
    /// Owned partitions, with the offset of the next record to read.
    positions: BTreeMap<TopicPartition, i64>,
    paused: BTreeSet<TopicPartition>,
    /// The partition that was read last; the next one follows in turn.
    last: Option<TopicPartition>,
    giving_up: bool,
    expelled: bool,
    /// Fires when an open transaction ends by itself that hides further records.
    timer: Option<Pin<Box<Sleep>>>,
}

impl MemoryConsumer {
    pub(crate) fn new(broker: Arc<Broker>, group: Arc<str>, topics: BTreeSet<Arc<str>>) -> Self {
        let member = broker.join(&group, topics);
        Self {
            broker,
            group,
            member,
            committed_only: true,
            generation: -1,
            positions: BTreeMap::new(),
            paused: BTreeSet::new(),
            last: None,
            giving_up: false,
            expelled: false,
            timer: None,
        }
    }

    /// Whether only records of committed transactions are read (`isolation.level`). Default: true. With false, records
    /// of open and aborted ones are read too.
    #[must_use]
    pub fn with_read_committed(mut self, only: bool) -> Self {
        self.committed_only = only;
        self
    }

    /// Waits for the next event.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> ConsumerEvent {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Polls for the next event. After [`Expelled`](ConsumerEvent::Expelled) it always returns that event.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<ConsumerEvent> {
        loop {
            if self.expelled {
                return Poll::Ready(ConsumerEvent::Expelled);
            }
            if self.giving_up {
                self.giving_up = false;
                self.broker.rejoin(&self.group, self.member);
            }
            match self.broker.membership(&self.group, self.member, cx) {
                Membership::Gone => {
                    self.expelled = true;
                    self.positions.clear();
                }
                Membership::GiveUp => {
                    self.giving_up = true;
                    let partitions: Vec<_> = std::mem::take(&mut self.positions).into_keys().collect();
                    if !partitions.is_empty() {
                        return Poll::Ready(ConsumerEvent::Revoked(partitions));
                    }
                }
                Membership::Waiting => return Poll::Pending,
                Membership::Assigned { generation, partitions } if generation != self.generation => {
                    self.generation = generation;
                    self.paused.clear();
                    self.positions = self.broker.positions(&self.group, &partitions);
                    return Poll::Ready(ConsumerEvent::Assigned(partitions));
                }
                Membership::Assigned { .. } => return self.poll_record(cx),
            }
        }
    }

    fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<ConsumerEvent> {
        loop {
            let open = self.positions.iter().filter(|(at, _)| !self.paused.contains(*at));
            let (mut first, mut rest): (Vec<_>, Vec<_>) = open.partition(|(at, _)| Some(*at) > self.last.as_ref());
            first.append(&mut rest);
            match self.broker.fetch(&first, self.committed_only) {
                Fetched::Record(record) => {
                    let at = (Arc::clone(&record.record.topic), record.partition);
                    self.positions.insert(at.clone(), record.offset + 1);
                    self.last = Some(at);
                    self.timer = None;
                    return Poll::Ready(ConsumerEvent::Record(record));
                }
                Fetched::Nothing => return Poll::Pending,
                Fetched::NothingUntil(at) => {
                    let timer = self.timer.insert(Box::pin(sleep_until(at)));
                    ready!(timer.as_mut().poll(cx));
                }
            }
        }
    }

    /// Stops returning records of a partition, until it is resumed or the next rebalance. Polling continues.
    pub fn pause(&mut self, topic: &str, partition: i32) {
        self.paused.insert((topic.into(), partition));
    }

    /// Returns records of a partition again.
    pub fn resume(&mut self, topic: &str, partition: i32) {
        self.paused.remove(&(topic.into(), partition));
    }

    /// Commits offsets of the next records to read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Fenced`](kafka_tower_core::ErrorKind::Fenced) with `ILLEGAL_GENERATION` if a rebalance has
    /// replaced this member's generation: nothing was committed.
    pub fn commit(&self, offsets: &[TopicOffset]) -> Result<()> {
        self.broker.commit(&self.group(), offsets)
    }

    /// Group metadata for [`send_offsets`](kafka_tower_core::TransactionControl::send_offsets). Get it again for each
    /// transaction.
    #[must_use]
    pub fn group(&self) -> ConsumerGroup {
        ConsumerGroup {
            group_id: self.group.to_string(),
            generation: self.generation,
            member_id: self.member.to_string(),
            group_instance_id: None,
        }
    }

    pub(crate) fn member(&self) -> (&Arc<str>, MemberId) {
        (&self.group, self.member)
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        self.broker.leave(&self.group, self.member);
    }
}

impl fmt::Debug for MemoryConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryConsumer")
            .field("group", &self.group())
            .field("positions", &self.positions)
            .field("paused", &self.paused)
            .finish_non_exhaustive()
    }
}
