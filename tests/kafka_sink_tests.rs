//! A sink and a source against an Apache Kafka, as an application uses them.
//!
//! ```text
//! cargo test --package kafka-tower --test kafka_sink_tests -- --ignored
//! ```
//!
//! With `KAFKA_BROKERS=host:9092` the tests use that Kafka. Otherwise they start one, with Java 17 or Docker.
#![allow(clippy::unwrap_used)] // a test may fail

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_tower::{
    ErrorKind, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, Persistence, SinkMessage, SourceMessage,
};
use kafka_tower_testkit::kafka::{self as cluster, Cluster};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

/// A busy machine needs no more.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Order {
    customer: String,
    number: u32,
}

fn order(number: u32) -> Order {
    Order { customer: format!("customer-{}", number % 7), number }
}

fn message(number: u32) -> SinkMessage<Order> {
    SinkMessage::new(order(number)).with_key_from(|order| order.customer.clone())
}

async fn topic(prefix: &str) -> (&'static Cluster, KafkaSinkConfig) {
    let kafka = cluster::shared().await.expect("a Kafka: set KAFKA_BROKERS, or install Java 17 or Docker");
    let topic = kafka.topic(prefix, 4).await.unwrap();
    (kafka, KafkaSinkConfig { brokers: kafka.bootstrap().to_owned(), topic, ..Default::default() })
}

/// Reads this many messages, and acknowledges them.
async fn read(sink: &KafkaSinkConfig, count: usize) -> Vec<SourceMessage<Order>> {
    let config = KafkaSourceConfig {
        brokers: sink.brokers.clone(),
        group_id: format!("readers of {}", sink.topic),
        topics: vec![sink.topic.clone()],
        ..Default::default()
    };
    let mut source = KafkaSource::<Order>::new(config).await.unwrap();
    let mut messages = Vec::new();
    while messages.len() < count {
        let message = timeout(PATIENCE, source.recv()).await.expect("a message in time").unwrap();
        message.ack();
        messages.push(message);
    }
    assert!(source.close().await.is_complete());
    messages
}

fn numbers(messages: &[SourceMessage<Order>]) -> BTreeSet<u32> {
    messages.iter().map(|message| message.value().unwrap().number).collect()
}

#[tokio::test]
#[ignore = "needs a Kafka"]
async fn a_message_is_read_as_it_was_sent() {
    let (_kafka, config) = topic("one").await;
    let sink = KafkaSink::<Order>::new(config.clone()).await.unwrap();
    let delivery = sink.send(message(3).with_header("region", "us-east-1")).await.unwrap();
    sink.close().await.unwrap();
    let read = read(&config, 1).await;
    assert_eq!(read[0].value(), Some(&order(3)));
    assert_eq!(read[0].key().map(|key| &key[..]), Some(&b"customer-3"[..]));
    assert_eq!((read[0].partition(), Some(read[0].offset())), (delivery.partition, delivery.offset));
}

#[tokio::test]
#[ignore = "needs a Kafka"]
async fn a_batch_is_delivered_whole_and_in_order_per_key() {
    let (_kafka, config) = topic("batch").await;
    let config = KafkaSinkConfig { batch_size: 1_000, linger_ms: 5, ..config };
    let sink = KafkaSink::<Order>::new(config.clone()).await.unwrap();
    let results = sink.send_batch((0..5_000).map(message)).await.unwrap();
    assert!(results.iter().all(Result::is_ok));
    let read = read(&config, 5_000).await;
    assert_eq!(numbers(&read), (0..5_000).collect());
    for customer in 0..7 {
        let of_customer = read.iter().map(|message| message.value().unwrap().number).filter(|n| n % 7 == customer);
        assert!(of_customer.is_sorted(), "customer {customer}");
    }
}

#[tokio::test]
#[ignore = "needs a Kafka"]
async fn a_transaction_is_read_whole_or_not_at_all() {
    let (_kafka, config) = topic("transaction").await;
    let id = config.topic.clone();
    let config = KafkaSinkConfig::exactly_once(&config.brokers, &config.topic, &id);
    let sink = KafkaSink::<Order>::new(config.clone()).await.unwrap();
    sink.begin_transaction().await.unwrap();
    sink.send(message(1)).await.unwrap();
    sink.abort_transaction().await.unwrap();
    sink.begin_transaction().await.unwrap();
    sink.send(message(2)).await.unwrap();
    sink.send(message(3)).await.unwrap();
    sink.commit_transaction().await.unwrap();
    assert_eq!(numbers(&read(&config, 2).await), BTreeSet::from([2, 3]));
}

#[tokio::test]
#[ignore = "needs a Kafka"]
async fn a_record_that_is_too_large_is_not_persisted() {
    let (kafka, config) = topic("large").await;
    kafka.alter_topic(&config.topic, &[("max.message.bytes", "1000")]).await.unwrap();
    let config = KafkaSinkConfig { compression_type: "none".to_owned(), ..config };
    let sink = KafkaSink::<Order>::new(config.clone()).await.unwrap();
    let large = Order { customer: "x".repeat(10_000), number: 1 };
    let error = sink.send(SinkMessage::new(large)).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.persistence()),
        (ErrorKind::RecordTooLarge, Persistence::NotPersisted),
        "{error:#}"
    );
    sink.send(message(2)).await.unwrap();
    assert_eq!(numbers(&read(&config, 1).await), BTreeSet::from([2]));
}

#[tokio::test]
#[ignore = "needs a Kafka"]
async fn a_topic_that_does_not_exist_is_named() {
    let (_kafka, config) = topic("exists").await;
    let config = KafkaSinkConfig { topic: format!("{}-not", config.topic), ..config };
    let error = KafkaSink::<Order>::new(config.clone()).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{error:#}");
    assert!(error.message().contains(&config.topic), "{error:#}");
}
