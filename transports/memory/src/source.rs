//! The consumer of a source: a member of a group, driven by a task.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kafka_tower_core::sync::lock;
use kafka_tower_core::wakers::wake_all;
use kafka_tower_core::{
    Assignment, Batch, BatchSink, CommitAnswer, CommitTicket, Consumer, ConsumerEvents, ConsumerGroup,
    ConsumerInspection, ConsumerTransport, ControlFuture, GroupEvent, Isolation, RecordRef, SeekTo, Subscription,
    TimestampType, TopicOffset, TopicPartition,
};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::client::Broker;
use crate::groups::MemberId;
use crate::{MemoryKafka, StoredRecord, errors};

mod driver;

/// Time between two questions for an offset while a transaction with one is open.
const UNSTABLE: Duration = Duration::from_millis(50);

/// What happens to a commit of a source.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CommitFault {
    /// The request is lost: nothing is committed, and there is no answer.
    Lose,
    /// The offsets are committed, and the answer is lost.
    LoseAnswer,
    /// Nothing is committed, and this is the answer.
    Refuse(CommitAnswer),
}

/// Opens consumers of sources. They need a tokio runtime.
impl ConsumerTransport for MemoryKafka {
    fn open(&self, subscription: Subscription) -> ControlFuture<'_, Arc<dyn Consumer>> {
        Box::pin(async move {
            let runtime = Handle::try_current().map_err(|_| errors::source_without_runtime())?;
            for topic in &subscription.topics {
                if self.partition_count(topic).is_none() {
                    return Err(errors::unknown_topic(topic).without_record());
                }
            }
            for at in &subscription.partitions {
                let partitions = self.partition_count(&at.topic).unwrap_or(0);
                if !u32::try_from(at.partition).is_ok_and(|number| number < partitions) {
                    return Err(errors::unknown_partition(&at.topic, at.partition, partitions).without_record());
                }
            }
            let consumer =
                GroupConsumer { broker: Arc::clone(&self.broker), subscription, runtime, state: Mutex::default() };
            let consumer: Arc<dyn Consumer> = Arc::new(Opened(Arc::new(consumer)));
            Ok(consumer)
        })
    }

    fn inspect(&self, subscription: Subscription) -> ControlFuture<'_, ConsumerInspection> {
        Box::pin(std::future::ready(Ok(self.broker.inspect(&subscription))))
    }
}

struct GroupConsumer {
    broker: Arc<Broker>,
    subscription: Subscription,
    runtime: Handle,
    /// Never locked while the broker's lock is held, and the other way round.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    member: Option<MemberId>,
    /// -1 or 0: not in a generation.
    generation: i32,
    readings: BTreeMap<TopicPartition, Reading>,
    reader: Option<Waker>,
    driver: Option<Waker>,
    /// Events for the driver's next turns.
    events: VecDeque<GroupEvent>,
    notified: bool,
    released: bool,
    leaving: bool,
    /// When more records may be readable, because an open transaction ends by itself.
    expiry: Option<Instant>,
}

/// A partition that is read.
struct Reading {
    /// `None` once the position is out of the log's range.
    epoch: Option<u64>,
    /// `None` before the group's committed offset is known.
    position: Option<i64>,
    /// Whether the reader knows the position.
    reported: bool,
}

impl GroupConsumer {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Changes the state, and wakes the driver.
    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let driver = state.driver.take();
        drop(state);
        wake_all(driver);
    }

    fn wake_reader(&self) {
        let reader = self.state().reader.take();
        wake_all(reader);
    }

    fn metadata(&self) -> Option<ConsumerGroup> {
        let state = self.state();
        let joined = state.generation > 0 && self.subscription.partitions.is_empty();
        let member = state.member.filter(|_| joined)?;
        Some(ConsumerGroup {
            group_id: self.subscription.group_id.to_string(),
            generation: state.generation,
            member_id: member.to_string(),
            group_instance_id: None,
        })
    }

    fn read(&self, at: &Assignment, max: usize, cx: &Context<'_>) -> Poll<(Vec<StoredRecord>, Batch)> {
        let committed_only = self.subscription.isolation == Isolation::ReadCommitted;
        let mut state = self.state();
        // Before it looks into the log, so that no change is missed.
        let old = state.reader.replace(cx.waker().clone());
        let found = state.readings.get(&at.at).filter(|reading| reading.epoch == Some(at.epoch));
        let from = found.map(|reading| reading.position);
        drop(state);
        drop(old);
        let ended = || Poll::Ready((Vec::new(), Batch::default()));
        let Some(from) = from else { return ended() };
        let Subscription { group_id, start, .. } = &self.subscription;
        let started = from.map_or_else(|| self.broker.start_position(group_id, &at.at, *start), Ok);
        let from = match started {
            Ok(from) => from,
            Err(expiry) => {
                self.wait_for(expiry);
                return Poll::Pending;
            }
        };
        let read = self.broker.read(&at.at, from, committed_only, max);
        let mut state = self.state();
        let found = state.readings.get_mut(&at.at).filter(|reading| reading.epoch == Some(at.epoch));
        let Some(reading) = found else { return ended() };
        let (records, next, expiry) = match read {
            Ok(read) => read,
            Err((start, end)) => {
                reading.epoch = None;
                state.events.push_back(GroupEvent::OutOfRange { at: at.clone(), offset: from, start, end });
                let driver = state.driver.take();
                drop(state);
                wake_all(driver);
                return ended();
            }
        };
        if records.is_empty() && reading.position == Some(next) && reading.reported {
            drop(state);
            self.wait_for(expiry);
            return Poll::Pending;
        }
        (reading.position, reading.reported) = (Some(next), true);
        let batch = Batch { records: records.len(), position: Some(next) };
        Poll::Ready((records, batch))
    }

    /// Lets the driver wake the reader at this time, too.
    fn wait_for(&self, expiry: Option<Instant>) {
        let mut state = self.state();
        // Only if it is news: the driver wakes the reader whenever it was woken.
        if expiry.is_some() && state.expiry != expiry {
            state.expiry = expiry;
            let driver = state.driver.take();
            drop(state);
            wake_all(driver);
        }
    }
}

/// The source's handle to the consumer, which the driver shares.
struct Opened(Arc<GroupConsumer>);

impl Consumer for Opened {
    fn run(&self, events: Arc<dyn ConsumerEvents>) {
        let driver = driver::Driver::new(Arc::clone(&self.0), events);
        self.0.runtime.spawn(driver);
    }

    fn notify(&self) {
        self.0.tell(|state| state.notified = true);
    }

    fn poll_batch(&self, at: &Assignment, max: usize, into: &mut dyn BatchSink, cx: &mut Context<'_>) -> Poll<Batch> {
        self.0.read(at, max, cx).map(|(records, batch)| {
            records.iter().for_each(|stored| lend(stored, into));
            batch
        })
    }

    fn start(&self, at: &Assignment) {
        let reading = Reading { epoch: Some(at.epoch), position: None, reported: false };
        self.0.state().readings.insert(at.at.clone(), reading);
        self.0.wake_reader();
    }

    fn release(&self, at: &[TopicPartition]) {
        self.0.tell(|state| {
            state.readings.retain(|owned, _| !at.contains(owned));
            state.released = true;
        });
    }

    fn commit(&self, offsets: &[TopicOffset], ticket: CommitTicket) {
        let fixed = (!self.0.subscription.partitions.is_empty()).then(|| ConsumerGroup {
            group_id: self.0.subscription.group_id.to_string(),
            generation: -1,
            member_id: String::new(),
            group_instance_id: None,
        });
        let answer = match fixed.or_else(|| self.0.metadata()) {
            Some(member) => self.0.broker.commit_of_source(&member, offsets),
            None => Some(CommitAnswer::of_code(25, &self.0.subscription.group_id)),
        };
        let Some(answer) = answer else { return };
        let at = |offset: &TopicOffset| TopicPartition::new(Arc::clone(&offset.topic), offset.partition);
        let answers = offsets.iter().map(|offset| (at(offset), answer.clone())).collect();
        self.0.tell(|state| state.events.push_back(GroupEvent::Committed { ticket, answers }));
    }

    fn seek(&self, at: &Assignment, to: i64) {
        if let Some(reading) = self.0.state().readings.get_mut(&at.at) {
            *reading = Reading { epoch: Some(at.epoch), position: Some(to), reported: false };
        }
        self.0.wake_reader();
    }

    fn committed<'a>(&'a self, at: &'a [TopicPartition], within: Duration) -> ControlFuture<'a, Vec<Option<i64>>> {
        let deadline = Instant::now().checked_add(within);
        Box::pin(async move {
            let group = &self.0.subscription.group_id;
            loop {
                let committed: Option<Vec<_>> = at.iter().map(|at| self.0.broker.committed_by(group, at)).collect();
                match committed {
                    Some(committed) => return Ok(committed),
                    None if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                        return Err(errors::unstable_offset(group));
                    }
                    // As a client does that gets no stable offset.
                    None => sleep(UNSTABLE).await,
                }
            }
        })
    }

    fn offset_of<'a>(&'a self, at: &'a TopicPartition, place: SeekTo, _: Duration) -> ControlFuture<'a, i64> {
        Box::pin(std::future::ready(Ok(self.0.broker.offset_of(at, place))))
    }

    fn end_offset(&self, at: &TopicPartition) -> Option<i64> {
        Some(self.0.broker.offset_of(at, SeekTo::End))
    }

    fn group(&self) -> Option<ConsumerGroup> {
        self.0.metadata()
    }

    fn leave(&self, _within: Duration) {
        self.0.tell(|state| state.leaving = true);
    }
}

fn lend(stored: &StoredRecord, into: &mut dyn BatchSink) {
    let headers = stored.record.headers.iter();
    let headers: Vec<_> = headers.map(|header| (&*header.key, header.value.as_deref())).collect();
    let record = RecordRef::new(stored.offset)
        .with_timestamp(Some(stored.timestamp))
        .with_timestamp_type(Some(TimestampType::Create))
        .with_key(stored.key().map(|key| &key[..]))
        .with_value(stored.value().map(|value| &value[..]))
        .with_headers(&headers);
    into.record(record);
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryConsumer").field("subscription", &self.0.subscription).finish_non_exhaustive()
    }
}
