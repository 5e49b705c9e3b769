//! Distant brokers, brokers that start late, and brokers that do not answer: connecting, the number of partitions,
//! `preflight` and closing.
//!
//! No test here starts a process: see [`MockCluster::broker_down`].
#![allow(clippy::unwrap_used)] // a test may fail

use std::time::{Duration, Instant};

use kafka_tower::layers::partition::PartitionStrategy;
use kafka_tower::rdkafka::{MockCluster, RdkafkaTransport};
use kafka_tower::{ErrorKind, KafkaSink, KafkaSinkConfig, preflight};

fn away(round_trip: Duration) -> (MockCluster, KafkaSinkConfig) {
    let mock = MockCluster::start(1).unwrap();
    mock.create_topic("t", 3).unwrap();
    mock.set_round_trip(1, round_trip).unwrap();
    let config = KafkaSinkConfig { brokers: mock.bootstrap().into(), topic: "t".into(), ..Default::default() };
    (mock, config)
}

/// Has no time-out of its own, because the machine may be busy.
async fn until<R>(mut ask: impl FnMut() -> Option<R>) -> R {
    loop {
        match ask() {
            Some(answer) => return answer,
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connects(round_trip: Duration, connect_timeout_ms: u64) -> (MockCluster, KafkaSinkConfig, KafkaSink<u32>) {
    let (mock, config) = away(round_trip);
    let config = KafkaSinkConfig { connect_timeout_ms, ..config };
    let sink = KafkaSink::<u32>::new(config.clone()).await.unwrap_or_else(|e| panic!("{round_trip:?}: {e:#}"));
    assert_eq!(sink.control().partition_count("t"), Some(3), "{round_trip:?}: connecting has looked");
    (mock, config, sink)
}

async fn works(round_trip: Duration) {
    let (_mock, config, sink) = connects(round_trip, 10_000).await;
    let sink = sink.with_partition_strategy(PartitionStrategy::RoundRobin);
    let mut partitions = Vec::new();
    for sent in sink.send_batch([0, 1, 2]).await.unwrap() {
        partitions.push(sent.unwrap().partition);
    }
    partitions.sort_unstable();
    assert_eq!(partitions, [0, 1, 2], "{round_trip:?}");
    sink.close().await.unwrap();

    let report = preflight(&config).await;
    assert!(report.passed(), "{round_trip:?}: {report}");
}

#[tokio::test]
async fn connecting_to_a_distant_broker_succeeds() {
    let second = Duration::from_secs(1);
    // With 3 s, three round trips and the machine's own time may exceed the default of 10 s: such a user sets more.
    tokio::join!(works(second * 3 / 10), works(second), connects(second * 3, 20_000));
}

#[tokio::test]
async fn the_number_of_partitions_becomes_known_without_the_check() {
    let (_mock, config) = away(Duration::from_millis(400));
    let sink = KafkaSink::<u32>::builder(config).connect_check(false).build().await.unwrap();
    let control = sink.control();
    assert_eq!(until(|| control.partition_count("t")).await, 3);
    sink.close().await.unwrap();
}

#[tokio::test]
async fn a_transactional_id_works_with_a_distant_broker() {
    let (_mock, config) = away(Duration::from_millis(700));
    let transactional = KafkaSinkConfig::exactly_once(config.brokers, "t", "id");
    let sink = KafkaSink::<u32>::new(transactional).await.unwrap();
    sink.begin_transaction().await.unwrap();
    sink.send(1).await.unwrap();
    sink.commit_transaction().await.unwrap();
    sink.close().await.unwrap();
}

/// The client uses all of the time to connect, not only three quarters of it, and retries often enough.
#[tokio::test]
async fn connecting_to_a_broker_that_comes_up_late_succeeds() {
    let (mock, config) = away(Duration::ZERO);
    mock.broker_down(1).unwrap();
    let connect = KafkaSink::<u32>::builder(config).connect_timeout(Duration::from_secs(8)).build();
    let up = async {
        tokio::time::sleep(Duration::from_millis(6_200)).await;
        mock.broker_up(1).unwrap();
    };
    let (connected, ()) = tokio::join!(connect, up);
    connected.unwrap_or_else(|error| panic!("{error:#}"));
}

#[tokio::test]
async fn the_connect_timeout_does_not_depend_on_the_send_timeout() {
    let config = KafkaSinkConfig { topic: "t".into(), brokers: "127.0.0.1:1".into(), ..Default::default() };
    let config = KafkaSinkConfig { send_timeout_ms: 1, connect_timeout_ms: 1_200, ..config };
    let begun = Instant::now();
    let error = KafkaSink::<u32>::new(config.clone()).await.unwrap_err();
    assert!(begun.elapsed() >= Duration::from_millis(1_200));
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:#}");
    assert!(error.message().contains("within 1.2 s"), "{error}");
    let report = preflight(&config).await;
    assert!(report.error.unwrap().message().contains("within 1.2 s"));
}

/// A pending request must not delay `close` or a dropped `connect`: it would take librdkafka's 60 s.
#[tokio::test]
async fn close_and_a_dropped_connect_do_not_wait_for_a_pending_request() {
    let (_mock, config) = away(Duration::from_secs(100));
    let quick = Duration::from_secs(20);
    let begun = Instant::now();
    let sink = KafkaSink::<u32>::builder(config.clone()).connect_check(false).build().await.unwrap();
    assert_eq!(sink.control().partition_count("t"), None);
    // The look-up is in flight.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    sink.close().await.unwrap();
    drop(sink);
    let transport = RdkafkaTransport::builder().property("bootstrap.servers", &config.brokers).topic("t");
    let connect = transport.connect_timeout(Duration::from_secs(3_600)).connect();
    assert!(tokio::time::timeout(Duration::from_millis(800), connect).await.is_err());
    assert!(begun.elapsed() < quick, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_leader_that_is_away_is_a_problem() {
    let mock = MockCluster::start(2).unwrap();
    mock.create_topic("orders", 4).unwrap();
    let first = mock.bootstrap().split(',').next().unwrap().to_owned();
    let config = KafkaSinkConfig { brokers: first, topic: "orders".into(), ..Default::default() };
    mock.broker_down(2).unwrap();
    let report = preflight(&config).await;
    assert!(report.inspection.is_some() && !report.passed(), "{report}");
    let problem = "broker 2 leads partitions 1, 3 but is not in the cluster now: check its health";
    assert_eq!(report.problems, [problem], "{report}");
}
