//! One node: topics, records, and several ways to end its process.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::time::{Duration, Instant};

use common::{producer, send};
use kafka_tower_testkit::kafka::{self as cluster, Cluster};
use rdkafka::producer::FutureRecord;

#[tokio::test]
async fn written_records_are_read() {
    let Some(kafka) = cluster::shared().await else {
        return;
    };
    let topic = kafka.topic("written", 2).await.unwrap();
    let producer = producer(kafka.bootstrap(), &[]);
    send(&producer, FutureRecord::<str, str>::to(&topic).partition(1).key("k").payload("one")).await.unwrap();
    send(&producer, FutureRecord::<str, str>::to(&topic).partition(0).payload("two")).await.unwrap();

    let records = kafka.read(&topic).await.unwrap();
    let seen: Vec<_> = records.iter().map(|record| (record.partition, record.offset, record.text())).collect();
    assert_eq!(seen, [(0, 0, "two".into()), (1, 0, "one".into())]);
    assert_eq!(records[0].key, None);
    assert_eq!(records[1].key.as_deref(), Some(&b"k"[..]));
    assert!(records[0].timestamp.is_some());
}

#[tokio::test]
async fn a_topic_is_deleted_and_altered() {
    let Some(kafka) = cluster::shared().await else {
        return;
    };
    let topic = kafka.topic("settings", 1).await.unwrap();
    kafka.alter_topic(&topic, &[("max.message.bytes", "100")]).await.unwrap();
    let producer = producer(kafka.bootstrap(), &[]);
    let long = "x".repeat(500);
    let refused = send(&producer, FutureRecord::<str, str>::to(&topic).payload(&long)).await.unwrap_err();
    assert_eq!(refused.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::MessageSizeTooLarge));

    kafka.delete_topic(&topic).await.unwrap();
    assert!(kafka.read(&topic).await.is_err());
}

#[tokio::test]
async fn kill_and_restart_keep_the_data() {
    let begin = Instant::now();
    let Some(kafka) = Cluster::start(1).await.unwrap() else {
        return;
    };
    eprintln!("one node: {:?}", begin.elapsed());
    let topic = kafka.topic("kept", 1).await.unwrap();
    let producer = producer(kafka.bootstrap(), &[]);
    send(&producer, FutureRecord::<str, str>::to(&topic).payload("before")).await.unwrap();

    kafka.kill(1).unwrap();
    assert_eq!(kafka.pid(1).unwrap(), None);
    let begin = Instant::now();
    kafka.restart(1).await.unwrap();
    eprintln!("restart after a kill: {:?}", begin.elapsed());
    send(&producer, FutureRecord::<str, str>::to(&topic).payload("after")).await.unwrap();

    kafka.terminate(1).await.unwrap();
    kafka.restart(1).await.unwrap();
    let texts: Vec<_> = kafka.read(&topic).await.unwrap().iter().map(|record| record.text()).collect();
    assert_eq!(texts, ["before", "after"]);

    let data = kafka.data_dir(1).unwrap();
    assert!(data.join(format!("{topic}-0")).is_dir());
    drop(kafka);
    assert!(!data.exists());
}

#[tokio::test]
async fn a_paused_broker_does_not_answer_until_it_continues() {
    let Some(kafka) = Cluster::start(1).await.unwrap() else {
        return;
    };
    let topic = kafka.topic("silent", 1).await.unwrap();
    let producer = producer(kafka.bootstrap(), &[]);
    send(&producer, FutureRecord::<str, str>::to(&topic).payload("one")).await.unwrap();

    kafka.stop(1).unwrap();
    let late = producer.send_result(FutureRecord::<str, str>::to(&topic).payload("two")).unwrap();
    let mut late = std::pin::pin!(late);
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut late).await.is_err());
    kafka.cont(1).unwrap();
    late.await.unwrap().unwrap();
    assert_eq!(kafka.read(&topic).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_failed_start_shows_the_log() {
    let builder = Cluster::builder().property("log.retention.ms", "nonsense");
    match builder.start().await {
        Ok(None) => {}
        Ok(Some(_)) => panic!("it started"),
        Err(error) => assert!(error.to_string().contains("nonsense"), "{error}"),
    }
}
