//! Tests of the counters for each topic.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used)] // a test may fail

use std::time::Duration;

use kafka_tower_core::{Delivery, Error, ErrorKind, Record};
use kafka_tower_layers::metrics::{TopicCounts, TopicMetrics};
use kafka_tower_memory::MemoryKafka;
use tower::{Layer, Service, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

fn kafka() -> MemoryKafka {
    MemoryKafka::new().with_topic("orders", 1).with_topic("payments", 1).with_topic("refunds", 1)
}

async fn send<S>(service: &mut S, topic: &str) -> Result<Delivery, Error>
where
    S: Service<Record, Response = Delivery, Error = Error>,
{
    service.ready().await?.call(Record::new(topic).with_value("1234")).await
}

/// Sent, failed, abandoned, bytes.
fn counts(counts: &TopicCounts) -> (u64, u64, u64, u64) {
    (counts.messages_sent, counts.messages_failed, counts.abandoned, counts.bytes_sent)
}

#[tokio::test(start_paused = true)]
async fn each_end_of_a_send_counts_once_for_its_topic() {
    let kafka = kafka();
    let topics = TopicMetrics::new(10);
    let mut service = topics.layer().layer(kafka.transport());
    // Topics that are equal and not the same allocation, in turn.
    for topic in ["orders", "payments", "orders", "orders"] {
        send(&mut service, topic).await.unwrap();
    }
    kafka.script().on_topic("payments").fail(Error::new(ErrorKind::Rejected, "no"));
    send(&mut service, "payments").await.unwrap_err();
    let _hold = kafka.script().on_topic("refunds").hold();
    assert!(tokio::time::timeout(SECOND, send(&mut service, "refunds")).await.is_err());

    let found = topics.snapshot();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["orders", "payments", "refunds"]);
    assert_eq!(counts(&found["orders"]), (3, 0, 0, 12));
    assert_eq!(counts(&found["payments"]), (1, 1, 0, 4));
    assert_eq!(counts(&found["refunds"]), (0, 0, 1, 0));
}

#[tokio::test]
async fn topics_beyond_the_limit_share_counters() {
    let topics = TopicMetrics::new(1);
    let mut service = topics.layer().layer(kafka().transport());
    for topic in ["orders", "payments", "refunds", "orders"] {
        send(&mut service, topic).await.unwrap();
    }
    let found = topics.snapshot();
    assert_eq!(found.keys().collect::<Vec<_>>(), [TopicMetrics::OTHER, "orders"]);
    assert_eq!((found["orders"].messages_sent, found[TopicMetrics::OTHER].messages_sent), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn clones_and_handles_share_counters_which_have_rates() {
    let topics = TopicMetrics::new(10);
    let mut first = topics.clone().layer().layer(kafka().transport());
    let mut second = first.clone();
    assert!(topics.snapshot().is_empty());
    tokio::time::advance(2 * SECOND).await;
    for service in [&mut first, &mut second] {
        send(service, "orders").await.unwrap();
    }
    let before = topics.snapshot()["orders"];
    assert_eq!((before.uptime, before.since(&TopicCounts::default()).messages_per_sec), (2 * SECOND, 1.0));
    tokio::time::advance(4 * SECOND).await;
    send(&mut second, "orders").await.unwrap();
    let rates = topics.snapshot()["orders"].since(&before);
    assert_eq!((rates.window, rates.messages_per_sec, rates.bytes_per_sec), (4 * SECOND, 0.25, 1.0));
}

/// A retry below is no other send.
#[tokio::test(start_paused = true)]
#[cfg(feature = "retry")]
async fn above_retry_a_record_counts_once() {
    use kafka_tower_core::Persistence;
    use kafka_tower_layers::retry::{RetryLayer, RetryPolicy};

    let kafka = kafka();
    let unavailable = Error::new(ErrorKind::Broker, "no leader").with_persistence(Persistence::NotPersisted);
    kafka.script().times(2).fail(unavailable);
    let topics = TopicMetrics::new(10);
    let mut service = topics.layer().layer(RetryLayer::from(RetryPolicy::new()).layer(kafka.transport()));
    send(&mut service, "orders").await.unwrap();
    assert_eq!(counts(&topics.snapshot()["orders"]), (1, 0, 0, 4));
}
