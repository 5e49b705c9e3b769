//! One bad record in a batch of ten: the broker refuses the whole batch; the sink delivers the other nine records and
//! reports only the bad one as refused. Against a real Apache Kafka.
#![allow(clippy::unwrap_used)] // a test may fail

use std::time::{Duration, SystemTime};

use kafka_tower::{ErrorKind, KafkaSink, KafkaSinkConfig, Persistence, Scope, SinkMessage};
use kafka_tower_testkit::kafka::segments::Batch;
use kafka_tower_testkit::kafka::{self as cluster, Cluster};

const BAD: usize = 4;

/// A batch of ten records is sent at once; fewer would wait for longer than the tests take. So ten records are one batch.
fn in_one_batch(kafka: &Cluster, topic: &str) -> KafkaSinkConfig {
    KafkaSinkConfig {
        brokers: kafka.bootstrap().to_string(),
        topic: topic.to_string(),
        batch_size: 10,
        linger_ms: 20_000,
        compression_type: "none".to_string(),
        ..Default::default()
    }
}

/// Asserts that `count` records were sent again one by one: each is alone in its batch, by the producer for isolated
/// records, whose id is not that of the producer that sends batches. The latter writes ten more records to show its id.
async fn assert_sent_one_by_one(kafka: &Cluster, sink: &KafkaSink<String>, topic: &str, count: usize) {
    let more = (0..10).map(|n| SinkMessage::new(n.to_string()).with_key("more").with_partition(0));
    assert!(sink.send_batch(more).await.unwrap().iter().all(Result::is_ok));
    sink.close().await.unwrap();
    let Ok(batches) = kafka.batches(topic, 0).await else { return }; // an external cluster
    let (last, isolated) = batches.split_last().unwrap();
    assert_eq!((last.records, isolated.len()), (10, count), "{batches:?}");
    let alone = |batch: &Batch| batch.records == 1 && batch.producer_id != last.producer_id;
    assert!(isolated.iter().all(alone), "{batches:?}");
}

/// Sends ten messages in one batch. `spoil` makes one of them bad; returns the result of that one.
async fn ten(
    kafka: &Cluster,
    config: &[(&str, &str)],
    spoil: impl Fn(SinkMessage<String>) -> SinkMessage<String>,
) -> kafka_tower::Error {
    let topic = kafka.topic_with("neighbours", 1, config).await.unwrap();
    let sink = KafkaSink::<String>::new(in_one_batch(kafka, &topic)).await.unwrap();
    let messages = (0..10).map(|n| {
        let message = SinkMessage::new(format!("value {n}")).with_key(format!("key {n}")).with_partition(0);
        if n == BAD { spoil(message) } else { message }
    });
    let mut results = sink.send_batch(messages).await.unwrap();
    let bad = results.remove(BAD).unwrap_err();
    for result in results {
        result.unwrap_or_else(|error| panic!("another record of the batch: {error:#}"));
    }
    let mut read: Vec<_> = kafka.read(&topic).await.unwrap().iter().map(|r| r.text()).collect();
    read.sort();
    let expected: Vec<_> = (0..10).filter(|n| *n != BAD).map(|n| format!("\"value {n}\"")).collect();
    assert_eq!(read, expected, "each other record is in the log once");
    assert_eq!((bad.persistence(), bad.scope()), (Persistence::NotPersisted, Scope::Record), "{bad:#}");
    assert_eq!(sink.metrics().await.retries, 0, "sending alone is no retry");
    assert_sent_one_by_one(kafka, &sink, &topic, 9).await;
    bad
}

#[tokio::test]
async fn a_missing_key_on_a_compacted_topic() {
    let Some(kafka) = cluster::shared().await else { return };
    let without_key = |message: SinkMessage<String>| {
        let (value, mut envelope) = message.into_parts();
        envelope.key = None;
        SinkMessage::from_parts(value, envelope)
    };
    let bad = ten(kafka, &[("cleanup.policy", "compact")], without_key).await;
    assert_eq!(bad.kind(), ErrorKind::Rejected, "{bad:#}");
}

#[tokio::test]
async fn a_time_stamp_too_old() {
    let Some(kafka) = cluster::shared().await else { return };
    let old = SystemTime::now() - Duration::from_secs(3_600);
    let limit = [("message.timestamp.before.max.ms", "60000")];
    let bad = ten(kafka, &limit, |message| message.with_timestamp(old)).await;
    assert_eq!(bad.kind(), ErrorKind::Rejected, "{bad:#}");
}

/// The batch is above the topic's limit because of one record, which is too large on its own, too.
#[tokio::test]
async fn a_record_above_the_topics_limit() {
    let Some(kafka) = cluster::shared().await else { return };
    let large = |message: SinkMessage<String>| {
        let (_, envelope) = message.into_parts();
        SinkMessage::from_parts(Some("x".repeat(5_000)), envelope)
    };
    let bad = ten(kafka, &[("max.message.bytes", "2000")], large).await;
    assert_eq!(bad.kind(), ErrorKind::RecordTooLarge, "{bad:#}");
}

/// Ten small records whose batch is above the topic's limit are all delivered.
#[tokio::test]
async fn a_batch_above_the_topics_limit() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic_with("batch-limit", 1, &[("max.message.bytes", "1000")]).await.unwrap();
    let sink = KafkaSink::<String>::new(in_one_batch(kafka, &topic)).await.unwrap();
    let messages = (0..10).map(|n| SinkMessage::new(format!("{n}{}", "x".repeat(200))).with_partition(0));
    let results = sink.send_batch(messages).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(kafka.read(&topic).await.unwrap().len(), 10);
    assert_sent_one_by_one(kafka, &sink, &topic, 10).await;
}

/// A send whose deadline is shorter than the outage times out, and afterwards no record is in the log twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_shorter_than_the_outage() {
    let Some(kafka) = Cluster::start(1).await.unwrap() else { return };
    let topic = kafka.topic("budget", 1).await.unwrap();
    let config = KafkaSinkConfig {
        brokers: kafka.bootstrap().to_string(),
        topic: topic.clone(),
        send_timeout_ms: 1_500,
        ..Default::default()
    };
    let sink = KafkaSink::<u32>::new(config).await.unwrap();
    sink.send(0).await.unwrap();
    kafka.stop(1).unwrap();
    let results = sink.send_batch(1..=50).await.unwrap();
    for error in results.into_iter().map(Result::unwrap_err) {
        assert_eq!(
            (error.kind(), error.persistence()),
            (ErrorKind::Timeout, Persistence::PossiblyPersisted),
            "{error:#}"
        );
    }
    kafka.cont(1).unwrap();
    sink.flush().await.unwrap();
    let mut read: Vec<u32> = kafka.read(&topic).await.unwrap().iter().map(|r| r.text().parse().unwrap()).collect();
    assert!(read.is_sorted());
    read.dedup();
    assert_eq!(read, (0..=50).collect::<Vec<_>>());
    assert_eq!(kafka.read(&topic).await.unwrap().len(), 51, "each record is in the log once");
}
