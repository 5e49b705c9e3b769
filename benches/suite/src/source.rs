//! Cases of the reading side, over a consumer that has always records.

use std::future::poll_fn;
use std::hint::black_box;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use kafka_tower::source::Order;
use kafka_tower::{
    BoxError, ConsumerGroup, KafkaSource, KafkaSourceConfig, SourceMessage, TopicOffset, TopicPartition,
};
use kafka_tower_core::{
    Assignment, Batch, BatchSink, CommitAnswer, CommitTicket, Consumer, ConsumerEvents, ConsumerTransport,
    ControlFuture, GroupEvent, RecordRef, Subscription,
};
use tokio::sync::oneshot;
use tower::service_fn;

use crate::cases::{Run, runtime};
use crate::message::{Reading, json};

const TOPIC: &str = "readings";
const PARTITIONS: i32 = 8;

/// Decodes the values alone.
pub(crate) fn decode() -> Run {
    let value = json(&Reading::new(1));
    Box::new(move |n| {
        for _ in 0..n {
            black_box(serde_json::from_slice::<Reading>(black_box(&value)).expect("a reading"));
        }
    })
}

/// Receives and acknowledges.
pub(crate) fn recv() -> Run {
    let runtime = runtime();
    let mut source = runtime.block_on(source());
    Box::new(move |n| {
        runtime.block_on(async {
            for _ in 0..n {
                let message = source.recv().await.expect("a message");
                black_box(message.value());
                message.ack();
            }
        });
    })
}

/// Serves with 64 lanes. Handlers that wait are pending once.
pub(crate) fn serve(waits: bool) -> Run {
    let runtime = runtime();
    Box::new(move |n| {
        let (stop, stopped) = oneshot::channel::<()>();
        let (mut left, mut stop) = (n, Some(stop));
        let service = service_fn(move |message: SourceMessage<Reading>| {
            // More may come before it stops.
            left = left.saturating_sub(1);
            if left == 0 {
                drop(stop.take());
            }
            let mut pending = waits;
            async move {
                poll_fn(|cx| {
                    if std::mem::take(&mut pending) {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Ready(())
                })
                .await;
                black_box(message.value());
                Ok::<_, BoxError>(())
            }
        });
        runtime.block_on(async {
            let serve = source().await.serve(service).concurrency(64).order(Order::Key);
            let report = serve.until(stopped).await.expect("served");
            black_box(report.settled);
        });
    })
}

async fn source() -> KafkaSource<Reading> {
    let config = KafkaSourceConfig { group_id: "bench".into(), topics: vec![TOPIC.into()], ..Default::default() };
    KafkaSource::builder(config).transport(Endless).build().await.expect("a source")
}

/// Its consumers have records without end, with 1,000 keys.
#[derive(Debug)]
struct Endless;

impl ConsumerTransport for Endless {
    fn open(&self, _: Subscription) -> ControlFuture<'_, Arc<dyn Consumer>> {
        let next = (0..PARTITIONS).map(|_| AtomicI64::new(0)).collect();
        let keys = (0..1_000).map(|key: u32| format!("customer-{key}")).collect();
        let consumer = EndlessConsumer { next, keys, value: json(&Reading::new(1)), events: Mutex::default() };
        let consumer: Arc<dyn Consumer> = Arc::new(consumer);
        Box::pin(std::future::ready(Ok(consumer)))
    }
}

struct EndlessConsumer {
    next: Vec<AtomicI64>,
    keys: Vec<String>,
    value: Vec<u8>,
    events: Mutex<Option<Arc<dyn ConsumerEvents>>>,
}

impl EndlessConsumer {
    fn turn(&self, event: Option<GroupEvent>) {
        let events = self.events.lock().expect("no panic").clone();
        events.map(|events| events.turn(Instant::now(), event));
    }
}

impl Consumer for EndlessConsumer {
    fn run(&self, events: Arc<dyn ConsumerEvents>) {
        *self.events.lock().expect("no panic") = Some(events);
        let all = (0..PARTITIONS).map(|partition| TopicPartition::new(TOPIC, partition)).collect();
        self.turn(Some(GroupEvent::Assigned(all)));
    }

    fn notify(&self) {
        self.turn(None);
    }

    fn poll_batch(&self, at: &Assignment, max: usize, into: &mut dyn BatchSink, _: &mut Context<'_>) -> Poll<Batch> {
        let from = self.next[at.at.partition as usize].fetch_add(max as i64, Ordering::Relaxed);
        for offset in from..from + max as i64 {
            let key = &self.keys[(offset as usize * 7) % self.keys.len()];
            into.record(RecordRef::new(offset).with_key(Some(key.as_bytes())).with_value(Some(&self.value)));
        }
        Poll::Ready(Batch { records: max, position: Some(from + max as i64) })
    }

    fn start(&self, _: &Assignment) {}

    fn release(&self, _: &[TopicPartition]) {}

    fn commit(&self, offsets: &[TopicOffset], ticket: CommitTicket) {
        let at = |offset: &TopicOffset| TopicPartition::new(&*offset.topic, offset.partition);
        let answers = offsets.iter().map(|offset| (at(offset), CommitAnswer::Committed)).collect();
        self.turn(Some(GroupEvent::Committed { ticket, answers }));
    }

    fn seek(&self, at: &Assignment, to: i64) {
        self.next[at.at.partition as usize].store(to, Ordering::Relaxed);
    }

    fn group(&self) -> Option<ConsumerGroup> {
        None
    }

    fn leave(&self, _: Duration) {
        self.turn(Some(GroupEvent::Left));
    }
}

impl std::fmt::Debug for EndlessConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndlessConsumer").finish_non_exhaustive()
    }
}
