//! A sink whose sends share transactions, on a real Apache Kafka: no request to end a transaction reaches the coordinator
//! for a while. A reader of committed records on another listener has the last word.
#![allow(clippy::unwrap_used)] // a test may fail

use std::time::Duration;

use kafka_tower::{KafkaSink, KafkaSinkConfig, Persistence, SinkMessage, TransactionBatchOptions};
use kafka_tower_testkit::kafka::proxy::{Action, ApiKey};
use kafka_tower_testkit::kafka::{self as cluster, Cluster, Listener};

const TIME: Duration = Duration::from_secs(60);

async fn real() -> Option<Cluster> {
    Cluster::builder().listener(Listener::Proxy).start().await.unwrap()
}

async fn sink(kafka: &Cluster, topic: &str, transaction_timeout: Duration) -> KafkaSink<u32> {
    let brokers = kafka.bootstrap_of(Listener::Proxy).unwrap();
    let config = KafkaSinkConfig { send_timeout_ms: 9_000, ..KafkaSinkConfig::exactly_once(brokers, topic, topic) }
        .with_property("transaction.timeout.ms", transaction_timeout.as_millis().to_string())
        .with_property("socket.timeout.ms", "1000");
    let options = TransactionBatchOptions::new().timeout(Duration::from_secs(2));
    KafkaSink::builder(config).transaction_batch(options).build().await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// Sends until it is delivered. Nothing else may happen to a record than that it is certainly not written.
async fn send_until_delivered(sink: &KafkaSink<u32>, value: u32) {
    let sent = async {
        while let Err(error) = sink.send(SinkMessage::new(value).with_partition(0)).await {
            assert_eq!(error.persistence(), Persistence::NotPersisted, "{error:#}");
        }
    };
    tokio::time::timeout(TIME, sent).await.expect("the lane comes back");
}

async fn committed(kafka: &Cluster, topic: &str) -> Vec<String> {
    kafka.read_committed(topic).await.unwrap().iter().map(cluster::ReadRecord::text).collect()
}

#[tokio::test]
async fn a_lane_comes_back() {
    let Some(kafka) = real().await else { return };
    let proxy = kafka.proxy().unwrap();
    let topic = kafka.topic("outage", 1).await.unwrap();
    let sink = sink(&kafka, &topic, Duration::from_secs(60)).await;
    send_until_delivered(&sink, 1).await;
    proxy.always(ApiKey::END_TXN, "", Action::CutBefore);
    let error = sink.send(SinkMessage::new(2).with_partition(0)).await.unwrap_err();
    assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}");
    proxy.clear_rules();
    send_until_delivered(&sink, 3).await;
    // It was asked for again, and this time it was carried out.
    assert_eq!(committed(&kafka, &topic).await, ["1", "2", "3"]);
    sink.close().await.unwrap();
}

/// The coordinator aborts the transaction by its time-out, and fences the producer: it is replaced.
#[tokio::test]
async fn a_lane_whose_transaction_timed_out_comes_back() {
    let Some(kafka) = real().await else { return };
    let proxy = kafka.proxy().unwrap();
    let topic = kafka.topic("outage", 1).await.unwrap();
    let sink = sink(&kafka, &topic, Duration::from_secs(9)).await;
    send_until_delivered(&sink, 1).await;
    proxy.always(ApiKey::END_TXN, "", Action::CutBefore);
    let error = sink.send(SinkMessage::new(2).with_partition(0)).await.unwrap_err();
    assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}");
    // The coordinator looks for such transactions every 10 s.
    tokio::time::sleep(Duration::from_secs(22)).await;
    proxy.clear_rules();
    send_until_delivered(&sink, 3).await;
    assert_eq!(committed(&kafka, &topic).await, ["1", "3"]);
    assert!(sink.control().generation() > 0);
    sink.close().await.unwrap();
}
