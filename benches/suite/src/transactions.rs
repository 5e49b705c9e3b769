//! The modes with transactions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kafka_tower::layers::transaction_batch::{TransactionBatch, TransactionBatchFuture, TransactionBatchLayer};
use kafka_tower::rdkafka::RdkafkaTransport;
use kafka_tower::{KafkaSink, KafkaSinkConfig, Limits, Record};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, Producer};
use tokio::task::JoinSet;
use tower::{Service, ServiceExt};

use crate::message::{Event, POOL, events, values};
use crate::run::{Mode, Plan, Took, config, enqueue, measured, settled};

const TIME: Duration = Duration::from_secs(30);

/// An id that no other run has.
pub(crate) fn id(plan: &Plan) -> String {
    format!("bench-{}-{}", plan.mode, std::process::id())
}

/// The configuration of a transactional producer. A commit sends what lingers, or it is awaited before: nothing lingers.
fn transactional(plan: &Plan, id: String) -> KafkaSinkConfig {
    KafkaSinkConfig { enable_transactions: true, transactional_id: Some(id), linger_ms: 0, ..config(plan) }
}

/// rust-rdkafka blocks the thread in `commit_transaction`.
pub(crate) async fn future(plan: &Plan, awaits: bool) -> Took {
    let mut client = ClientConfig::new();
    for (name, value) in transactional(plan, id(plan)).librdkafka_properties() {
        client.set(name, value);
    }
    let producer: FutureProducer = client.create().expect("a producer");
    producer.init_transactions(TIME).expect("a transactional id");
    let values = values(plan.size);
    measured(plan, async |n| {
        for start in (0..n).step_by(plan.transaction) {
            producer.begin_transaction().expect("begun");
            let records = start..n.min(start + plan.transaction);
            let open: Vec<_> = records.map(|i| enqueue(&producer, &plan.topic, &values[i % POOL])).collect();
            if awaits {
                for future in open {
                    settled(future).await;
                }
                producer.commit_transaction(TIME).expect("committed");
            } else {
                producer.commit_transaction(TIME).expect("committed");
                for future in open {
                    settled(future).await;
                }
            }
        }
    })
    .await
}

async fn transactional_sink(plan: &Plan) -> KafkaSink<Event> {
    KafkaSink::builder(transactional(plan, id(plan))).build().await.expect("a sink")
}

pub(crate) async fn sink(plan: &Plan) -> Took {
    let (sink, events) = (transactional_sink(plan).await, events(plan.size));
    measured(plan, async |n| {
        for start in (0..n).step_by(plan.transaction) {
            sink.begin_transaction().await.expect("begun");
            let batch = (start..n.min(start + plan.transaction)).map(|i| events[i % POOL].clone());
            for result in sink.send_batch(batch).await.expect("an open sink") {
                result.expect("delivered");
            }
            sink.commit_transaction().await.expect("committed");
        }
    })
    .await
}

pub(crate) async fn guard(plan: &Plan) -> Took {
    let (sink, events) = (transactional_sink(plan).await, events(plan.size));
    measured(plan, async |n| {
        for start in (0..n).step_by(plan.transaction) {
            let transaction = sink.transaction().await.expect("begun");
            let batch = (start..n.min(start + plan.transaction)).map(|i| events[i % POOL].clone());
            for result in transaction.send_batch(batch).await.expect("an open sink") {
                result.expect("delivered");
            }
            transaction.commit().await.expect("committed");
        }
    })
    .await
}

/// The layer over one transport for each lane.
async fn layer(plan: &Plan, adjust: impl Fn(TransactionBatchLayer) -> TransactionBatchLayer) -> TransactionBatch {
    let mut transports = Vec::new();
    for lane in 0..plan.lanes {
        let config = transactional(plan, format!("{}-{lane}", id(plan)));
        let transport = RdkafkaTransport::builder()
            .properties(config.librdkafka_properties())
            .topic(plan.topic.as_str())
            .limits(Limits { records: plan.gate, bytes: 256 << 20 })
            .connect();
        transports.push(transport.await.expect("a connection"));
    }
    let controls = transports.iter().map(RdkafkaTransport::control).collect();
    let age = Duration::from_millis(plan.age as u64);
    let layer = adjust(TransactionBatchLayer::lanes(controls).room(plan.gate, 256 << 20).age(age));
    layer.init(TIME).await.expect("transactional ids");
    layer.layer_lanes(transports)
}

/// Records without a key, as the other modes send them, awaited in order.
pub(crate) async fn batching(plan: &Plan) -> Took {
    let cut = |layer: TransactionBatchLayer| match plan.mode {
        Mode::BatchingCut => layer.records(plan.transaction),
        _ => layer,
    };
    let (mut layer, values) = (layer(plan, cut).await, values(plan.size));
    let topic: Arc<str> = Arc::from(plan.topic.as_str());
    measured(plan, async |n| {
        let mut ring: VecDeque<TransactionBatchFuture> = VecDeque::with_capacity(plan.window);
        for i in 0..n {
            if ring.len() == plan.window {
                ring.pop_front().expect("a full ring").await.expect("committed");
            }
            let record = Record::new(Arc::clone(&topic)).with_value(values[i % POOL].clone());
            ring.push_back(layer.ready().await.expect("an open layer").call(record));
        }
        let _some_records_are_below_all_limits = layer.control().flush().await;
        for future in ring {
            future.await.expect("committed");
        }
    })
    .await
}

pub(crate) async fn batching_sink(plan: &Plan) -> KafkaSink<Event> {
    let layer = layer(plan, |layer| layer).await;
    KafkaSink::builder(config(plan)).transport(layer).build().await.expect("a sink")
}

/// As many tasks as the window, each of which sends one record after another.
pub(crate) async fn callers(plan: &Plan, sink: KafkaSink<Event>) -> Took {
    let events: Arc<[Event]> = events(plan.size).into();
    measured(plan, async |n| {
        let next = Arc::new(AtomicUsize::new(0));
        let mut callers = JoinSet::new();
        for _ in 0..plan.window {
            let (sink, events, next) = (sink.clone(), Arc::clone(&events), Arc::clone(&next));
            callers.spawn(async move {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= n {
                        return;
                    }
                    sink.send(events[i % POOL].clone()).await.expect("delivered");
                }
            });
        }
        while let Some(caller) = callers.join_next().await {
            caller.expect("a caller");
        }
    })
    .await
}
