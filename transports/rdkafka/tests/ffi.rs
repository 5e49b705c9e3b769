//! Tests of the FFI layer with librdkafka's mock cluster. They also run under valgrind (`scripts/valgrind`).
#![allow(clippy::unwrap_used)] // a test may fail
#![cfg(feature = "mock-cluster")]

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
async fn an_isolated_record_is_alone_and_says_so() {
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

struct Panics(UnboundedSender<&'static str>);

impl ClientEvents for Panics {
    fn error(&self, _: &ClientError<'_>) {
        self.0.send("error").unwrap();
        panic!("planted");
    }

    fn statistics(&self, json: &str) {
        assert!(json.starts_with('{'));
        self.0.send("statistics").unwrap();
        panic!("planted");
    }
}

#[tokio::test]
async fn a_panic_in_a_callback_stops_nothing() {
    let (sender, mut calls) = unbounded_channel();
    let (cluster, builder) = mock();
    let mut transport =
        builder.property("statistics.interval.ms", "10").events(Panics(sender)).connect().await.unwrap();
    cluster.broker_down(1).unwrap();
    let open = call(&mut transport, record("x")).await;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        seen.extend(tokio::time::timeout(PATIENCE, calls.recv()).await.expect("both callbacks are called"));
    }
    cluster.broker_up(1).unwrap();
    assert!(open.await.is_ok());
}

#[tokio::test]
async fn a_panic_in_a_waker_stops_nothing() {
    struct Bomb;
    impl std::task::Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("planted");
        }
    }
    let (_cluster, builder) = mock();
    let mut transport = builder.property("linger.ms", "50").connect().await.unwrap();
    let mut first = call(&mut transport, record("x")).await;
    let second = call(&mut transport, record("y")).await;
    let waker = Arc::new(Bomb).into();
    assert!(std::pin::Pin::new(&mut first).poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    assert!(second.await.is_ok());
    assert!(first.await.is_ok());
}

#[tokio::test]
async fn a_drop_with_records_outstanding_neither_hangs_nor_lies() {
    let (cluster, builder) = mock();
    let mut transport = builder.connect().await.unwrap();
    cluster.broker_down(1).unwrap();
    let mut futures = Vec::new();
    for i in 0..1_000 {
        let deadline = Instant::now() + Duration::from_millis(300);
        futures.push(call(&mut transport, record(i.to_string()).with_expires_at(deadline)).await);
    }
    drop(transport);
    // Futures that are awaited keep the producer alive until they have an answer.
    drop(futures.split_off(500));
    for outcome in join_all(futures).await {
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::PossiblyPersisted));
    }
}

#[tokio::test]
async fn oneshot_on_the_last_handle_delivers() {
    let (_cluster, builder) = mock();
    let delivery = builder.connect().await.unwrap().oneshot(record("x")).await.unwrap();
    assert_eq!(delivery.offset, Some(0));
}

#[tokio::test]
async fn close_hands_back_what_was_not_delivered() {
    let (cluster, builder) = mock();
    let mut transport = builder.limits(Limits { records: 5, bytes: 1_000 }).connect().await.unwrap();
    cluster.broker_down(1).unwrap();
    let mut handles: Vec<_> = (0..8).map(|_| transport.clone()).collect();
    let mut futures = Vec::new();
    for (i, handle) in handles.iter_mut().enumerate() {
        // Called without readiness: the last three are parked.
        futures.push(handle.call(record(format!("v{i}"))));
    }
    let control = transport.control();
    assert_eq!((control.in_flight().records, control.in_flight().parked), (5, 3));
    let report = control.close(Duration::from_millis(200)).await.unwrap();
    assert_eq!((report.delivered, report.failed + report.unknown), (0, 8), "{report}");
    let mut values: Vec<_> = report.undelivered.iter().map(|u| u.record.value.clone().unwrap()).collect();
    values.sort();
    assert_eq!(values, ["v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7"]);
    for outcome in join_all(futures).await {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Closed);
    }
    let late = transport.ready().await.unwrap().call(record("late")).await.unwrap_err();
    assert_eq!((late.kind(), late.persistence()), (ErrorKind::Closed, Persistence::NotPersisted));
    assert!(control.close(Duration::from_secs(1)).await.unwrap().undelivered.is_empty());
}

/// librdkafka's mock cluster has coordinators, but no control records.
#[tokio::test]
async fn an_open_transaction_costs_a_close_and_a_drop_no_more_than_their_time() {
    for (reachable, dropped) in [(true, false), (false, false), (true, true), (false, true)] {
        let (cluster, builder) = mock();
        let mut transport = builder.property("transactional.id", "id").connect().await.unwrap();
        let control = transport.control();
        let transactions = control.transactions().unwrap();
        transactions.init(Duration::from_secs(20)).await.unwrap();
        transactions.begin().await.unwrap();
        call(&mut transport, record("a")).await.await.unwrap();
        if !reachable {
            cluster.broker_down(1).unwrap();
        }
        let begun = Instant::now();
        if dropped {
            drop(control);
            drop(transport);
            // The bound is 3 s; the rest allows for a slow machine.
            assert!(reachable || begun.elapsed() >= Duration::from_secs(2), "it did not try to abort");
            assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
            continue;
        }
        let report = control.close(Duration::from_secs(1)).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        match &report.transaction {
            Some(TransactionEnd::Aborted) if reachable => assert!(report.is_complete(), "{report}"),
            Some(TransactionEnd::Unknown(_)) if !reachable => assert!(!report.is_complete(), "{report}"),
            end => panic!("reachable: {reachable}: {end:?}"),
        }
        let error = transactions.begin().await.unwrap_err();
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Closed, Persistence::NotPersisted));
    }
}

/// Records in flight when their transaction is aborted are reported as aborted.
#[tokio::test]
async fn a_close_reports_the_records_of_the_transaction_that_it_aborts() {
    let (_cluster, builder) = mock();
    let builder = builder.property("transactional.id", "id").property("linger.ms", "2000");
    let mut transport = builder.connect().await.unwrap();
    let control = transport.control();
    let transactions = control.transactions().unwrap();
    transactions.init(Duration::from_secs(20)).await.unwrap();
    transactions.begin().await.unwrap();
    let lingers = call(&mut transport, record("a")).await;
    let report = control.close(Duration::from_secs(20)).await.unwrap();
    assert!(matches!(report.transaction, Some(TransactionEnd::Aborted)), "{report}");
    // On a machine that stalls for 2 s the record was sent before.
    assert_eq!(report.delivered + report.failed + report.unknown, 1, "{report}");
    if let Err(error) = lingers.await {
        assert_eq!(error.kind(), ErrorKind::Transaction, "{error:#}");
        assert_eq!(report.undelivered.len(), 1, "{report}");
    }
}

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

struct DropsTheLast(Last, UnboundedSender<&'static str>);

impl ClientEvents for DropsTheLast {
    fn statistics(&self, _: &str) {
        if self.0.lock().unwrap().take().is_some() {
            self.1.send("dropped").unwrap();
        }
    }
}

impl Drop for DropsTheLast {
    fn drop(&mut self) {
        self.1.send("the loop has ended").unwrap();
    }
}

#[tokio::test]
async fn the_last_handle_may_go_on_the_event_loop_itself() {
    let last = Last::default();
    let (sender, mut happened) = unbounded_channel();
    let (_cluster, builder) = mock();
    let events = DropsTheLast(Arc::clone(&last), sender);
    let mut transport = builder.property("statistics.interval.ms", "10").events(events).connect().await.unwrap();
    drop(call(&mut transport, record("dropped")).await);
    *last.lock().unwrap() = Some(transport);
    for expected in ["dropped", "the loop has ended"] {
        let next = tokio::time::timeout(PATIENCE, happened.recv()).await;
        assert_eq!(next.expect("it goes on"), Some(expected));
    }
}

#[tokio::test]
async fn a_fatal_error_is_typed_and_names_itself() {
    let (cluster, builder) = mock();
    let mut transport = builder.connect().await.unwrap();
    cluster.fail_produce(&[45]);
    let error = call(&mut transport, record("x")).await.await.unwrap_err();
    assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error}");
    let error = call(&mut transport, record("y")).await.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
    assert_eq!(error.persistence(), Persistence::NotPersisted, "{error}");
}

#[tokio::test]
async fn a_record_without_an_answer_for_too_long_is_given_up() {
    let (cluster, builder) = mock();
    let bound = Duration::from_millis(300);
    let mut transport =
        builder.delivery_bound(bound).limits(Limits { records: 2, bytes: 1_000 }).connect().await.unwrap();
    cluster.broker_down(1).unwrap();
    let begun = Instant::now();
    let without_deadline = call(&mut transport, record("a")).await;
    let with_deadline = call(&mut transport, record("b").with_expires_at(Instant::now() + bound / 3)).await;
    // Due before the first record; otherwise it gets the room of records that are given up, and a bound of its own.
    let parked = transport.clone().call(record("c").with_expires_at(begun + bound / 2));
    let told = with_deadline.await.unwrap_err();
    assert_eq!((told.kind(), told.persistence()), (ErrorKind::Timeout, Persistence::PossiblyPersisted), "{told}");
    assert!(!told.message().contains("given up"), "{told}");
    let error = without_deadline.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.message().contains("no answer within 300 ms"), "{error}");
    let error = parked.await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::NotPersisted), "{error}");
    transport.control().flush().await.unwrap();
    cluster.broker_up(1).unwrap();
    // The bound is short compared to the backoff of a reconnect: some more records may be given up first.
    let end = Instant::now() + PATIENCE;
    while let Err(error) = call(&mut transport, record("d")).await.await {
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(Instant::now() < end, "the producer goes on: {error}");
    }
}

/// One partition has lost its leader, and the other broker answers: the client is replaced, and records in flight to
/// another topic are not given up with it.
#[tokio::test]
async fn a_client_without_an_answer_for_too_long_is_replaced_where_brokers_answer() {
    let cluster = MockCluster::start(2).unwrap();
    // The brokers lead partitions in turn.
    cluster.create_topic("t", 2).unwrap();
    cluster.create_topic("other", 2).unwrap();
    let mut transport = RdkafkaTransport::builder()
        .property("bootstrap.servers", cluster.bootstrap())
        .property("linger.ms", "60000")
        .property("topic.metadata.refresh.interval.ms", "100")
        .topic("t")
        .connect_timeout(PATIENCE)
        .delivery_bound(Duration::from_secs(1))
        .connect()
        .await
        .unwrap();
    let to = |topic: &str, partition| Record::new(topic).with_partition(partition).with_value("x");
    // All brokers and all leaders are known.
    for partition in [0, 1] {
        let sent = call(&mut transport, to("t", partition)).await;
        transport.control().flush().await.unwrap();
        sent.await.unwrap();
    }
    cluster.broker_down(2).unwrap();
    let stuck = [call(&mut transport, to("t", 0)).await, call(&mut transport, to("t", 1)).await];
    // Half of the bound later: these are not overdue when the first ones are.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let others = [call(&mut transport, to("other", 0)).await, call(&mut transport, to("other", 1)).await];
    let failed: Vec<_> = join_all(stuck).await.into_iter().filter_map(Result::err).collect();
    assert_eq!(failed.len(), 1, "the one on the broker that is gone: {failed:?}");
    for error in failed {
        assert_eq!(
            (error.kind(), error.persistence()),
            (ErrorKind::Timeout, Persistence::PossiblyPersisted),
            "{error}"
        );
        assert!(error.message().contains("no answer within 1 s"), "{error}");
    }
    assert_eq!(transport.control().generation(), 1);
    let delivered = join_all(others).await.into_iter().filter(Result::is_ok).count();
    assert!(delivered >= 1, "the one on the broker that answers");
    cluster.broker_up(2).unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        let sent = [call(&mut transport, to("t", 0)).await, call(&mut transport, to("t", 1)).await];
        transport.control().flush().await.unwrap();
        if join_all(sent).await.iter().all(Result::is_ok) {
            return;
        }
        assert!(Instant::now() < end, "the new one goes on");
    }
}

#[tokio::test]
async fn the_number_of_partitions_is_learned_beside_the_records() {
    let (_cluster, builder) = mock();
    let mut transport = builder
        .without_connect_check()
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
