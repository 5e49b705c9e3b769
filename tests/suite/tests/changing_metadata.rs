//! Topics that change while a sink uses them: partitions are added, a topic is deleted and created again. Against a
//! real Apache Kafka.
#![allow(clippy::unwrap_used)] // a test may fail

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kafka_tower::{ErrorKind, KafkaSink, KafkaSinkConfig, PartitionStrategy, Persistence, SinkMessage};
use kafka_tower_testkit::kafka::{self as cluster, Cluster};

/// Enough time even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

async fn sink(kafka: &Cluster, topic: &str, refresh_ms: &str) -> KafkaSink<String> {
    let config = KafkaSinkConfig { brokers: kafka.bootstrap().into(), topic: topic.into(), ..Default::default() }
        .with_property("topic.metadata.refresh.interval.ms", refresh_ms);
    KafkaSink::new(config).await.unwrap()
}

/// Sends until a round of sends uses exactly these partitions and no send is refused.
async fn until_used(sink: &KafkaSink<String>, partitions: i32) {
    let end = Instant::now() + PATIENCE;
    loop {
        let (mut used, mut refused) = (BTreeSet::new(), 0);
        for _ in 0..8 {
            match sink.send("x".to_string()).await {
                Ok(delivery) => drop(used.insert(delivery.partition)),
                Err(error) => {
                    assert_eq!(error.persistence(), Persistence::NotPersisted, "{error:#}");
                    refused += 1;
                }
            }
        }
        if used == (0..partitions).collect() && refused == 0 {
            return;
        }
        assert!(Instant::now() < end, "used {used:?} of {partitions}, {refused} refused");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn round_robin_follows_a_topic_within_the_refresh_interval() {
    let Some(kafka) = cluster::shared().await else { return };
    let (grows, anew) = (kafka.topic("grows", 1).await.unwrap(), kafka.topic("anew", 3).await.unwrap());
    let grown = sink(kafka, &grows, "300").await.with_partition_strategy(PartitionStrategy::RoundRobin);
    let fewer = sink(kafka, &anew, "300").await.with_partition_strategy(PartitionStrategy::RoundRobin);
    until_used(&grown, 1).await;
    until_used(&fewer, 3).await;
    kafka.add_partitions(&grows, 4).await.unwrap();
    kafka.delete_topic(&anew).await.unwrap();
    kafka.create_topic(&anew, 1, &[]).await.unwrap();
    until_used(&grown, 4).await;
    until_used(&fewer, 1).await;
}

#[tokio::test]
async fn an_unknown_partition_is_looked_up_before_it_is_refused() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("looked-for", 1).await.unwrap();
    // No refresh at intervals.
    let sink = sink(kafka, &topic, "-1").await;
    let to = |partition| SinkMessage::new("x".to_string()).with_partition(partition);
    let refused = sink.send(to(1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::UnknownTopicOrPartition, "{refused:#}");
    assert_eq!(refused.persistence(), Persistence::NotPersisted, "{refused:#}");
    assert!(
        format!("{refused:#} {:?}", refused.help()).contains("has 1 partition,"),
        "{refused:#} {:?}",
        refused.help()
    );
    kafka.add_partitions(&topic, 3).await.unwrap();
    // The result of a look-up is used for a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let sends = (0..20).map(|n| sink.send(to(1 + n % 2)));
    let offsets: Vec<_> =
        futures_util::future::join_all(sends).await.into_iter().map(|sent| sent.unwrap().offset.unwrap()).collect();
    assert_eq!(offsets, (0..10).flat_map(|n| [n, n]).collect::<Vec<_>>(), "offsets are in the order of the calls");
    assert_eq!(sink.control().partition_count(&topic), Some(3), "the look-up found the new partitions");
}

#[tokio::test]
async fn a_topic_that_is_created_again_accepts_records_at_once() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("comes-back", 1).await.unwrap();
    let sink = sink(kafka, &topic, "-1").await;
    sink.send("x".to_string()).await.unwrap();
    kafka.delete_topic(&topic).await.unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        // The first sends may still succeed.
        match sink.send("x".to_string()).await {
            Ok(_) => assert!(Instant::now() < end),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{error:#}");
                break;
            }
        }
    }
    kafka.create_topic(&topic, 2, &[]).await.unwrap();
    while let Err(error) = sink.send("x".to_string()).await {
        assert!(Instant::now() < end, "{error:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
