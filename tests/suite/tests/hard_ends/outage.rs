//! A sink whose sends share transactions, while no request to end a transaction reaches the coordinator.

use std::time::Duration;

use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage, TransactionBatchOptions};
use kafka_tower_core::Persistence;
use kafka_tower_testkit::kafka::proxy::{Action, ApiKey};
use kafka_tower_testkit::kafka::{Cluster, Listener};

use crate::support::*;

/// A sink that has sent 1, and has no answer to the commit of 2. The outage lasts.
async fn in_outage(kafka: &Cluster, topic: &str, transaction_timeout_ms: u64) -> KafkaSink<u32> {
    let brokers = kafka.bootstrap_of(Listener::Proxy).unwrap();
    let config = KafkaSinkConfig { send_timeout_ms: 6_000, ..KafkaSinkConfig::exactly_once(brokers, topic, topic) }
        .with_property("transaction.timeout.ms", transaction_timeout_ms.to_string())
        .with_property("socket.timeout.ms", "1000");
    let options = TransactionBatchOptions::new().timeout(Duration::from_secs(2));
    let builder = KafkaSink::builder(config).transaction_batch(options);
    let sink = builder.build().await.unwrap_or_else(|error| panic!("{error:#}"));
    send_until_delivered(&sink, 1).await;
    kafka.proxy().unwrap().always(ApiKey::END_TXN, "", Action::CutBefore);
    let error = checked(sink.send(SinkMessage::new(2).with_partition(0)).await).unwrap_err();
    assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}");
    sink
}

/// Sends until it is delivered. Nothing else may happen to a record than that it is certainly not written.
async fn send_until_delivered(sink: &KafkaSink<u32>, value: u32) {
    let sent = async {
        while let Err(error) = sink.send(SinkMessage::new(value).with_partition(0)).await {
            assert_eq!(error.persistence(), Persistence::NotPersisted, "{error:#}");
        }
    };
    tokio::time::timeout(2 * TIME, sent).await.expect("the lane comes back");
}

#[tokio::test]
async fn a_lane_comes_back() {
    let _alone = ALONE.lock().await;
    let Some(kafka) = shared().await else { return };
    let topic = kafka.topic("outage", 1).await.unwrap();
    let sink = in_outage(kafka, &topic, 60_000).await;
    kafka.proxy().unwrap().clear_rules();
    send_until_delivered(&sink, 3).await;
    // The commit was requested again, and this time it was carried out.
    assert_eq!(committed(kafka, &topic).await, ["1", "2", "3"]);
    sink.close().await.unwrap();
}

/// The coordinator aborts the transaction by its time-out, and fences the producer: it is replaced.
#[tokio::test]
async fn a_lane_whose_transaction_timed_out_comes_back() {
    let _alone = ALONE.lock().await;
    let Some(kafka) = shared().await else { return };
    let topic = kafka.topic("outage-timed-out", 1).await.unwrap();
    let sink = in_outage(kafka, &topic, 6_000).await;
    ended_by_the_broker(kafka, &topic).await;
    kafka.proxy().unwrap().clear_rules();
    send_until_delivered(&sink, 3).await;
    assert_eq!(committed(kafka, &topic).await, ["1", "3"]);
    assert!(sink.control().generation() > 0);
    sink.close().await.unwrap();
}
