//! Regression tests of edge cases: lost reports, deadlocks and wrong outcomes.
#![cfg(feature = "mock-cluster")]
#![allow(clippy::unwrap_used)] // a test may fail

use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_tower_core::{ErrorKind, Persistence, Record, Recovery};
use kafka_tower_rdkafka::{DeliveryFuture, MockCluster, RdkafkaBuilder, RdkafkaTransport};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tower::{Service, ServiceExt};

const PATIENCE: Duration = Duration::from_secs(60);

fn mock() -> (MockCluster, RdkafkaBuilder) {
    let cluster = MockCluster::start(1).unwrap();
    cluster.create_topic("t", 3).unwrap();
    let builder = RdkafkaTransport::builder().property("bootstrap.servers", cluster.bootstrap()).topic("t");
    (cluster, builder)
}

fn record(value: impl Into<bytes::Bytes>) -> Record {
    Record::new("t").with_partition(0).with_value(value)
}

fn isolated() -> Record {
    let mut record = record("alone");
    record.isolated = true;
    record
}

async fn call(transport: &mut RdkafkaTransport, record: Record) -> DeliveryFuture {
    transport.ready().await.unwrap().call(record)
}

/// A call that was admitted before the close may hand its record over after the purge.
#[tokio::test]
async fn a_close_reports_records_that_are_handed_over_while_it_gives_up() {
    const THREADS: usize = 3;
    for round in 0..20 {
        let (cluster, builder) = mock();
        let transport = builder.connect().await.unwrap();
        cluster.broker_down(1).unwrap();
        let control = transport.control();
        let go = Arc::new(Barrier::new(THREADS + 1));
        let callers: Vec<_> = (0..THREADS)
            .map(|_| {
                let (mut transport, go) = (transport.clone(), Arc::clone(&go));
                thread::spawn(move || {
                    go.wait();
                    (0..2_000).map(|_| transport.call(record(vec![1; 100]))).collect::<Vec<_>>()
                })
            })
            .collect();
        drop(transport);
        go.wait();
        thread::sleep(Duration::from_micros(50 * round));
        let report = control.close(Duration::ZERO).await.unwrap();
        let mut taken = 0;
        for future in callers.into_iter().flat_map(|caller| caller.join().unwrap()) {
            let error = tokio::time::timeout(PATIENCE, future).await.expect("an answer").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
            taken += u64::from(!error.message().starts_with("not sent"));
        }
        assert_eq!(report.delivered + report.failed + report.unknown, taken, "round {round}: {report}");
        assert_eq!(report.undelivered.len() as u64, taken, "round {round}");
        assert_eq!(control.in_flight(), kafka_tower_core::InFlight::default(), "round {round}");
    }
}

/// Waker that drops the last handle, and reports which thread did so.
struct Holds(Mutex<Option<(RdkafkaTransport, DeliveryFuture)>>, UnboundedSender<Option<thread::ThreadId>>);

impl Wake for Holds {
    fn wake(self: Arc<Self>) {
        let held = self.0.lock().unwrap().take();
        self.1.send(held.is_some().then(|| thread::current().id())).unwrap();
        drop(held);
        self.1.send(None).unwrap();
    }
}

/// The event loop of the second producer must not wait for the first one's end, which waits for it.
#[tokio::test]
async fn the_last_handle_may_go_on_the_second_event_loop() {
    let (cluster, builder) = mock();
    let mut transport = builder.connect().await.unwrap();
    // No answer arrives before the waker holds the handle.
    cluster.broker_down(1).unwrap();
    let mut future = call(&mut transport, isolated()).await;
    let (sender, mut gone) = unbounded_channel();
    let holds = Arc::new(Holds(Mutex::default(), sender));
    let waker = Waker::from(Arc::clone(&holds));
    assert!(std::pin::Pin::new(&mut future).poll(&mut Context::from_waker(&waker)).is_pending());
    *holds.0.lock().unwrap() = Some((transport, future));
    cluster.broker_up(1).unwrap();
    let on = tokio::time::timeout(PATIENCE, gone.recv()).await.expect("an answer").unwrap();
    assert_ne!(on.expect("it holds the last handle"), thread::current().id());
    tokio::time::timeout(PATIENCE, gone.recv()).await.expect("no deadlock").unwrap();
}

#[tokio::test]
async fn a_second_producer_that_has_ended_is_replaced() {
    let (cluster, builder) = mock();
    let mut transport = builder.connect().await.unwrap();
    call(&mut transport, isolated()).await.await.unwrap();
    cluster.fail_produce(&[45; 5]);
    cluster.set_round_trip(1, Duration::from_millis(200)).unwrap();
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(call(&mut transport, isolated()).await);
    }
    // The first one ends it. The others were refused for the gap, and are given up with it.
    for error in join_all(sent).await.into_iter().map(Result::unwrap_err) {
        let facts = (error.kind(), error.recovery(), error.persistence());
        assert_eq!(facts, (ErrorKind::Broker, Recovery::Retry, Persistence::PossiblyPersisted), "{error:#}");
        assert!(error.message().contains("its producer ended and is replaced"), "{error:#}");
    }
    // The error event that retires it may come after the report.
    let end = std::time::Instant::now() + PATIENCE;
    let mut outcome = call(&mut transport, isolated()).await.await;
    while outcome.is_err() && std::time::Instant::now() < end {
        outcome = call(&mut transport, isolated()).await.await;
    }
    outcome.unwrap();
    call(&mut transport, record("main")).await.await.unwrap();
}

/// Each one costs threads and connections.
#[tokio::test]
async fn a_second_producer_that_ends_again_and_again_is_replaced_less_and_less_often() {
    let (cluster, builder) = mock();
    let mut transport = builder.connect().await.unwrap();
    cluster.fail_produce(&[45; 3]);
    let start = std::time::Instant::now();
    let mut ended = 0;
    while let Err(error) = call(&mut transport, isolated()).await.await {
        assert!(start.elapsed() < PATIENCE, "{error:#}");
        assert_eq!((error.kind(), error.recovery()), (ErrorKind::Broker, Recovery::Retry), "{error:#}");
        ended += u32::from(error.persistence() == Persistence::PossiblyPersisted);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(ended, 3);
    assert!(start.elapsed() >= Duration::from_secs(1 + 2), "before the last two");
}

#[tokio::test]
async fn unbounded_times_do_not_panic() {
    let (_cluster, builder) = mock();
    let builder = builder.delivery_bound(Duration::MAX).connect_timeout(Duration::MAX);
    let mut transport = builder.connect().await.unwrap();
    call(&mut transport, record("x")).await.await.unwrap();
    assert!(transport.control().close(Duration::MAX).await.unwrap().is_complete());
}

/// Two requests are in flight. The broker refuses the first one, as the leader of a new topic does for a moment, and takes the
/// second. librdkafka then reports the first record as written.
#[tokio::test]
async fn a_record_is_not_delivered_because_a_later_one_is() {
    let (cluster, builder) = mock();
    let mut transport = builder.property("batch.num.messages", "1").connect().await.unwrap();
    cluster.set_round_trip(1, Duration::from_millis(300)).unwrap();
    cluster.fail_produce(&[3]);
    let sent = [call(&mut transport, record("refused")).await, call(&mut transport, record("taken")).await];
    let [refused, taken] = join_all(sent).await.try_into().unwrap();
    assert_eq!(taken.unwrap().offset, Some(0));
    let error = refused.unwrap_err();
    let facts = (error.kind(), error.recovery(), error.persistence());
    assert_eq!(facts, (ErrorKind::Broker, Recovery::Retry, Persistence::NotPersisted), "{error:#}");
    assert!(error.message().contains("acknowledged a later record"), "{error:#}");
}
