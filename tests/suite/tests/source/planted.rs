//! A source with one defect, in its transport or in front of it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use kafka_tower::memory::MemoryKafka;
use kafka_tower::source::{SourceErrorKind, SourceRecovery};
use kafka_tower::{
    ConsumerGroup, Error, ErrorKind, KafkaSource, KafkaSourceConfig, SeekTo, SourceError, SourceMessage, TopicOffset,
    TopicPartition,
};
use kafka_tower_core::{
    Assignment, Batch, BatchSink, CommitTicket, Consumer, ConsumerEvents, ConsumerTransport, ControlFuture, GroupEvent,
    RecordRef, Subscription,
};

use crate::laws;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    CommitsPastAnUnsettledMessage,
    CommitsTheOffsetAfterTheLastRecord,
    CommitsAfterTheRelease,
    SkipsWhatCannotBeDecoded,
    AcknowledgesOnDrop,
    AcknowledgesOnReceipt,
}

/// The law that finds each defect.
#[tokio::test(start_paused = true)]
async fn each_defect_is_found() {
    use Defect::*;
    let broken = [
        (
            CommitsPastAnUnsettledMessage,
            run(laws::only_a_settled_prefix_is_committed(Some(CommitsPastAnUnsettledMessage))).await,
        ),
        (
            CommitsTheOffsetAfterTheLastRecord,
            run(laws::holes_at_the_end_leave_no_lag(Some(CommitsTheOffsetAfterTheLastRecord))).await,
        ),
        (CommitsAfterTheRelease, run(laws::a_rebalance_repeats_nothing_settled(Some(CommitsAfterTheRelease))).await),
        (
            SkipsWhatCannotBeDecoded,
            run(laws::what_cannot_be_decoded_is_not_skipped(Some(SkipsWhatCannotBeDecoded))).await,
        ),
        (AcknowledgesOnDrop, run(laws::a_dropped_message_comes_again(Some(AcknowledgesOnDrop))).await),
        (AcknowledgesOnReceipt, run(laws::only_a_settled_prefix_is_committed(Some(AcknowledgesOnReceipt))).await),
    ];
    let missed: Vec<_> = broken.iter().filter(|(_, found)| !found).map(|(defect, _)| defect).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// Whether the law is broken.
async fn run(law: impl Future<Output = ()>) -> bool {
    std::panic::AssertUnwindSafe(law).catch_unwind().await.is_err()
}

/// A source whose application is part of the test, and may have a defect.
pub(crate) struct Source {
    pub(crate) inner: KafkaSource<u32>,
    defect: Option<Defect>,
}

impl Source {
    pub(crate) async fn build(kafka: &MemoryKafka, config: KafkaSourceConfig, defect: Option<Defect>) -> Self {
        let transport = Broken { kafka: kafka.clone(), defect };
        Self { inner: KafkaSource::builder(config).transport(transport).build().await.unwrap(), defect }
    }

    pub(crate) async fn recv(&mut self) -> Result<SourceMessage<u32>, SourceError> {
        loop {
            match self.inner.recv().await {
                Ok(message) => {
                    if self.defect == Some(Defect::AcknowledgesOnReceipt) {
                        message.ack();
                    }
                    return Ok(message);
                }
                Err(error) if error.kind() == SourceErrorKind::Decode && self.is(Defect::SkipsWhatCannotBeDecoded) => {
                    assert_eq!(error.recovery(), SourceRecovery::Settle);
                    error.skip();
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn drop_message(&self, message: SourceMessage<u32>) {
        if self.is(Defect::AcknowledgesOnDrop) {
            message.ack();
        }
        drop(message);
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }
}

#[derive(Debug)]
struct Broken {
    kafka: MemoryKafka,
    defect: Option<Defect>,
}

impl ConsumerTransport for Broken {
    fn open(&self, subscription: Subscription) -> ControlFuture<'_, Arc<dyn Consumer>> {
        Box::pin(async move {
            let memory = self.kafka.open(subscription).await?;
            let shared =
                Arc::new(BrokenState { memory, defect: self.defect, late: Mutex::default(), last: Mutex::default() });
            let consumer: Arc<dyn Consumer> = Arc::new(BrokenConsumer(shared));
            Ok(consumer)
        })
    }
}

#[derive(Debug)]
struct BrokenState {
    memory: Arc<dyn Consumer>,
    defect: Option<Defect>,
    /// Commits that wait for the release.
    late: Mutex<Vec<(Vec<TopicOffset>, CommitTicket)>>,
    /// Offset of the last record that was read, by partition.
    last: Mutex<BTreeMap<TopicPartition, i64>>,
}

#[derive(Debug)]
struct BrokenConsumer(Arc<BrokenState>);

impl BrokenState {
    fn is(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }
}

struct Events(Arc<dyn ConsumerEvents>, Arc<BrokenState>);

impl ConsumerEvents for Events {
    fn turn(&self, now: Instant, event: Option<GroupEvent>) -> Option<Instant> {
        if matches!(event, Some(GroupEvent::Assigned(_))) {
            for (offsets, ticket) in std::mem::take(&mut *self.1.late.lock().unwrap()) {
                self.1.memory.commit(&offsets, ticket);
            }
        }
        self.0.turn(now, event)
    }
}

struct Noting<'a>(&'a mut dyn BatchSink, i64);

impl BatchSink for Noting<'_> {
    fn record(&mut self, record: RecordRef<'_>) {
        self.1 = record.offset;
        self.0.record(record);
    }
}

impl Consumer for BrokenConsumer {
    fn run(&self, events: Arc<dyn ConsumerEvents>) {
        self.0.memory.run(Arc::new(Events(events, Arc::clone(&self.0))));
    }

    fn notify(&self) {
        self.0.memory.notify();
    }

    fn poll_batch(&self, at: &Assignment, max: usize, into: &mut dyn BatchSink, cx: &mut Context<'_>) -> Poll<Batch> {
        let mut noting = Noting(into, -1);
        let batch = self.0.memory.poll_batch(at, max, &mut noting, cx);
        if noting.1 >= 0 {
            self.0.last.lock().unwrap().insert(at.at.clone(), noting.1);
        }
        batch.map(|batch| match self.0.defect {
            Some(Defect::CommitsTheOffsetAfterTheLastRecord) => Batch { position: None, ..batch },
            _ => batch,
        })
    }

    fn start(&self, at: &Assignment) {
        self.0.memory.start(at);
    }

    fn release(&self, at: &[TopicPartition]) {
        self.0.memory.release(at);
    }

    fn commit(&self, offsets: &[TopicOffset], ticket: CommitTicket) {
        let mut offsets = offsets.to_vec();
        if self.0.is(Defect::CommitsPastAnUnsettledMessage) {
            let last = self.0.last.lock().unwrap();
            for offset in &mut offsets {
                let at = TopicPartition::new(Arc::clone(&offset.topic), offset.partition);
                offset.offset = last.get(&at).map_or(offset.offset, |last| last + 1);
            }
        }
        if self.0.is(Defect::CommitsAfterTheRelease) {
            self.0.late.lock().unwrap().push((offsets, ticket));
        } else {
            self.0.memory.commit(&offsets, ticket);
        }
    }

    fn seek(&self, at: &Assignment, to: i64) {
        self.0.memory.seek(at, to);
    }

    fn group(&self) -> Option<ConsumerGroup> {
        self.0.memory.group()
    }

    fn leave(&self, within: Duration) {
        self.0.memory.leave(within);
    }
}

/// The in-memory Kafka, where the first look-ups fail.
#[derive(Debug)]
pub(crate) struct Blind {
    kafka: MemoryKafka,
    failures: u32,
}

impl Blind {
    pub(crate) fn new(kafka: &MemoryKafka, failures: u32) -> Self {
        Self { kafka: kafka.clone(), failures }
    }
}

impl ConsumerTransport for Blind {
    fn open(&self, subscription: Subscription) -> ControlFuture<'_, Arc<dyn Consumer>> {
        Box::pin(async move {
            let memory = self.kafka.open(subscription).await?;
            let consumer: Arc<dyn Consumer> = Arc::new(BlindConsumer(memory, Mutex::new(self.failures)));
            Ok(consumer)
        })
    }
}

#[derive(Debug)]
struct BlindConsumer(Arc<dyn Consumer>, Mutex<u32>);

impl Consumer for BlindConsumer {
    fn run(&self, events: Arc<dyn ConsumerEvents>) {
        self.0.run(events);
    }

    fn notify(&self) {
        self.0.notify();
    }

    fn poll_batch(&self, at: &Assignment, max: usize, into: &mut dyn BatchSink, cx: &mut Context<'_>) -> Poll<Batch> {
        self.0.poll_batch(at, max, into, cx)
    }

    fn start(&self, at: &Assignment) {
        self.0.start(at);
    }

    fn release(&self, at: &[TopicPartition]) {
        self.0.release(at);
    }

    fn commit(&self, offsets: &[TopicOffset], ticket: CommitTicket) {
        self.0.commit(offsets, ticket);
    }

    fn seek(&self, at: &Assignment, to: i64) {
        self.0.seek(at, to);
    }

    fn committed<'a>(&'a self, at: &'a [TopicPartition], within: Duration) -> ControlFuture<'a, Vec<Option<i64>>> {
        let mut failures = self.1.lock().unwrap();
        if *failures == 0 {
            return self.0.committed(at, within);
        }
        *failures -= 1;
        Box::pin(std::future::ready(Err(Error::new(ErrorKind::Timeout, "planted").without_record())))
    }

    fn offset_of<'a>(&'a self, at: &'a TopicPartition, place: SeekTo, within: Duration) -> ControlFuture<'a, i64> {
        self.0.offset_of(at, place, within)
    }

    fn group(&self) -> Option<ConsumerGroup> {
        self.0.group()
    }

    fn leave(&self, within: Duration) {
        self.0.leave(within);
    }
}
