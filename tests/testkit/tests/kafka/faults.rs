//! The proxy in front of a real broker: what a plain producer does to its records when answers get lost.

#![allow(clippy::unwrap_used)]

mod common;

use common::{producer, send};
use kafka_tower_testkit::kafka::proxy::{Action, ApiKey};
use kafka_tower_testkit::kafka::segments::Compression;
use kafka_tower_testkit::kafka::{Cluster, Isolation, Listener, Proxy};
use rdkafka::producer::{FutureRecord, Producer as _};
use tokio::sync::OnceCell;

async fn cluster() -> Option<(&'static Cluster, String)> {
    static CLUSTER: OnceCell<Option<Cluster>> = OnceCell::const_new();
    let start = || async { Cluster::builder().listener(Listener::Proxy).start().await.unwrap() };
    let cluster = CLUSTER.get_or_init(start).await.as_ref()?;
    Some((cluster, cluster.bootstrap_of(Listener::Proxy).unwrap()))
}

/// The proxy is shared: one test at a time.
async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    ALONE.lock().await
}

/// Sends two records, the second under the rule, and returns how often the second is in the log.
async fn written(kafka: &Cluster, proxied: &str, action: Action, more: &[(&str, &str)]) -> usize {
    let topic = kafka.topic("faults", 1).await.unwrap();
    let producer = producer(proxied, more);
    send(&producer, FutureRecord::<str, str>::to(&topic).payload("first")).await.unwrap();
    proxy(kafka).next(ApiKey::PRODUCE, action);
    send(&producer, FutureRecord::<str, str>::to(&topic).payload("disturbed")).await.unwrap();
    proxy(kafka).release().await.unwrap();
    kafka.read(&topic).await.unwrap().iter().filter(|record| record.text() == "disturbed").count()
}

fn proxy(kafka: &Cluster) -> &Proxy {
    kafka.proxy().unwrap()
}

#[tokio::test]
async fn a_request_that_never_arrived_is_written_once() {
    let Some((kafka, proxied)) = cluster().await else {
        return;
    };
    let _alone = alone().await;
    assert_eq!(written(kafka, &proxied, Action::CutBefore, &[]).await, 1);
}

#[tokio::test]
async fn a_lost_answer_writes_twice_without_idempotence() {
    let Some((kafka, proxied)) = cluster().await else {
        return;
    };
    let _alone = alone().await;
    assert_eq!(written(kafka, &proxied, Action::DropAnswer, &[]).await, 2);
    assert_eq!(written(kafka, &proxied, Action::DropAnswer, &[("enable.idempotence", "true")]).await, 1);
}

#[tokio::test]
async fn a_late_request_writes_twice_without_idempotence() {
    let Some((kafka, proxied)) = cluster().await else {
        return;
    };
    let _alone = alone().await;
    assert_eq!(written(kafka, &proxied, Action::HoldAndCut, &[]).await, 2);
    assert_eq!(written(kafka, &proxied, Action::HoldAndCut, &[("enable.idempotence", "true")]).await, 1);
}

#[tokio::test]
async fn a_record_sent_while_the_network_is_down_arrives_later() {
    let Some((kafka, proxied)) = cluster().await else {
        return;
    };
    let _alone = alone().await;
    let topic = kafka.topic("network", 1).await.unwrap();
    let producer = producer(&proxied, &[("enable.idempotence", "true")]);
    send(&producer, FutureRecord::<str, str>::to(&topic).payload("one")).await.unwrap();
    proxy(kafka).down().await.unwrap();
    let late = producer.send_result(FutureRecord::<str, str>::to(&topic).payload("two")).unwrap();
    proxy(kafka).up().await.unwrap();
    late.await.unwrap().unwrap();
    assert_eq!(kafka.read(&topic).await.unwrap().len(), 2);
}

/// KAFKA-17754: librdkafka uses a transaction protocol in which a late commit ends the next transaction.
#[tokio::test]
async fn a_late_commit_commits_the_next_transaction() {
    let Some((kafka, proxied)) = cluster().await else {
        return;
    };
    let _alone = alone().await;
    let topic = kafka.topic("late-commit", 1).await.unwrap();
    let limit = std::time::Duration::from_secs(20);
    let producer = producer(&proxied, &[("transactional.id", &topic)]);
    producer.init_transactions(limit).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, FutureRecord::<str, str>::to(&topic).payload("first")).await.unwrap();
    proxy(kafka).next(ApiKey::END_TXN, Action::HoldAndCut);
    producer.commit_transaction(limit).unwrap();

    producer.begin_transaction().unwrap();
    send(&producer, FutureRecord::<str, str>::to(&topic).payload("aborted")).await.unwrap();
    proxy(kafka).release().await.unwrap();
    // The broker has already committed it.
    let _ = producer.abort_transaction(limit);
    let seen: Vec<_> =
        kafka.read_as(&topic, Isolation::Committed).await.unwrap().iter().map(|record| record.text()).collect();
    assert_eq!(seen, ["first", "aborted"]);
}

#[tokio::test]
async fn the_segments_show_how_batches_were_written() {
    let Some((kafka, _)) = cluster().await else {
        return;
    };
    let topic = kafka.topic("segments", 1).await.unwrap();
    let codecs = [
        ("none", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ];
    let text = "repeat ".repeat(100);
    for (name, _) in codecs {
        let producer = producer(kafka.bootstrap(), &[("compression.type", name), ("enable.idempotence", "true")]);
        send(&producer, FutureRecord::<str, str>::to(&topic).payload(&text)).await.unwrap();
    }
    let batches = kafka.batches(&topic, 0).await.unwrap();
    let seen: Vec<_> = batches.iter().map(|batch| batch.compression).collect();
    assert_eq!(seen, codecs.map(|(_, codec)| codec));
    for (offset, batch) in (0..).zip(&batches) {
        assert_eq!((batch.base_offset, batch.records, batch.base_sequence), (offset, 1, 0));
        assert!(batch.producer_id >= 0 && !batch.transactional && !batch.control);
    }
}
