//! Records whose caller is dropped or gets a time-out: what the transport reports about them, and that late reports
//! arrive.
#![cfg(feature = "mock-cluster")]
#![allow(clippy::unwrap_used)] // a test may fail

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use kafka_tower_core::gate::Limits;
use kafka_tower_core::unanswered::{LateObserver, Unanswered, listen};
use kafka_tower_core::{ErrorKind, Persistence, Record};
use kafka_tower_rdkafka::{DeliveryFuture, MockCluster, RdkafkaBuilder, RdkafkaTransport};
use tower::{Service, ServiceExt};

const PATIENCE: Duration = Duration::from_secs(60);
const ROUND_TRIP: Duration = Duration::from_millis(1_500);

/// A cluster whose broker answers late, but only after connecting.
async fn slow(configure: impl FnOnce(RdkafkaBuilder) -> RdkafkaBuilder) -> (MockCluster, RdkafkaTransport) {
    let cluster = MockCluster::start(1).unwrap();
    cluster.create_topic("t", 1).unwrap();
    let builder = RdkafkaTransport::builder().property("bootstrap.servers", cluster.bootstrap()).topic("t");
    let mut transport = configure(builder).connect().await.unwrap();
    for isolated in [false, true] {
        call(&mut transport, isolated, None).await.await.unwrap();
    }
    cluster.set_round_trip(1, ROUND_TRIP).unwrap();
    (cluster, transport)
}

async fn call(transport: &mut RdkafkaTransport, isolated: bool, within: Option<Duration>) -> DeliveryFuture {
    let mut record = Record::new("t").with_partition(0).with_value("x");
    record.isolated = isolated;
    record.expires_at = within.map(|within| Instant::now() + within);
    transport.ready().await.unwrap().call(record)
}

struct Reports(Sender<bool>);

impl LateObserver for Reports {
    fn late_report(&self, delivered: bool) {
        self.0.send(delivered).unwrap();
    }
}

fn follow(unanswered: &Unanswered) -> Receiver<bool> {
    let (sender, reports) = channel();
    unanswered.subscribe(Arc::new(Reports(sender)));
    reports
}

#[tokio::test]
async fn a_time_out_says_how_long_the_client_had_the_record_and_the_report_comes_late() {
    let (_cluster, mut transport) = slow(|builder| builder).await;
    for isolated in [false, true] {
        let within = Duration::from_millis(300);
        let error = call(&mut transport, isolated, Some(within)).await.await.unwrap_err();
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::PossiblyPersisted));
        let unanswered = error.unanswered().unwrap();
        assert!(unanswered.handed_over_for().unwrap() >= within, "{unanswered:?}");
        assert!(unanswered.budget().unwrap() <= within, "{unanswered:?}");
        let reports = follow(unanswered);
        assert!(reports.recv_timeout(PATIENCE).unwrap(), "isolated: {isolated}");
        // An observer that asks later gets it at once.
        assert!(follow(unanswered).try_recv().unwrap());
    }
}

#[tokio::test]
async fn a_dropped_future_reports_the_same() {
    let (_cluster, mut transport) = slow(|builder| builder).await;
    for isolated in [false, true] {
        let begun = Instant::now();
        let future = call(&mut transport, isolated, Some(PATIENCE)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let least = begun.elapsed() / 2;
        let unanswered = listen(|| drop(future)).unwrap();
        assert!(unanswered.handed_over_for().unwrap() >= least, "{unanswered:?}");
        // The clock lags by at most 10 ms.
        assert!(unanswered.budget().unwrap() <= PATIENCE + Duration::from_millis(20), "{unanswered:?}");
        assert!(follow(&unanswered).recv_timeout(PATIENCE).unwrap(), "isolated: {isolated}");
    }
}

/// The time-out is in the slot, and the future was not polled.
#[tokio::test]
async fn an_unread_time_out_is_reported_by_the_drop() {
    let (_cluster, mut transport) = slow(|builder| builder).await;
    let unread = call(&mut transport, false, Some(Duration::from_millis(200))).await;
    call(&mut transport, false, Some(Duration::from_millis(300))).await.await.unwrap_err();
    let unanswered = listen(|| drop(unread)).unwrap();
    assert!(unanswered.handed_over_for().unwrap() >= Duration::from_millis(200), "{unanswered:?}");
    assert!(follow(&unanswered).recv_timeout(PATIENCE).unwrap());
}

/// The same for a delivery.
#[tokio::test]
async fn an_unread_delivery_is_reported_by_the_drop() {
    let (_cluster, mut transport) = slow(|builder| builder).await;
    let unread = call(&mut transport, false, Some(PATIENCE)).await;
    call(&mut transport, false, Some(PATIENCE)).await.await.unwrap();
    let unanswered = listen(|| drop(unread)).unwrap();
    assert!(follow(&unanswered).try_recv().unwrap());
}

#[tokio::test]
async fn a_parked_record_was_not_handed_over() {
    let (_cluster, mut transport) = slow(|builder| builder.limits(Limits { records: 1, bytes: 1_000 })).await;
    let mut handles: Vec<_> = (0..3).map(|_| transport.clone()).collect();
    for handle in &mut handles {
        handle.ready().await.unwrap();
    }
    let record =
        |within: Duration| Record::new("t").with_partition(0).with_value("x").with_expires_at(Instant::now() + within);
    let first = handles[0].call(record(PATIENCE));
    let parked = handles[1].call(record(Duration::from_millis(200)));
    let dropped = handles[2].call(record(PATIENCE));
    let unanswered = listen(|| drop(dropped)).unwrap();
    assert_eq!(unanswered.handed_over_for(), None);
    let reports = follow(&unanswered);

    let error = parked.await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::NotPersisted));
    assert_eq!(error.unanswered().unwrap().handed_over_for(), None);

    first.await.unwrap();
    assert!(reports.recv_timeout(PATIENCE).unwrap(), "it was handed over when there was room");
    let late = call(&mut transport, false, Some(Duration::ZERO)).await.await.unwrap_err();
    assert_eq!((late.persistence(), late.unanswered().unwrap().handed_over_for()), (Persistence::NotPersisted, None));
}
