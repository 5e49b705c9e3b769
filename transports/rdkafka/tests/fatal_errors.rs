//! A producer without transactions that ends by a fatal error is replaced behind its handles. On librdkafka's mock
//! cluster; tests/suite has the same on a real Kafka.
#![cfg(feature = "mock-cluster")]
#![allow(clippy::unwrap_used)] // a test may fail

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Delivery, Error, ErrorKind, InFlight, Persistence, Record, Recovery, Result};
use kafka_tower_rdkafka::{DeliveryFuture, MockCluster, RdkafkaBuilder, RdkafkaTransport};
use tower::{Service, ServiceExt};

const PATIENCE: Duration = Duration::from_secs(60);
/// `OUT_OF_ORDER_SEQUENCE_NUMBER`: at the first batch in flight it ends the producer.
const OUT_OF_ORDER: i32 = 45;
/// `UNKNOWN_PRODUCER_ID`.
const UNKNOWN_PRODUCER: i32 = 59;
/// `REQUEST_TIMED_OUT`.
const TIMED_OUT: i32 = 7;
/// `NOT_LEADER_OR_FOLLOWER`.
const NOT_LEADER: i32 = 6;
/// `CLUSTER_AUTHORIZATION_FAILED`.
const DENIED: i32 = 31;
const INIT_PRODUCER_ID: i16 = 22;

fn mock() -> (MockCluster, RdkafkaBuilder) {
    let cluster = MockCluster::start(1).unwrap();
    cluster.create_topic("t", 3).unwrap();
    let builder = RdkafkaTransport::builder()
        .property("bootstrap.servers", cluster.bootstrap())
        .property("linger.ms", "0")
        .connect_timeout(PATIENCE)
        .topic("t");
    (cluster, builder)
}

fn record(partition: i32) -> Record {
    Record::new("t").with_partition(partition).with_value("value").with_expires_at(Instant::now() + PATIENCE)
}

async fn call(transport: &mut RdkafkaTransport, record: Record) -> DeliveryFuture {
    transport.ready().await.unwrap().call(record)
}

async fn send(transport: &mut RdkafkaTransport) -> Result<Delivery> {
    call(transport, record(0)).await.await
}

fn assert_in_doubt(error: &Error) {
    assert_eq!(
        (error.kind(), error.recovery(), error.persistence()),
        (ErrorKind::Broker, Recovery::Retry, Persistence::PossiblyPersisted),
        "{error:#}"
    );
    assert_eq!(error.error_type(), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    kafka_tower_test_texts::assert_consistent(error);
}

/// Five requests are in flight. The first one ends the producer; the broker refuses those behind it for the gap.
#[tokio::test]
async fn a_producer_that_has_ended_is_replaced_and_the_other_records_are_delivered_in_order() {
    let (cluster, builder) = mock();
    let mut transport = builder.property("batch.num.messages", "1").connect().await.unwrap();
    send(&mut transport).await.unwrap();
    cluster.fail_produce(&[OUT_OF_ORDER; 5]);
    // The answers take a while, so that the records are called before them.
    cluster.set_round_trip(1, Duration::from_millis(200)).unwrap();
    let mut sent = Vec::new();
    for _ in 0..30 {
        sent.push(call(&mut transport, record(0)).await);
    }
    let mut outcomes = join_all(sent).await.into_iter();
    assert_in_doubt(&outcomes.next().unwrap().unwrap_err());
    let offsets: Vec<_> =
        outcomes.map(|outcome| outcome.unwrap_or_else(|error| panic!("{error:#}")).offset.unwrap()).collect();
    assert_eq!(offsets, (1..30).collect::<Vec<_>>(), "in the order of their calls, each once");
    let control = transport.control();
    assert_eq!(control.generation(), 1);
    let report = control.close(PATIENCE).await.unwrap();
    assert!(report.is_complete(), "{report}");
    assert_eq!(control.in_flight(), InFlight::default());
}

/// librdkafka goes on by itself, unless the batch was tried before.
#[tokio::test]
async fn a_broker_that_forgot_the_producer_of_a_retried_batch_ends_it() {
    let (cluster, builder) = mock();
    let mut transport = builder.property("retry.backoff.ms", "1").connect().await.unwrap();
    send(&mut transport).await.unwrap();
    cluster.fail_produce(&[UNKNOWN_PRODUCER]);
    send(&mut transport).await.unwrap();
    assert_eq!(transport.control().generation(), 0);
    cluster.fail_produce(&[TIMED_OUT, UNKNOWN_PRODUCER]);
    let error = send(&mut transport).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Broker, Persistence::PossiblyPersisted), "{error:#}");
    send(&mut transport).await.unwrap();
    assert_eq!(transport.control().generation(), 1);
}

/// The negative control.
#[tokio::test]
async fn without_a_replacement_the_producer_has_ended_for_good() {
    let (cluster, builder) = mock();
    let mut transport = builder.replace_after_fatal_error(false).connect().await.unwrap();
    cluster.fail_produce(&[OUT_OF_ORDER]);
    assert_eq!(send(&mut transport).await.unwrap_err().kind(), ErrorKind::Fatal);
    for _ in 0..3 {
        let error = send(&mut transport).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.persistence(), error.recovery()),
            (ErrorKind::Fatal, Persistence::NotPersisted, Recovery::Fatal),
            "{error:#}"
        );
    }
    assert_eq!(transport.control().generation(), 0);
}

/// `enable.gapless.guarantee` says so.
#[tokio::test]
async fn a_producer_that_must_stop_at_a_gap_is_not_replaced() {
    let (cluster, builder) = mock();
    let mut transport = builder.property("enable.gapless.guarantee", "true").connect().await.unwrap();
    cluster.fail_produce(&[OUT_OF_ORDER]);
    assert_eq!(send(&mut transport).await.unwrap_err().kind(), ErrorKind::Fatal);
    let error = send(&mut transport).await.unwrap_err();
    assert_eq!((error.kind(), error.recovery()), (ErrorKind::Fatal, Recovery::Fatal), "{error:#}");
    assert_eq!(transport.control().generation(), 0);
}

#[tokio::test]
async fn a_producer_that_ends_again_and_again_is_given_up() {
    let (cluster, builder) = mock();
    let mut transport = builder.connect().await.unwrap();
    cluster.fail_produce(&[OUT_OF_ORDER; 6]);
    for _ in 0..5 {
        assert_in_doubt(&send(&mut transport).await.unwrap_err());
    }
    // The one of the last producer: no other one takes over.
    let error = send(&mut transport).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Fatal, Persistence::PossiblyPersisted), "{error:#}");
    let error = send(&mut transport).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.persistence(), error.recovery()),
        (ErrorKind::Fatal, Persistence::NotPersisted, Recovery::Fatal),
        "{error:#}"
    );
    assert!(error.message().contains("5 others within 5 minutes"), "{error:#}");
    assert!(error.help().contains("create a new sink"), "{error:#}");
    kafka_tower_test_texts::assert_consistent(&error);
    let control = transport.control();
    // Its caller may have its answer before its room is released.
    control.flush().await.unwrap();
    assert_eq!((control.generation(), control.in_flight()), (5, InFlight::default()));
}

/// A leader that steps down answers so after it has appended the batch. The record waits in librdkafka's queue, which then
/// calls it not persisted.
#[tokio::test]
async fn a_refused_record_that_waits_for_a_retry_is_in_doubt() {
    let (cluster, builder) = mock();
    // The retry of partition 1 waits, while partition 0 ends the producer.
    let builder = builder.property("retry.backoff.ms", "5000").property("retry.backoff.max.ms", "5000");
    let mut transport = builder.connect().await.unwrap();
    for partition in [0, 1] {
        call(&mut transport, record(partition)).await.await.unwrap();
    }
    cluster.fail_produce(&[NOT_LEADER, OUT_OF_ORDER]);
    cluster.set_round_trip(1, Duration::from_millis(200)).unwrap();
    let refused = call(&mut transport, record(1)).await;
    // The requests reach the broker in this order.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let ends = call(&mut transport, record(0)).await;
    assert_in_doubt(&refused.await.unwrap_err());
    assert_in_doubt(&ends.await.unwrap_err());
    // It was called after the refusal.
    call(&mut transport, record(1)).await.await.unwrap();
    assert_eq!(transport.control().generation(), 1);
}

#[tokio::test]
async fn flush_and_close_wait_for_the_new_producer() {
    for close in [false, true] {
        let (cluster, builder) = mock();
        let mut transport = builder.connect().await.unwrap();
        cluster.fail_produce(&[OUT_OF_ORDER]);
        let ends = call(&mut transport, record(0)).await;
        // New producers wait for their id.
        cluster.fail_requests(INIT_PRODUCER_ID, &[14; 3]);
        assert_in_doubt(&ends.await.unwrap_err());
        let waiting = [call(&mut transport, record(0)).await, call(&mut transport, record(1)).await];
        let control = transport.control();
        // The room of the first one may not be released yet.
        assert!((2..=3).contains(&control.in_flight().records));
        if close {
            let report = control.close(PATIENCE).await.unwrap();
            assert!(report.is_complete(), "{report}");
            assert_eq!(report.delivered, 2, "{report}");
        } else {
            control.flush().await.unwrap();
        }
        assert_eq!(control.in_flight(), InFlight::default());
        assert!(join_all(waiting).await.iter().all(Result::is_ok));
        assert_eq!(control.generation(), 1);
    }
}

/// A producer that has ended, while a new one gets no id.
async fn ended() -> (MockCluster, RdkafkaTransport) {
    let (cluster, builder) = mock();
    let mut transport = builder.connect().await.unwrap();
    cluster.fail_produce(&[OUT_OF_ORDER]);
    let ends = call(&mut transport, record(0)).await;
    cluster.fail_requests(INIT_PRODUCER_ID, &[14; 1_000]);
    assert_in_doubt(&ends.await.unwrap_err());
    (cluster, transport)
}

#[tokio::test]
async fn a_close_without_time_returns_the_records_that_wait_for_the_new_producer() {
    let (_cluster, mut transport) = ended().await;
    let waiting = call(&mut transport, record(0)).await;
    let control = transport.control();
    let report = control.close(Duration::from_millis(300)).await.unwrap();
    assert_eq!(report.undelivered.len(), 1, "{report}");
    let error = waiting.await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Closed, Persistence::NotPersisted), "{error:#}");
    assert!(error.message().contains("while its producer was replaced"), "{error:#}");
    assert_eq!(control.in_flight(), InFlight::default());
}

#[tokio::test]
async fn a_record_that_waits_for_the_new_producer_keeps_its_deadline() {
    let (_cluster, mut transport) = ended().await;
    let short = record(0).with_expires_at(Instant::now() + Duration::from_millis(200));
    let error = call(&mut transport, short).await.await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::NotPersisted), "{error:#}");
}

/// The right to write is missing when the program starts, and is granted later.
#[tokio::test]
async fn without_a_right_records_are_refused_at_once_until_it_is_granted() {
    let (cluster, builder) = mock();
    cluster.fail_requests(INIT_PRODUCER_ID, &[DENIED; 2]);
    let mut transport = builder.connect_check(false).connect().await.unwrap();
    let control = transport.control();
    let end = Instant::now() + PATIENCE;
    let mut refusals = 0;
    loop {
        match send(&mut transport).await {
            Ok(_) => break,
            Err(error) => {
                assert_eq!(error.persistence(), Persistence::NotPersisted, "{error:#}");
                assert_eq!((error.kind(), error.recovery()), (ErrorKind::Authorization, Recovery::Reject), "{error:#}");
                assert!(error.help().contains("goes on by itself"), "{error:#}");
                kafka_tower_test_texts::assert_consistent(&error);
                refusals += 1;
            }
        }
        assert!(Instant::now() < end, "the right was granted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(refusals > 1, "{refusals}");
    control.flush().await.unwrap();
    assert_eq!((control.generation(), control.in_flight()), (1, InFlight::default()));
}

/// Callers go on while the producer ends again and again. Each record has one outcome, and the delivered ones of a caller
/// are in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_many_handles_keep_their_order_while_producers_end() {
    const CALLERS: i32 = 3;
    const RECORDS: usize = 400;
    let (cluster, builder) = mock();
    let transport = builder.property("batch.num.messages", "5").limits(Limits { records: 50, bytes: 100_000 });
    let transport = transport.connect().await.unwrap();
    let control = transport.control();
    let callers: Vec<_> = (0..CALLERS)
        .map(|partition| {
            let mut transport = transport.clone();
            tokio::spawn(async move {
                let mut sent = Vec::new();
                for _ in 0..RECORDS {
                    let future = call(&mut transport, record(partition)).await;
                    sent.push(tokio::spawn(future));
                }
                join_all(sent).await.into_iter().map(|outcome| outcome.unwrap()).collect::<Vec<_>>()
            })
        })
        .collect();
    drop(transport);
    let ended = async {
        for generation in 1..=3 {
            cluster.fail_produce(&[OUT_OF_ORDER]);
            while control.generation() < generation {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    // The third one may find no record left to refuse.
    let callers = async {
        let outcomes = join_all(callers).await;
        outcomes.into_iter().map(|outcome| outcome.unwrap()).collect::<Vec<_>>()
    };
    let all = tokio::select! {
        all = callers => all,
        () = async { ended.await; std::future::pending().await } => unreachable!(),
    };
    for outcomes in all {
        let mut last = -1;
        for outcome in outcomes {
            match outcome {
                Ok(delivery) => {
                    assert!(delivery.offset.unwrap() > last, "{delivery}");
                    last = delivery.offset.unwrap();
                }
                Err(error) => assert_in_doubt(&error),
            }
        }
    }
    assert!(control.generation() >= 1);
    assert!(control.close(PATIENCE).await.unwrap().is_complete());
    assert_eq!(control.in_flight(), InFlight::default());
}
