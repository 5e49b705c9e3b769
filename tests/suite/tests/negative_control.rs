//! Negative control for the decision not to use `message.timeout.ms` as a send's time-out: if this local time-out of
//! librdkafka is shorter than an outage, an idempotent producer writes records twice and reports each as delivered.
//!
//! The outages with three brokers run only in `scripts/chaos`; otherwise a line says that they did not run.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test may fail

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_tower_core::{ErrorKind, Persistence, Record};
use kafka_tower_rdkafka::{DeliveryFuture, RdkafkaTransport};
use kafka_tower_testkit::kafka::proxy::{ApiKey, Direction};
use kafka_tower_testkit::kafka::{Cluster, Listener, Proxy};
use tower::{Service, ServiceExt};

/// librdkafka looks for expired records once a second, so the two records' ages differ by more.
const LOCAL_TIMEOUT: Duration = Duration::from_millis(4_000);
const BETWEEN: Duration = Duration::from_millis(2_500);

const OUTAGES: usize = 6;

async fn connect(bootstrap: &str, topic: &str, property: (&str, &str)) -> RdkafkaTransport {
    let builder = RdkafkaTransport::builder().property("bootstrap.servers", bootstrap).topic(topic);
    builder.property(property.0, property.1).connect().await.unwrap()
}

/// How often each number is in the log.
async fn counts(kafka: &Cluster, topic: &str) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for record in kafka.read(topic).await.unwrap() {
        *counts.entry(record.text().parse().unwrap()).or_default() += 1;
    }
    counts
}

/// Calls with a number; returns when the broker has appended it and its answer is held in the proxy.
async fn append(transport: &mut RdkafkaTransport, proxy: &Proxy, topic: &str, number: usize) -> DeliveryFuture {
    let answers = proxy.answers(ApiKey::PRODUCE);
    let future = transport.ready().await.unwrap().call(Record::new(topic).with_value(number.to_string()));
    proxy.wait_for_answer(ApiKey::PRODUCE, answers + 1).await.unwrap();
    future
}

/// Appends the records 1 and 2 and loses both answers. With a local time-out, record 1 expires before the outage ends,
/// which makes librdkafka begin a new epoch, in which it sends record 2 again: the broker cannot know it as a duplicate.
/// Returns how often record 2, which is reported as delivered, is in the log.
async fn lost_answers(kafka: &Cluster, message_timeout: Duration) -> usize {
    let proxy = kafka.proxy().unwrap();
    let topic = kafka.topic("control", 1).await.unwrap();
    let timeout = message_timeout.as_millis().to_string();
    let bootstrap = kafka.bootstrap_of(Listener::Proxy).unwrap();
    let mut transport = connect(&bootstrap, &topic, ("message.timeout.ms", &timeout)).await;
    transport.ready().await.unwrap().call(Record::new(topic.as_str()).with_value("0")).await.unwrap();
    proxy.pause(Direction::ToClient);
    let first = append(&mut transport, proxy, &topic, 1).await;
    tokio::time::sleep(BETWEEN).await;
    let second = append(&mut transport, proxy, &topic, 2).await;
    proxy.down().await.unwrap();
    proxy.resume(Direction::ToClient);
    if message_timeout.is_zero() {
        proxy.up().await.unwrap();
        first.await.unwrap();
    } else {
        let expired = first.await.unwrap_err();
        assert_eq!((expired.kind(), expired.persistence()), (ErrorKind::Timeout, Persistence::PossiblyPersisted));
        proxy.up().await.unwrap();
    }
    second.await.unwrap();
    let counts = counts(kafka, &topic).await;
    assert_eq!((counts[&0], counts[&1]), (1, 1), "{counts:?}");
    counts[&2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_time_out_shorter_than_an_outage_writes_twice() {
    let Some(kafka) = Cluster::builder().listener(Listener::Proxy).start().await.unwrap() else { return };
    assert_eq!(lost_answers(&kafka, Duration::ZERO).await, 1, "no local time-out, which is the default");
    assert_eq!(lost_answers(&kafka, LOCAL_TIMEOUT).await, 2, "the control: a local time-out");
}

/// Sends 2,000 records a second through an outage of the partition's leader, which is killed or stopped.
async fn outage(kafka: &Cluster, kill: bool) {
    let topic = kafka.topic("outage", 1).await.unwrap();
    let mut transport = connect(kafka.bootstrap(), &topic, ("socket.timeout.ms", "1000")).await;
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
    // Not by way of the leader of before: when it goes on, it takes itself for the leader until it has read the cluster's
    // metadata, and a reader of its log misses everything since it was stopped.
    let others = kafka.bootstrap().split(',').enumerate().filter(|(index, _)| index + 1 != leader as usize);
    let others: Vec<_> = others.map(|(_, address)| address).collect();
    let counts = counts(&Cluster::external(others.join(",")), &topic).await;
    let acknowledged = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_ok()).map(|(number, _)| number);
    let acknowledged: Vec<_> = acknowledged.collect();
    let lost = acknowledged.iter().filter(|number| !counts.contains_key(number)).count();
    let twice = counts.values().filter(|times| **times > 1).count();
    let how = if kill { "killed" } else { "stopped" };
    eprintln!("leader {how}: {} acknowledged, {twice} twice, {lost} lost", acknowledged.len());
    assert!(!acknowledged.is_empty());
    assert_eq!((twice, lost), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_without_a_local_time_out_write_once() {
    if std::env::var("KAFKA_TOWER_CHAOS").is_err() {
        eprintln!("outages of three brokers: not run; scripts/chaos runs them");
        return;
    }
    let Some(kafka) = Cluster::start(3).await.unwrap() else { return };
    for round in 0..OUTAGES {
        outage(&kafka, round % 2 == 1).await;
    }
}
