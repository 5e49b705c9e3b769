//! The modes that read a topic that was filled before.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::ready;
use kafka_tower::layers::deserialize::BytesDeserializer;
use kafka_tower::{BoxError, KafkaSource, KafkaSourceConfig, SourceMessage};
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message};
use tokio::sync::oneshot;
use tower::service_fn;

use crate::message::{POOL, Received, events, json};
use crate::run::{Mode, Plan, Start, Took, config, settled};
use crate::{transactions, usage};

/// Partitions of a topic that is read.
pub const PARTITIONS: i32 = 8;

/// Sends the plan's records as JSON, in turn to the first partitions.
///
/// # Panics
///
/// If a record is not delivered.
pub async fn fill(plan: &Plan, partitions: i32) {
    let mut client = ClientConfig::new();
    for (name, value) in config(plan).librdkafka_properties() {
        client.set(name, value);
    }
    let producer: FutureProducer = client.create().expect("a producer");
    let values: Vec<_> = events(plan.size).iter().map(json).collect();
    let mut ring = VecDeque::with_capacity(plan.window);
    for i in 0..plan.records {
        if ring.len() == plan.window {
            settled(ring.pop_front().expect("a full ring")).await;
        }
        let record = FutureRecord::<(), [u8]>::to(&plan.topic).payload(&values[i % POOL]);
        let record = record.partition(i as i32 % partitions);
        ring.push_back(producer.send_result(record).map_err(|(error, _)| error).expect("room"));
    }
    for future in ring {
        settled(future).await;
    }
}

/// Measures from the first record on, when the group was joined.
struct Progress {
    plan: Plan,
    read: usize,
    start: Option<Start>,
}

impl Progress {
    fn new(plan: &Plan) -> Self {
        Self { plan: plan.clone(), read: 0, start: None }
    }

    /// A record was read. Returns the result with the last one.
    fn record(&mut self) -> Option<Took> {
        self.read += 1;
        if self.read == 1 {
            self.start = Some(Start::now(&self.plan, usage::own));
        }
        if self.read < self.plan.records {
            return None;
        }
        Some(self.start.take()?.took(&self.plan, usage::own))
    }
}

pub(crate) fn source_config(plan: &Plan) -> KafkaSourceConfig {
    KafkaSourceConfig {
        brokers: plan.bootstrap.clone(),
        group_id: transactions::id(plan),
        topics: vec![plan.topic.clone()],
        ..Default::default()
    }
}

async fn open(plan: &Plan) -> KafkaSource<Received> {
    let builder = KafkaSource::builder(source_config(plan)).read_headers(plan.mode != Mode::SourceNoHeaders);
    builder.build().await.expect("a source")
}

pub(crate) async fn source(plan: &Plan) -> Took {
    if plan.mode == Mode::SourceBytes {
        let builder = KafkaSource::<Bytes>::builder(source_config(plan)).deserializer(Arc::new(BytesDeserializer));
        return receive(plan, builder.build().await.expect("a source")).await;
    }
    receive(plan, open(plan).await).await
}

async fn receive<T: Send + 'static>(plan: &Plan, mut source: KafkaSource<T>) -> Took {
    let mut progress = Progress::new(plan);
    loop {
        let message = source.recv().await.expect("a message");
        black_box(message.value().expect("a value"));
        message.ack();
        if let Some(took) = progress.record() {
            return took;
        }
    }
}

pub(crate) async fn serve(plan: &Plan) -> Took {
    let (ended, mut end) = oneshot::channel();
    let (mut progress, mut ended) = (Progress::new(plan), Some(ended));
    let service = service_fn(move |message: SourceMessage<Received>| {
        black_box(message.value().expect("a value"));
        if let Some((took, ended)) = progress.record().and_then(|took| Some((took, ended.take()?))) {
            let _ = ended.send(took);
        }
        ready(Ok::<_, BoxError>(()))
    });
    let serve = open(plan).await.serve(service);
    tokio::select! {
        took = &mut end => took.expect("a result"),
        report = serve => panic!("it ended: {report:?}"),
    }
}

/// Reads with rust-rdkafka.
pub(crate) async fn stream(plan: &Plan) -> Took {
    let mut client = ClientConfig::new();
    if plan.mode == Mode::StreamConsumerDefaults {
        client.set("bootstrap.servers", &plan.bootstrap).set("group.id", transactions::id(plan));
        client.set("auto.offset.reset", "earliest");
    } else {
        for (name, value) in source_config(plan).librdkafka_properties(PARTITIONS.unsigned_abs()) {
            client.set(name, value);
        }
        client.set("enable.auto.commit", "true");
        let stores = plan.mode == Mode::StreamConsumerStored;
        client.set("enable.auto.offset.store", if stores { "false" } else { "true" });
    }
    let consumer: StreamConsumer = client.create().expect("a consumer");
    consumer.subscribe(&[&plan.topic]).expect("a topic");
    let mut progress = Progress::new(plan);
    loop {
        let message = consumer.recv().await.expect("a message");
        let value = message.payload().expect("a value");
        if plan.mode == Mode::StreamConsumerBytes {
            black_box(value.to_vec());
        } else {
            black_box(serde_json::from_slice::<Received>(value).expect("an event"));
        }
        if plan.mode == Mode::StreamConsumerStored {
            consumer.store_offset_from_message(&message).expect("stored");
        }
        drop(message);
        if let Some(took) = progress.record() {
            return took;
        }
    }
}
