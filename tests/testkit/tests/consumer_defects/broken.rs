//! A consumer with one defect.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use kafka_tower_core::{
    Assignment, Batch, BatchSink, CommitAnswer, CommitTicket, Consumer, ConsumerEvents, ConsumerGroup,
    ConsumerTransport, ControlFuture, GroupEvent, RecordRef, SeekTo, Subscription, TopicOffset, TopicPartition,
};
use kafka_tower_memory::MemoryKafka;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    SkipsARecord,
    RepeatsARecord,
    DropsHeaders,
    StatesTheOffsetAfterTheLastRecord,
    StatesTheEnd,
    AnswersWithoutCommitting,
    AnswersTwice,
    ReadsOnAfterTheRelease,
    ReleasesByItself,
    ForgetsTheWaker,
    SeeksOneTooFar,
    JumpsSilently,
    OpensAnything,
    NeverLeaves,
    LooksUpTheEnd,
}

#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) kafka: MemoryKafka,
    pub(crate) defect: Option<Defect>,
}

impl ConsumerTransport for Broken {
    fn open(&self, mut subscription: Subscription) -> ControlFuture<'_, Arc<dyn Consumer>> {
        if self.defect == Some(Defect::OpensAnything) {
            subscription.topics.retain(|topic| self.kafka.partition_count(topic).is_some());
        }
        Box::pin(async move {
            let memory = self.kafka.open(subscription).await?;
            let consumer = BrokenConsumer {
                memory,
                defect: self.defect,
                seen: AtomicUsize::new(0),
                released: AtomicBool::new(false),
                events: OnceLock::new(),
                kafka: self.kafka.clone(),
                last: Mutex::new(-1),
            };
            let consumer: Arc<dyn Consumer> = Arc::new(consumer);
            Ok(consumer)
        })
    }
}

#[derive(Debug)]
struct BrokenConsumer {
    memory: Arc<dyn Consumer>,
    defect: Option<Defect>,
    seen: AtomicUsize,
    released: AtomicBool,
    events: OnceLock<Events>,
    kafka: MemoryKafka,
    /// Offset of the last record.
    last: Mutex<i64>,
}

impl BrokenConsumer {
    fn is(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }
}

/// Passes events on, with a defect.
#[derive(Clone)]
struct Events {
    source: Arc<dyn ConsumerEvents>,
    memory: Arc<dyn Consumer>,
    defect: Option<Defect>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl ConsumerEvents for Events {
    fn turn(&self, now: Instant, event: Option<GroupEvent>) -> Option<Instant> {
        match (&event, self.defect) {
            (Some(GroupEvent::Revoked(partitions)), Some(Defect::ReleasesByItself)) => self.memory.release(partitions),
            (Some(GroupEvent::Committed { .. }), Some(Defect::AnswersTwice)) => {
                self.source.turn(now, event.clone());
            }
            (Some(GroupEvent::OutOfRange { at, start, .. }), Some(Defect::JumpsSilently)) => {
                self.memory.seek(at, *start);
                return None;
            }
            _ => {}
        }
        self.source.turn(now, event)
    }
}

/// Lends records, with a defect.
struct Lends<'a> {
    consumer: &'a BrokenConsumer,
    into: &'a mut dyn BatchSink,
    lent: usize,
}

impl BatchSink for Lends<'_> {
    fn record(&mut self, mut record: RecordRef<'_>) {
        let number = self.consumer.seen.fetch_add(1, Ordering::Relaxed);
        *self.consumer.last.lock().unwrap() = record.offset;
        if self.consumer.is(Defect::SkipsARecord) && number == 7 {
            return;
        }
        if self.consumer.is(Defect::DropsHeaders) {
            record.headers = &[];
        }
        self.lent += 1;
        self.into.record(record);
        if self.consumer.is(Defect::RepeatsARecord) && number == 7 {
            self.lent += 1;
            self.into.record(record);
        }
    }
}

impl Consumer for BrokenConsumer {
    fn run(&self, events: Arc<dyn ConsumerEvents>) {
        let events = Events { source: events, memory: Arc::clone(&self.memory), defect: self.defect };
        self.events.set(events.clone()).unwrap();
        self.memory.run(Arc::new(events));
    }

    fn notify(&self) {
        self.memory.notify();
    }

    fn poll_batch(&self, at: &Assignment, max: usize, into: &mut dyn BatchSink, cx: &mut Context<'_>) -> Poll<Batch> {
        if self.is(Defect::ReadsOnAfterTheRelease) && self.released.load(Ordering::Relaxed) {
            into.record(RecordRef::new(3).with_value(Some(b"3")));
            return Poll::Ready(Batch { records: 1, position: Some(4) });
        }
        let max = if self.is(Defect::RepeatsARecord) { max - 1 } else { max };
        let mut lends = Lends { consumer: self, into, lent: 0 };
        let mut deaf = Context::from_waker(Waker::noop());
        let cx = if self.is(Defect::ForgetsTheWaker) { &mut deaf } else { cx };
        let batch = self.memory.poll_batch(at, max, &mut lends, cx);
        let records = lends.lent;
        batch.map(|batch| match self.defect {
            Some(Defect::StatesTheOffsetAfterTheLastRecord) => {
                Batch { records, position: Some(*self.last.lock().unwrap() + 1) }
            }
            Some(Defect::StatesTheEnd) => {
                Batch { records, position: self.kafka.high_watermark(&at.at.topic, at.at.partition) }
            }
            _ => Batch { records, ..batch },
        })
    }

    fn start(&self, at: &Assignment) {
        self.memory.start(at);
    }

    fn release(&self, at: &[TopicPartition]) {
        self.released.store(true, Ordering::Relaxed);
        self.memory.release(at);
    }

    fn commit(&self, offsets: &[TopicOffset], ticket: CommitTicket) {
        if !self.is(Defect::AnswersWithoutCommitting) {
            return self.memory.commit(offsets, ticket);
        }
        let at = |offset: &TopicOffset| TopicPartition::new(Arc::clone(&offset.topic), offset.partition);
        let answers = offsets.iter().map(|offset| (at(offset), CommitAnswer::Committed)).collect();
        let events = self.events.get().unwrap();
        events.turn(Instant::now(), Some(GroupEvent::Committed { ticket, answers }));
    }

    fn seek(&self, at: &Assignment, to: i64) {
        self.memory.seek(at, to + i64::from(self.is(Defect::SeeksOneTooFar)));
    }

    fn committed<'a>(&'a self, at: &'a [TopicPartition], within: Duration) -> ControlFuture<'a, Vec<Option<i64>>> {
        self.memory.committed(at, within)
    }

    fn offset_of<'a>(&'a self, at: &'a TopicPartition, place: SeekTo, within: Duration) -> ControlFuture<'a, i64> {
        let place = if self.is(Defect::LooksUpTheEnd) { SeekTo::End } else { place };
        self.memory.offset_of(at, place, within)
    }

    fn group(&self) -> Option<ConsumerGroup> {
        self.memory.group()
    }

    fn leave(&self, within: Duration) {
        if !self.is(Defect::NeverLeaves) {
            self.memory.leave(within);
        }
    }
}
