//! Tests of the FFI layer with librdkafka's mock cluster. They also run under valgrind (`scripts/valgrind`).
#![allow(clippy::unwrap_used)] // a test may fail
#![cfg(feature = "mock-cluster")]

mod consumers;
mod ends;
mod panics;
mod stuck_clients;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::{ErrorKind, Headers, Persistence, Record, Scope, TransactionEnd};
use kafka_tower_rdkafka::{ClientError, ClientEvents, DeliveryFuture, MockCluster, RdkafkaBuilder, RdkafkaTransport};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tower::{Service, ServiceExt};

fn mock() -> (MockCluster, RdkafkaBuilder) {
    let cluster = MockCluster::start(1).unwrap();
    cluster.create_topic("t", 3).unwrap();
    let builder = RdkafkaTransport::builder().property("bootstrap.servers", cluster.bootstrap()).topic("t");
    (cluster, builder.connect_timeout(PATIENCE))
}

fn record(value: impl Into<bytes::Bytes>) -> Record {
    Record::new("t").with_partition(0).with_value(value)
}

async fn call(transport: &mut RdkafkaTransport, record: Record) -> DeliveryFuture {
    transport.ready().await.unwrap().call(record)
}

#[tokio::test]
async fn records_are_delivered_in_call_order() {
    let (_cluster, builder) = mock();
    let mut transport = builder.connect().await.unwrap();
    assert_eq!(transport.control().partition_count("t"), Some(3));
    let mut headers = Headers::new();
    headers.push("a", "1");
    headers.push("empty", "");
    headers.push_null("null");
    let mut futures = vec![call(&mut transport, record("").with_headers(headers).with_key("k")).await];
    futures.push(call(&mut transport, Record::new("t").with_partition(0)).await);
    for i in 0..100 {
        futures.push(call(&mut transport, record(format!("value {i}"))).await);
    }
    let offsets: Vec<_> = join_all(futures).await.into_iter().map(|d| d.unwrap().offset.unwrap()).collect();
    assert_eq!(offsets, (0..102).collect::<Vec<_>>());
}

#[tokio::test]
async fn codes_that_kafka_does_not_have_are_typed_errors() {
    let (cluster, builder) = mock();
    let mut transport = builder.connect().await.unwrap();
    for code in [120, 131, 200, 32_767, 87] {
        cluster.fail_produce(&[code]);
        let error = call(&mut transport, record("x")).await.await.unwrap_err();
        if code == 87 {
            assert_eq!((error.kind(), error.scope()), (ErrorKind::Rejected, Scope::Batch));
            assert_eq!(error.persistence(), Persistence::NotPersisted);
        } else {
            assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{code}");
            assert!(!error.message().is_empty());
        }
    }
    assert!(call(&mut transport, record("fine")).await.await.is_ok(), "the transport goes on");
}

#[tokio::test]
async fn an_isolated_record_is_alone_and_its_error_has_its_own_scope() {
    let (cluster, builder) = mock();
    let mut transport = builder.connect().await.unwrap();
    let mut alone = record("alone");
    alone.isolated = true;
    cluster.fail_produce(&[87]);
    let error = call(&mut transport, alone.clone()).await.await.unwrap_err();
    assert_eq!((error.kind(), error.scope()), (ErrorKind::Rejected, Scope::Record));
    assert!(call(&mut transport, alone).await.await.is_ok());
    let report = transport.control().close(Duration::from_secs(5)).await.unwrap();
    assert!(report.is_complete(), "{report}");
}

/// Maximum wait for an event that must come, also under valgrind.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_time_out_names_its_cause_and_later_the_report_gives_the_room_back() {
    let (cluster, builder) = mock();
    let mut transport = builder.limits(Limits { records: 1, bytes: 1_000 }).connect().await.unwrap();
    cluster.broker_down(1).unwrap();
    let soon = || Instant::now() + Duration::from_millis(300);
    let handed_over = call(&mut transport, record("a").with_expires_at(soon())).await;
    let parked = transport.clone().call(record("b").with_expires_at(soon()));
    let error = handed_over.await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::PossiblyPersisted));
    assert!(error.message().contains("last broker error"), "{error}");
    let error = parked.await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::NotPersisted));
    assert_eq!(transport.control().in_flight().records, 1, "the room is held until the report");
    cluster.broker_up(1).unwrap();
    assert!(call(&mut transport, record("c")).await.await.unwrap().offset == Some(1), "b was withdrawn");
    transport.control().flush().await.unwrap();
    assert_eq!(transport.control().in_flight().records, 0);
}

#[tokio::test]
async fn a_flush_does_not_wait_for_linger() {
    let (_cluster, builder) = mock();
    let mut transport = builder.property("linger.ms", "2000").connect().await.unwrap();
    let futures = [call(&mut transport, record("a")).await, call(&mut transport, record("b")).await];
    transport.control().flush().await.unwrap();
    assert_eq!(transport.control().in_flight().records, 0);
    assert!(join_all(futures).await.iter().all(Result::is_ok));
}

type Last = Arc<Mutex<Option<RdkafkaTransport>>>;

#[tokio::test]
async fn a_fatal_error_is_typed_and_names_itself() {
    let (cluster, builder) = mock();
    // The producer has to stop at a gap, so it is not replaced.
    let mut transport = builder.property("enable.gapless.guarantee", "true").connect().await.unwrap();
    cluster.fail_produce(&[45]);
    let error = call(&mut transport, record("x")).await.await.unwrap_err();
    assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error}");
    let error = call(&mut transport, record("y")).await.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
    assert_eq!(error.persistence(), Persistence::NotPersisted, "{error}");
}

#[tokio::test]
async fn a_producer_that_has_ended_is_replaced() {
    let (cluster, builder) = mock();
    let mut transport = builder.connect().await.unwrap();
    cluster.fail_produce(&[45]);
    let error = call(&mut transport, record("x")).await.await.unwrap_err();
    assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error}");
    let later = [call(&mut transport, record("y")).await, call(&mut transport, record("z")).await];
    assert!(join_all(later).await.iter().all(Result::is_ok));
    assert_eq!(transport.control().generation(), 1);
}

#[tokio::test]
async fn the_number_of_partitions_is_learned_while_records_are_sent() {
    let (_cluster, builder) = mock();
    let mut transport = builder
        .connect_check(false)
        .records_per_partition("t", 7)
        .limits(Limits { records: 7, bytes: 1_000 })
        .connect()
        .await
        .unwrap();
    let control = transport.control();
    assert_eq!(control.partition_count("t"), None);
    let end = Instant::now() + PATIENCE;
    while control.partition_count("t").is_none() && Instant::now() < end {
        drop(call(&mut transport, record("x")).await.await);
    }
    assert_eq!(control.partition_count("t"), Some(3));
    while transport.limits().records != 21 && Instant::now() < end {
        // No event reports it.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(transport.limits().records, 21);
}

/// Look-ups run on threads of their own, which may outlive the last handle until they have an answer. With one test thread
/// this test is the last one, so that memcheck takes nothing of theirs for a leak.
#[cfg(target_os = "linux")]
#[test]
fn zz_all_threads_end_by_themselves() {
    let names = || -> Vec<String> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with("kafka-tower") || name.starts_with("rdk:")).collect()
    };
    // Other tests may still run, and a look-up that gets no answer takes its time-out.
    let end = Instant::now() + 2 * PATIENCE;
    while !names().is_empty() {
        assert!(Instant::now() < end, "{:?}", names());
        // No event reports the end of a thread that nobody joins.
        std::thread::sleep(Duration::from_millis(10));
    }
}
