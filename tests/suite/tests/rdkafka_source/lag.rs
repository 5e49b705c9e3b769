//! The lag of a group: what other clients see, and that it ends at zero.

use std::time::Duration;

use kafka_tower::{KafkaSource, KafkaSourceConfig, Record, TopicPartition};
use kafka_tower_rdkafka::RdkafkaTransport;
use kafka_tower_testkit::kafka::{self as cluster, Cluster, ReadRecord, java};
use tokio::time::{sleep, timeout};

use crate::read::{PATIENCE, config, next, no_lag, send, sink, source};
use crate::support::{Kind, append, append_aborted};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafkas_own_tool_shows_the_same_lag() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("lag", 3).await.unwrap();
    send(&sink(kafka, &topic).await, 0..300).await;
    let config = config(kafka, &topic, Kind::Cooperative);
    let mut source = source(config.clone()).await;
    let mut held = Vec::new();
    for _ in 0..300 {
        let message = next(&mut source).await;
        // Of each partition another number of messages is settled.
        if message.offset() < 5 + 3 * i64::from(message.partition()) {
            message.commit().await.unwrap();
        } else {
            held.push(message);
        }
    }
    let Some(shown) = java::lag(kafka.bootstrap(), &config.group_id).await.unwrap() else { return };
    let ours = source.control().lag().await.unwrap();
    let ours: java::GroupLag = ours.into_iter().map(|(at, lag)| ((at.topic.to_string(), at.partition), lag)).collect();
    assert_eq!(shown, ours);
    assert_eq!(shown.values().flatten().sum::<u64>(), held.len() as u64);
    for message in held {
        message.ack();
    }
    assert!(timeout(PATIENCE, source.close()).await.unwrap().is_complete());
    let shown = java::lag(kafka.bootstrap(), &config.group_id).await.unwrap().unwrap();
    assert!(shown.values().all(|lag| *lag == Some(0)), "{shown:?}");
}

/// Two of three keys, others in each round.
fn round(topic: &str, round: u32) -> Vec<Record> {
    let record = |key: u32| {
        let value = (round * 100 + key).to_string();
        Record::new(topic).with_partition(0).with_key(key.to_string()).with_value(value)
    };
    (0..9).filter(|key| !(key + round).is_multiple_of(3)).map(record).collect()
}

/// Reads what is there for the group, and compares it with what an independent reader has found.
async fn reads_all(kafka: &Cluster, config: &KafkaSourceConfig, expected: &[ReadRecord]) {
    let mut source: KafkaSource<u32> = source(config.clone()).await;
    for record in expected {
        let message = next(&mut source).await;
        let value = message.value().unwrap().to_string();
        assert_eq!((message.offset(), value), (record.offset, record.text()));
        message.ack();
    }
    assert!(timeout(Duration::from_secs(1), source.recv()).await.is_err(), "nothing else");
    no_lag(kafka, &config.topics[0], &config.group_id).await;
    let at = TopicPartition::new(config.topics[0].as_str(), 0);
    assert_eq!(source.lag().await.unwrap()[&at], Some(0));
    assert!(timeout(PATIENCE, source.close()).await.unwrap().is_complete());
}

/// A topic with aborted transactions is compacted, also where a group has committed, and ends with an aborted transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_topic_with_aborted_transactions_is_read_to_its_end() {
    let Some(kafka) = Cluster::builder().property("log.cleaner.backoff.ms", "50").start().await.unwrap() else {
        return;
    };
    let settings = |segment| {
        let clean = [("min.cleanable.dirty.ratio", "0.01"), ("delete.retention.ms", "0")];
        [[("cleanup.policy", "compact"), ("segment.ms", segment)], clean].concat()
    };
    let topic = kafka.topic_with("compacted", 1, &settings("100")).await.unwrap();
    let builder = RdkafkaTransport::builder().property("bootstrap.servers", kafka.bootstrap());
    let producer = builder.connect().await.unwrap();
    append(&producer, round(&topic, 1)).await;
    append_aborted(kafka.bootstrap(), &topic, round(&topic, 2)).await;
    let begun = config(&kafka, &topic, Kind::Cooperative);
    {
        let mut first = source(begun.clone()).await;
        for _ in 0..3 {
            next(&mut first).await.ack();
        }
        assert!(first.close().await.is_complete());
    }
    // Each round begins a segment, and replaces records of those before.
    let mut rounds = 3;
    let is_old = |record: &ReadRecord| record.offset < 12;
    while kafka.read(&topic).await.unwrap().iter().any(is_old) {
        append(&producer, round(&topic, rounds)).await;
        append_aborted(kafka.bootstrap(), &topic, round(&topic, rounds + 1)).await;
        rounds += 2;
        assert!(rounds < 200, "it is not compacted");
        sleep(Duration::from_millis(120)).await;
    }
    // The cleaner goes on for as long as there are old segments.
    let mut expected = kafka.read_committed(&topic).await.unwrap();
    loop {
        sleep(Duration::from_millis(500)).await;
        let again = kafka.read_committed(&topic).await.unwrap();
        if again == expected {
            break;
        }
        expected = again;
    }
    let holes = expected.windows(2).filter(|pair| pair[1].offset > pair[0].offset + 1).count();
    assert!(holes > 0 && expected.len() >= 9, "{expected:?}");
    // What follows stays as it is.
    kafka.alter_topic(&topic, &settings("3600000")).await.unwrap();
    append(&producer, round(&topic, rounds)).await;
    append_aborted(kafka.bootstrap(), &topic, round(&topic, rounds + 1)).await;
    append(&producer, round(&topic, rounds + 2)).await;
    append_aborted(kafka.bootstrap(), &topic, round(&topic, rounds + 3)).await;
    let expected = kafka.read_committed(&topic).await.unwrap();
    let fresh = KafkaSourceConfig { group_id: format!("{}-fresh", begun.group_id), ..begun.clone() };
    for group in [&begun, &fresh] {
        reads_all(&kafka, group, &expected).await;
    }
}
