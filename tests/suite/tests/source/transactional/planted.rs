//! Defects of what is below the loop, or of a loop that would do without a step: each is found by a law.

use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use kafka_tower::layers::dead_letter::{DeadLetterLayer, FailedRecord};
use kafka_tower::memory::{MemoryKafka, TransactionCall};
use kafka_tower::{
    ConsumerGroup, Error, ErrorKind, KafkaSink, KafkaSinkConfig, KafkaSource, Persistence, RawRecord, Record, Recovery,
    SourceMessage, TopicOffset, TopicPartition,
};
use kafka_tower_core::{
    Assignment, Batch, BatchSink, CommitTicket, Consumer, ConsumerEvents, ConsumerTransport, Control, ControlFuture,
    Subscription, TransactionControl,
};
use kafka_tower_test_suite::control::WithTransactions;
use tokio::time::sleep;
use tower::{Layer as _, ServiceBuilder, ServiceExt as _};

use super::support::{
    BILLS, assert_exactly_once, bill, bills, ended, filled, finish, letters, members, pass, settings, sink, until_idle,
};
use crate::support::{GROUP, SECOND, committed};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    /// The transaction gets the metadata that the member has when the offsets are sent.
    TakesTheMetadataOutsideOfTheLock,
    /// An unknown end counts as an abort.
    ReplaysAnUnknownEndWithoutAsking,
    /// What was read is committed by the source, as `enable.auto.commit` does.
    CommitsByItself,
    /// The loop's transport does not write one of the outputs, and says that it did.
    LosesAnOutput,
    /// Dead letters are sent by another producer.
    DeadLettersOutside,
    /// A new assignment begins at the committed offset, whatever transactions are open.
    ReadsUnstableOffsets,
}

use Defect::{
    CommitsByItself, DeadLettersOutside, LosesAnOutput, ReadsUnstableOffsets, ReplaysAnUnknownEndWithoutAsking,
    TakesTheMetadataOutsideOfTheLock,
};

type Slot = Arc<OnceLock<Arc<dyn Consumer>>>;

/// A source and a sink with a defect.
async fn broken(kafka: &MemoryKafka, id: &str, defect: Option<Defect>) -> (KafkaSource<u32>, KafkaSink<u32>) {
    let slot = Slot::default();
    let transport = Broken { kafka: kafka.clone(), defect, slot: Arc::clone(&slot) };
    let source = KafkaSource::builder(settings()).transport(transport).build().await.unwrap();
    let below = kafka.transactional_transport(id);
    let control = below.control();
    let transactions = control.transactions().unwrap();
    let transactions = Arc::new(BrokenTransactions { below: transactions, slot, defect });
    let control: Arc<dyn Control> = Arc::new(WithTransactions { below: control, transactions });
    let config = KafkaSinkConfig::exactly_once("memory", BILLS, id);
    (source, KafkaSink::builder(config).transport((below, control)).build().await.unwrap())
}

async fn finishes(kafka: &MemoryKafka, id: &str, defect: Option<Defect>) {
    let (source, sink) = broken(kafka, id, defect).await;
    drop(ended(source.transactional(sink, pass).until(until_idle(kafka)).into_future()).await.unwrap());
}

/// A member that has lost its partitions and joined again, between its sends and its offsets, commits nothing of before.
async fn a_stale_batch_is_not_committed(defect: Option<Defect>) {
    let kafka = filled(1, 10).await;
    let (source, first) = broken(&kafka, "billing-1", defect).await;
    let run = tokio::spawn(source.transactional(first, pass).until(until_idle(&kafka)).into_future());
    let _ = kafka.script_transactions().of_id("billing-1").on(TransactionCall::SendOffsets).lose_request();
    sleep(SECOND / 7).await;
    // The request is sent again after 100 ms. Meanwhile another member handles the messages.
    kafka.expel_members(GROUP);
    drop(ended(run.map(Result::unwrap)).await.unwrap());
    assert_exactly_once(&kafka, 10);
}

async fn an_unknown_end_is_not_repeated_without_asking(defect: Option<Defect>) {
    let kafka = filled(1, 10).await;
    let unknown = Error::new(ErrorKind::Fatal, "planted").with_recovery(Recovery::Fatal);
    let unknown = unknown.with_persistence(Persistence::PossiblyPersisted);
    let _ = kafka.script_transactions().on(TransactionCall::Commit).lose_answer_with(unknown);
    finishes(&kafka, "billing-1", defect).await;
    assert_exactly_once(&kafka, 10);
}

/// The sink cannot commit for a while: nor is anything else.
async fn offsets_are_committed_with_their_outputs_only(defect: Option<Defect>) {
    let kafka = filled(1, 10).await;
    let (source, first) = broken(&kafka, "billing-1", defect).await;
    let rule = kafka.script_transactions().on(TransactionCall::Commit).always().lose_request();
    let run = tokio::spawn(source.transactional(first, pass).until(sleep(20 * SECOND)).into_future());
    sleep(10 * SECOND).await;
    assert_eq!((committed(&kafka, 0), kafka.committed(BILLS).len()), (0, 0));
    rule.cancel();
    drop(ended(run.map(Result::unwrap)).await.unwrap());
    assert_exactly_once(&kafka, 10);
}

/// The group gives the partition to another member before the transaction has ended.
async fn the_next_owner_waits_for_the_end(defect: Option<Defect>) {
    let kafka = filled(1, 10).await;
    let (source, first) = broken(&kafka, "billing-1", defect).await;
    let _ = kafka.script_transactions().on(TransactionCall::Commit).times(30).lose_request();
    let run = tokio::spawn(source.transactional(first, pass).until(sleep(60 * SECOND)).into_future());
    sleep(SECOND / 2).await;
    kafka.expel_members(GROUP);
    let (second, other) = broken(&kafka, "billing-2", defect).await;
    drop(ended(second.transactional(other, pass).until(until_idle(&kafka)).into_future()).await.unwrap());
    drop(ended(run.map(Result::unwrap)).await.unwrap());
    assert_exactly_once(&kafka, 10);
}

/// A committed offset without its output.
async fn each_offset_has_its_output(defect: Option<Defect>) {
    let kafka = filled(1, 10).await.with_topic("elsewhere", 1);
    let lost = move |mut record: Record| {
        let is_lost = defect == Some(LosesAnOutput) && record.value.as_deref() == Some(b"7");
        if is_lost {
            record.topic = "elsewhere".into();
        }
        record
    };
    let transport = kafka.transactional_transport("billing-1");
    let control = transport.control();
    let transport = ServiceBuilder::new().map_request(lost).service(transport);
    let config = KafkaSinkConfig::exactly_once("memory", BILLS, "billing-1");
    let sink = KafkaSink::builder(config).transport((transport, control)).build().await.unwrap();
    drop(finish(&kafka, members(&kafka).await, sink).await.unwrap());
    assert_exactly_once(&kafka, 10);
}

/// A dead letter is aborted with its transaction.
async fn a_dead_letter_is_there_once(defect: Option<Defect>) {
    let kafka = filled(1, 10).await.with_topic("orders.dlq", 1);
    let abort = Error::new(ErrorKind::Transaction, "planted").with_recovery(Recovery::AbortTransaction);
    let _ = kafka.script_transactions().on(TransactionCall::Commit).fail(abort);
    let layer = DeadLetterLayer::default();
    let outside = layer.layer(kafka.transport());
    let handler = move |order: SourceMessage<u32>| {
        let outside = outside.clone();
        async move {
            if order.offset() != 7 {
                return Ok(vec![bill(&order)]);
            }
            if defect != Some(DeadLettersOutside) {
                return Err("planted");
            }
            let record = RawRecord::new(order.topic().as_ref(), order.partition(), order.offset());
            outside.oneshot(FailedRecord::new(record, "Handler", "planted")).await.unwrap();
            Ok(vec![])
        }
    };
    let run = members(&kafka).await.transactional(sink(&kafka, "billing-1").await, handler);
    drop(ended(run.dead_letters(layer).until(until_idle(&kafka)).into_future()).await.unwrap());
    assert_eq!((letters(&kafka, 0), bills(&kafka, 0).len(), committed(&kafka, 0)), (vec![7], 9, 10));
}

mod kept {
    #[tokio::test(start_paused = true)]
    async fn each_offset_has_its_output() {
        super::each_offset_has_its_output(None).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_letter_is_there_once() {
        super::a_dead_letter_is_there_once(None).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_batch_is_not_committed() {
        super::a_stale_batch_is_not_committed(None).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_end_is_not_repeated_without_asking() {
        super::an_unknown_end_is_not_repeated_without_asking(None).await;
    }

    #[tokio::test(start_paused = true)]
    async fn offsets_are_committed_with_their_outputs_only() {
        super::offsets_are_committed_with_their_outputs_only(None).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_owner_waits_for_the_end() {
        super::the_next_owner_waits_for_the_end(None).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_defect_is_found() {
    let broken = [
        (
            TakesTheMetadataOutsideOfTheLock,
            run(a_stale_batch_is_not_committed(Some(TakesTheMetadataOutsideOfTheLock))).await,
        ),
        (
            ReplaysAnUnknownEndWithoutAsking,
            run(an_unknown_end_is_not_repeated_without_asking(Some(ReplaysAnUnknownEndWithoutAsking))).await,
        ),
        (CommitsByItself, run(offsets_are_committed_with_their_outputs_only(Some(CommitsByItself))).await),
        (LosesAnOutput, run(each_offset_has_its_output(Some(LosesAnOutput))).await),
        (DeadLettersOutside, run(a_dead_letter_is_there_once(Some(DeadLettersOutside))).await),
        (ReadsUnstableOffsets, run(the_next_owner_waits_for_the_end(Some(ReadsUnstableOffsets))).await),
    ];
    let missed: Vec<_> = broken.iter().filter(|(_, found)| !found).map(|(defect, _)| defect).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// Whether the law is broken.
async fn run(law: impl Future<Output = ()>) -> bool {
    std::panic::AssertUnwindSafe(law).catch_unwind().await.is_err()
}

#[derive(Debug)]
struct BrokenTransactions {
    below: Arc<dyn TransactionControl>,
    slot: Slot,
    defect: Option<Defect>,
}

impl TransactionControl for BrokenTransactions {
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below.init(within)
    }

    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below.begin(within)
    }

    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below.commit(within)
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.below.abort(within)
    }

    fn send_offsets(&self, offsets: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            // Something else may happen between the check and the request.
            sleep(SECOND / 5).await;
            let fresh = self.slot.get().and_then(|consumer| consumer.group());
            let is_fresh = self.defect == Some(TakesTheMetadataOutsideOfTheLock);
            let group = fresh.filter(|_| is_fresh).unwrap_or(group);
            self.below.send_offsets(offsets, group, within).await
        })
    }
}

#[derive(Debug)]
struct Broken {
    kafka: MemoryKafka,
    defect: Option<Defect>,
    slot: Slot,
}

impl ConsumerTransport for Broken {
    fn open(&self, subscription: Subscription) -> ControlFuture<'_, Arc<dyn Consumer>> {
        Box::pin(async move {
            let memory = self.kafka.open(subscription).await?;
            let _ = self.slot.set(Arc::clone(&memory));
            let kafka = self.kafka.clone();
            let consumer: Arc<dyn Consumer> =
                Arc::new(BrokenConsumer { kafka, memory, defect: self.defect, tickets: Mutex::new(u64::MAX) });
            Ok(consumer)
        })
    }
}

#[derive(Debug)]
struct BrokenConsumer {
    kafka: MemoryKafka,
    memory: Arc<dyn Consumer>,
    defect: Option<Defect>,
    /// Numbers that the source does not use.
    tickets: Mutex<u64>,
}

impl Consumer for BrokenConsumer {
    fn run(&self, events: Arc<dyn ConsumerEvents>) {
        self.memory.run(events);
    }

    fn notify(&self) {
        self.memory.notify();
    }

    fn poll_batch(&self, at: &Assignment, max: usize, into: &mut dyn BatchSink, cx: &mut Context<'_>) -> Poll<Batch> {
        let batch = self.memory.poll_batch(at, max, into, cx);
        if let (Some(CommitsByItself), Poll::Ready(Batch { position: Some(offset), .. })) = (self.defect, &batch) {
            let mut ticket = self.tickets.lock().unwrap();
            *ticket -= 1;
            let (topic, partition) = (Arc::clone(&at.at.topic), at.at.partition);
            self.memory.commit(&[TopicOffset { topic, partition, offset: *offset }], CommitTicket(*ticket));
        }
        batch
    }

    fn start(&self, at: &Assignment) {
        self.memory.start(at);
        if self.defect == Some(ReadsUnstableOffsets) {
            let committed = self.kafka.committed_offset(GROUP, &at.at.topic, at.at.partition);
            self.memory.seek(at, committed.unwrap_or(0));
        }
    }

    fn release(&self, at: &[TopicPartition]) {
        self.memory.release(at);
    }

    fn commit(&self, offsets: &[TopicOffset], ticket: CommitTicket) {
        self.memory.commit(offsets, ticket);
    }

    fn seek(&self, at: &Assignment, to: i64) {
        self.memory.seek(at, to);
    }

    fn group(&self) -> Option<ConsumerGroup> {
        self.memory.group()
    }

    fn committed<'a>(&'a self, at: &'a [TopicPartition], within: Duration) -> ControlFuture<'a, Vec<Option<i64>>> {
        match self.defect {
            Some(ReplaysAnUnknownEndWithoutAsking) => Box::pin(async move { Ok(vec![None; at.len()]) }),
            _ => self.memory.committed(at, within),
        }
    }

    fn leave(&self, within: Duration) {
        self.memory.leave(within);
    }
}
