//! Three nodes: a leader is killed, another takes over, and the first is restarted.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::time::Instant;

use common::{producer, send};
use kafka_tower_testkit::kafka::Cluster;
use rdkafka::producer::FutureRecord;

#[tokio::test]
async fn a_killed_leader_is_replaced() {
    let begin = Instant::now();
    let Some(kafka) = Cluster::start(3).await.unwrap() else {
        return;
    };
    eprintln!("three nodes: {:?}", begin.elapsed());
    let topic = kafka.topic("leader", 1).await.unwrap();
    let producer = producer(kafka.bootstrap(), &[("enable.idempotence", "true")]);
    send(&producer, FutureRecord::<str, str>::to(&topic).payload("one")).await.unwrap();

    let old = kafka.leader(&topic, 0).await.unwrap();
    kafka.kill(old).unwrap();
    let begin = Instant::now();
    let new = kafka.leader_after(&topic, 0, old).await.unwrap();
    eprintln!("new leader: {:?}", begin.elapsed());
    assert_ne!(new, old);
    send(&producer, FutureRecord::<str, str>::to(&topic).payload("two")).await.unwrap();

    let begin = Instant::now();
    kafka.restart(old).await.unwrap();
    eprintln!("killed node back: {:?}", begin.elapsed());
    send(&producer, FutureRecord::<str, str>::to(&topic).payload("three")).await.unwrap();
    let texts: Vec<_> = kafka.read(&topic).await.unwrap().iter().map(|record| record.text()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
}
