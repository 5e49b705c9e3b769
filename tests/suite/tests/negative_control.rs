//! The negative control of "a send's budget is not `message.timeout.ms`": with librdkafka's own time-out shorter than an
//! outage, an idempotent producer writes records twice and reports each as delivered. It needs three brokers and some
//! outages until it fires: `scripts/chaos` runs it, others see one line.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test may fail

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_tower_core::Record;
use kafka_tower_rdkafka::RdkafkaTransport;
use kafka_tower_test_cluster::Cluster;
use tower::{Service, ServiceExt};

const OUTAGES: usize = 60;

/// Sends 2,000 records a second through an outage of the partition's leader. Says how many were acknowledged and are in the
/// log more than once, and how many acknowledged ones are lost.
async fn outage(kafka: &Cluster, message_timeout: &str, kill: bool) -> (usize, usize, usize) {
    let topic = kafka.topic("control", 1).await.unwrap();
    let mut transport = RdkafkaTransport::builder()
        .property("bootstrap.servers", kafka.bootstrap())
        .property("message.timeout.ms", message_timeout)
        .property("socket.timeout.ms", "1000")
        .topic(topic.as_str())
        .connect()
        .await
        .unwrap();
    let leader = kafka.leader(&topic, 0).await.unwrap();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let mut futures = Vec::new();
    for step in 0..1_000 {
        match step {
            100 if kill => kafka.kill(leader).unwrap(),
            100 => kafka.stop(leader).unwrap(),
            _ => {}
        }
        tick.tick().await;
        for _ in 0..20 {
            let record = Record::new(topic.as_str()).with_value(futures.len().to_string());
            futures.push(transport.ready().await.unwrap().call(record));
        }
    }
    if kill {
        kafka.restart(leader).await.unwrap();
    } else {
        kafka.cont(leader).unwrap();
    }
    let outcomes = join_all(futures).await;
    let mut count = BTreeMap::<usize, usize>::new();
    for record in kafka.read(&topic).await.unwrap() {
        *count.entry(record.text().parse().unwrap()).or_default() += 1;
    }
    let acknowledged: Vec<_> =
        outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_ok()).map(|(number, _)| number).collect();
    let lost = acknowledged.iter().filter(|number| !count.contains_key(number)).count();
    let twice = acknowledged.iter().filter(|number| count.get(number).is_some_and(|times| *times > 1)).count();
    (acknowledged.len(), twice, lost)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_time_out_shorter_than_an_outage_writes_twice() {
    if std::env::var("KAFKA_TOWER_CHAOS").is_err() {
        eprintln!("negative control: not run; scripts/chaos runs it");
        return;
    }
    let Some(kafka) = Cluster::start(3).await.unwrap() else { return };
    for round in 1..=OUTAGES {
        // Ours first, in the same outage's conditions: never twice.
        let (acknowledged, twice, lost) = outage(&kafka, "0", round % 2 == 0).await;
        eprintln!("outage {round}, no local time-out: {acknowledged} acknowledged, {twice} twice, {lost} lost");
        assert_eq!((twice, lost), (0, 0));
        let (acknowledged, twice, lost) = outage(&kafka, "1500", round % 2 == 0).await;
        eprintln!("outage {round}, message.timeout.ms=1500: {acknowledged} acknowledged, {twice} twice, {lost} lost");
        if twice > 0 {
            return;
        }
    }
    panic!("the negative control did not fire in {OUTAGES} outages");
}
