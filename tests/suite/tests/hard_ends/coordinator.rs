//! The coordinator of a transaction moves to another broker in the middle of it.

use futures_util::future::join_all;
use kafka_tower::layers::transaction_batch::TransactionBatchLayer;
use kafka_tower::{KafkaSink, KafkaSinkConfig};
use kafka_tower_core::{Record, Result};
use kafka_tower_testkit::kafka::Cluster;
use tower::{Layer, Service, ServiceExt};

use crate::support::*;

/// The topic with the state of all transactions. It has one partition here, whose leader is the coordinator.
const STATE: &str = "__transaction_state";

/// Moves the coordinator: by kill -9, or with a shutdown that hands it over. Returns the node, which is down.
async fn moves(kafka: &Cluster, kill: bool) -> i32 {
    let old = kafka.leader(STATE, 0).await.unwrap();
    if kill {
        kafka.kill(old).unwrap();
    } else {
        kafka.terminate(old).await.unwrap();
    }
    old
}

/// It moves between the records, and while the commit is requested. The same for a guard and for the batching layer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_survives_its_coordinator() {
    let Some(kafka) = Cluster::start(3).await.unwrap() else { return };
    let topic = kafka.topic("moved", 3).await.unwrap();
    let config = KafkaSinkConfig::exactly_once(kafka.bootstrap(), &*topic, format!("{topic}-sink"));
    let sink = KafkaSink::<String>::new(config).await.unwrap();
    let timeout = [("transaction.timeout.ms", "180000")];
    let batching = Producer::connected(kafka.bootstrap(), &format!("{topic}-batch"), &topic, &timeout).await;
    // The brokers need ten seconds to find that one is dead, and then elect leaders.
    let layer = TransactionBatchLayer::new(batching.control).timeout(2 * TIME);
    layer.init(TIME).await.unwrap();
    let service = layer.layer(batching.transport);
    let batch = |name: String| {
        let (mut service, topic) = (service.clone(), topic.clone());
        async move {
            let mut sends = Vec::new();
            for n in 0..30 {
                let record = Record::new(topic.as_str()).with_value(format!("{name}.{n}")).with_partition(n % 3);
                sends.push(service.ready().await.unwrap().call(record));
            }
            join_all(sends).await.into_iter().collect::<Result<Vec<_>>>().unwrap_or_else(|error| panic!("{error:#}"));
        }
    };

    let mut expected = Vec::new();
    for (round, kill) in [true, false].into_iter().enumerate() {
        let tx = sink.transaction().await.unwrap();
        tx.send(format!("guard {round}.0")).await.unwrap();
        let moved = {
            let (sends, moved) =
                tokio::join!(join_all((1..10).map(|n| tx.send(format!("guard {round}.{n}")))), async {
                    tokio::join!(moves(&kafka, kill), batch(format!("batch {round}"))).0
                },);
            sends.into_iter().collect::<Result<Vec<_>>>().unwrap_or_else(|error| panic!("{error:#}"));
            moved
        };
        tx.send(format!("guard {round}.10")).await.unwrap();
        tx.commit().await.unwrap_or_else(|error| panic!("{error:#}"));
        kafka.restart(moved).await.unwrap();

        // In the commit.
        let tx = sink.transaction().await.unwrap();
        tx.send(format!("guard {round}.11")).await.unwrap();
        let (committed, moved, ()) =
            tokio::join!(tx.commit(), moves(&kafka, kill), batch(format!("batch {round} in commit")));
        committed.unwrap_or_else(|error| panic!("{error:#}"));
        kafka.restart(moved).await.unwrap();

        expected.extend((0..12).map(|n| format!("\"guard {round}.{n}\"")));
        for name in ["", " in commit"] {
            expected.extend((0..30).map(|n| format!("batch {round}{name}.{n}")));
        }
    }
    sink.close().await.unwrap();
    let mut read = committed(&kafka, &topic).await;
    read.sort();
    expected.sort();
    assert_eq!(read, expected);
}
