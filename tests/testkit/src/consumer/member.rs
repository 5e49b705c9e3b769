//! A consumer that a law drives by hand.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{Either, select};
use kafka_tower_core::sync::lock;
use kafka_tower_core::{
    Assignment, Batch, BatchSink, CommitAnswer, CommitTicket, Consumer, ConsumerEvents, GroupEvent, RecordRef,
    Subscription, TopicOffset, TopicPartition,
};

use super::OpenedConsumers;
use crate::fixture::number;

pub(super) const GROUP: &str = "laws";

/// Keeps the events until the law asks for them.
#[derive(Default)]
struct Events(Mutex<(VecDeque<GroupEvent>, Option<Waker>)>);

impl ConsumerEvents for Events {
    fn turn(&self, _: Instant, event: Option<GroupEvent>) -> Option<Instant> {
        let mut state = lock(&self.0);
        state.0.extend(event);
        let waker = state.1.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        None
    }
}

/// A member of the group [`GROUP`].
pub(super) struct Member {
    pub(super) consumer: Arc<dyn Consumer>,
    events: Arc<Events>,
    patience: Duration,
    /// What it reads.
    pub(super) owned: BTreeMap<TopicPartition, Assignment>,
    /// Each member uses epochs of its own.
    next_epoch: u64,
    next_ticket: u64,
}

/// A record as it was lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lent {
    pub(super) offset: i64,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<(String, Option<Bytes>)>,
}

impl Lent {
    pub(super) fn number(&self) -> usize {
        number(self.value.as_deref())
    }
}

#[derive(Default)]
struct Kept(Vec<Lent>);

impl BatchSink for Kept {
    fn record(&mut self, record: RecordRef<'_>) {
        let own = |part: Option<&[u8]>| part.map(Bytes::copy_from_slice);
        self.0.push(Lent {
            offset: record.offset,
            key: own(record.key),
            value: own(record.value),
            headers: record.headers.iter().map(|(name, value)| ((*name).to_owned(), own(*value))).collect(),
        });
    }
}

impl Member {
    /// Opens a consumer, which joins the group.
    pub(super) async fn join<B>(open: &OpenedConsumers<B>, patience: Duration) -> Self {
        let subscription = Subscription::new(GROUP, vec![Arc::clone(&open.topic)]);
        let opened = tokio::time::timeout(patience, open.transport.open(subscription)).await.expect("opened in time");
        let consumer = opened.unwrap_or_else(|error| panic!("not opened: {error:#}"));
        let events = Arc::new(Events::default());
        consumer.run(Arc::clone(&events) as _);
        Self { consumer, events, patience, owned: BTreeMap::new(), next_epoch: 1, next_ticket: 0 }
    }

    /// The next event, or none within `time`.
    pub(super) async fn event_within(&self, time: Duration) -> Option<GroupEvent> {
        let next = poll_fn(|cx| {
            let mut state = lock(&self.events.0);
            match state.0.pop_front() {
                Some(event) => Poll::Ready(event),
                None => {
                    state.1 = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        });
        tokio::time::timeout(time, next).await.ok()
    }

    pub(super) async fn event(&self) -> GroupEvent {
        let event = self.event_within(self.patience).await;
        event.unwrap_or_else(|| panic!("no event within {:?}", self.patience))
    }

    /// Waits for an assignment with partitions, and starts them.
    pub(super) async fn assigned(&mut self) -> Vec<Assignment> {
        loop {
            let event = self.event().await;
            let started = self.answer(event);
            if !started.is_empty() {
                return started;
            }
        }
    }

    /// Waits until it reads a partition.
    pub(super) async fn reads(&mut self, at: &TopicPartition) -> Assignment {
        loop {
            if let Some(reading) = self.owned.get(at) {
                return reading.clone();
            }
            let event = self.event().await;
            self.answer(event);
        }
    }

    /// Waits for a revocation with partitions, which is not answered.
    pub(super) async fn revoked(&mut self) -> Vec<TopicPartition> {
        loop {
            match self.event().await {
                GroupEvent::Revoked(partitions) if !partitions.is_empty() => return partitions,
                GroupEvent::Assigned(partitions) => assert!(partitions.is_empty(), "instead of a revocation"),
                GroupEvent::Revoked(empty) => self.release(&empty),
                other => panic!("instead of a revocation: {other:?}"),
            }
        }
    }

    /// Does what a group asks for: starts and releases partitions. Returns what was started.
    pub(super) fn answer(&mut self, event: GroupEvent) -> Vec<Assignment> {
        let mut started = Vec::new();
        match event {
            GroupEvent::Assigned(partitions) => {
                started.extend(partitions.into_iter().map(|at| self.epoch(at)));
                started.iter().for_each(|at| self.consumer.start(at));
                self.owned.extend(started.iter().map(|at| (at.at.clone(), at.clone())));
            }
            GroupEvent::Revoked(partitions) => self.release(&partitions),
            other => panic!("instead of a rebalance: {other:?}"),
        }
        started
    }

    pub(super) fn release(&mut self, partitions: &[TopicPartition]) {
        self.owned.retain(|at, _| !partitions.contains(at));
        self.consumer.release(partitions);
    }

    /// A new epoch of a partition.
    pub(super) fn epoch(&mut self, at: TopicPartition) -> Assignment {
        self.next_epoch += 1;
        Assignment { at, epoch: self.next_epoch }
    }

    pub(super) fn poll(&self, at: &Assignment, max: usize, cx: &mut Context<'_>) -> Poll<(Vec<Lent>, Batch)> {
        let mut kept = Kept::default();
        self.consumer.poll_batch(at, max, &mut kept, cx).map(|batch| {
            assert_eq!(batch.records, kept.0.len(), "the batch says how many records were lent");
            assert!(batch.records <= max, "{} records, but at most {max} were asked for", batch.records);
            (kept.0, batch)
        })
    }

    /// The next batch of a partition.
    pub(super) async fn batch(&self, at: &Assignment, max: usize) -> (Vec<Lent>, Batch) {
        let next = tokio::time::timeout(self.patience, poll_fn(|cx| self.poll(at, max, cx))).await;
        next.unwrap_or_else(|_| panic!("no batch of {} within {:?}", at.at, self.patience))
    }

    /// Reads this number of records.
    pub(super) async fn read(&self, at: &Assignment, count: usize) -> Vec<Lent> {
        let mut records = Vec::new();
        while records.len() < count {
            records.extend(self.batch(at, count - records.len()).await.0);
        }
        records
    }

    /// Reads nothing, until the event comes that the next offset is out of range. Returns it, and the range.
    pub(super) async fn out_of_range(&self, at: &Assignment) -> (i64, i64, i64) {
        let nothing = poll_fn(|cx| {
            while let Poll::Ready((records, batch)) = self.poll(at, 10, cx) {
                assert!(records.is_empty(), "read although the offset is out of range: {records:?}");
                if batch.position.is_none() {
                    break;
                }
            }
            Poll::<()>::Pending
        });
        let Either::Left((event, _)) = select(pin!(self.event()), nothing).await else { unreachable!("it never ends") };
        match event {
            GroupEvent::OutOfRange { at: of, offset, start, end } if of == *at => (offset, start, end),
            other => panic!("instead of an offset out of range: {other:?}"),
        }
    }

    /// Commits an offset, and returns the answer.
    pub(super) async fn commit(&mut self, at: &TopicPartition, offset: i64) -> CommitAnswer {
        self.next_ticket += 1;
        let ticket = CommitTicket(self.next_ticket);
        let offset = TopicOffset { topic: Arc::clone(&at.topic), partition: at.partition, offset };
        self.consumer.commit(&[offset], ticket);
        match self.event().await {
            GroupEvent::Committed { ticket: answered, answers } => {
                assert_eq!(answered, ticket, "the ticket of the commit");
                let answer = answers.into_iter().find(|(answered, _)| answered == at);
                answer.unwrap_or_else(|| panic!("no answer for {at}")).1
            }
            other => panic!("instead of an answer: {other:?}"),
        }
    }
}
