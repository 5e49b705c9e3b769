//! Deadlines, throttling, flush and close.

use std::time::{Duration, Instant};

use kafka_tower_core::{ErrorKind, Persistence, Record};
use kafka_tower_testkit::kafka::proxy::{ApiKey, Direction};
use kafka_tower_testkit::kafka::{Cluster, Listener};

use crate::support::{
    PATIENCE, all_delivered, assert_contains, assert_error, assert_once_in_order, builder, call, connect, in_time, log,
    numbered, outcomes, send,
};

#[tokio::test]
async fn deadlines_are_kept_and_what_was_not_sent_is_not_written() {
    let Some(kafka) = Cluster::builder().listener(Listener::Proxy).start().await.unwrap() else { return };
    let (topic, proxy) = (kafka.topic("deadlines", 1).await.unwrap(), kafka.proxy().unwrap());
    let bootstrap = kafka.bootstrap_of(Listener::Proxy).unwrap();
    let mut transport = connect(builder(&bootstrap, &topic).max_in_flight_requests(1)).await;
    all_delivered(vec![send(&mut transport, numbered(&topic, 0)).await]);

    // Over before the call.
    let error = send(&mut transport, numbered(&topic, 1).with_expires_at(Instant::now())).await.unwrap_err();
    assert_error(&error, ErrorKind::Timeout, Persistence::NotPersisted);

    // Sent and not answered in time, and behind it one that is not sent.
    let requests = proxy.requests(ApiKey::PRODUCE);
    proxy.pause(Direction::ToClient);
    let soon = Instant::now() + Duration::from_millis(1_500);
    let sent = call(&mut transport, numbered(&topic, 1).with_expires_at(soon)).await;
    let sent = tokio::spawn(sent);
    proxy.wait_for(ApiKey::PRODUCE, requests + 1).await.unwrap();
    let behind = tokio::spawn(call(&mut transport, numbered(&topic, 1_000).with_expires_at(soon)).await);
    let error = in_time(sent).await.unwrap().unwrap_err();
    assert_error(&error, ErrorKind::Timeout, Persistence::PossiblyPersisted);
    let error = in_time(behind).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:#}");
    let is_unwritten = error.persistence() == Persistence::NotPersisted;
    proxy.resume(Direction::ToClient);
    all_delivered(vec![send(&mut transport, numbered(&topic, 2)).await]);
    let log = log(&kafka, &topic).await.remove(&0).unwrap();
    assert_eq!(log.iter().copied().filter(|n| *n < 1_000).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(!is_unwritten || !log.contains(&1_000), "{log:?}: {error:#}");
}

#[tokio::test]
async fn a_throttled_client_delivers_and_a_time_out_names_throttling() {
    const CLIENT: &str = "throttled";
    let Some(kafka) = Cluster::start(1).await.unwrap() else { return };
    let topic = kafka.topic("quota", 1).await.unwrap();
    kafka.limit_producers(CLIENT, 50_000).await.unwrap();
    // Small batches in requests of their own: the broker throttles from one to the next.
    let client = builder(kafka.bootstrap(), &topic).client_id(CLIENT).batch_bytes(100_000).max_in_flight_requests(1);
    let mut transport = connect(client).await;
    let large = |n: usize| numbered(&topic, n).with_key(vec![b'x'; 90_000]);
    let begun = Instant::now();
    let mut sends = Vec::new();
    for n in 0..8 {
        sends.push(call(&mut transport, large(n)).await);
    }
    all_delivered(outcomes(sends).await);
    // 720 kB, of which a window of about ten seconds admits 500 kB at once.
    let end = Instant::now() + PATIENCE;
    let error = loop {
        let soon = Instant::now() + Duration::from_millis(300);
        let mut sends = Vec::new();
        for _ in 0..3 {
            sends.push(call(&mut transport, large(8).with_expires_at(soon)).await);
        }
        let failed = outcomes(sends).await.into_iter().find_map(Result::err);
        if let Some(error) = failed.filter(|error| format!("{error:#}").to_lowercase().contains("throttl")) {
            break error;
        }
        assert!(Instant::now() < end, "the broker does not throttle, {:?}", begun.elapsed());
    };
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:#}");
    in_time(transport.control().flush()).await.unwrap();
    let log = log(&kafka, &topic).await.remove(&0).unwrap();
    assert_eq!(log[..8], [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn a_flush_sends_what_lingers() {
    let Some(kafka) = kafka_tower_testkit::kafka::shared().await else { return };
    let topic = kafka.topic("lingers", 1).await.unwrap();
    let mut transport = connect(builder(kafka.bootstrap(), &topic).linger(PATIENCE)).await;
    let begun = Instant::now();
    let mut sends = Vec::new();
    for n in 0..10 {
        sends.push(call(&mut transport, numbered(&topic, n)).await);
    }
    in_time(transport.control().flush()).await.unwrap();
    all_delivered(outcomes(sends).await);
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    assert_once_in_order(kafka, &topic, 10).await;
}

#[tokio::test]
async fn a_close_reports_what_it_gave_up() {
    let Some(kafka) = Cluster::builder().listener(Listener::Proxy).start().await.unwrap() else { return };
    let (topic, proxy) = (kafka.topic("close", 1).await.unwrap(), kafka.proxy().unwrap());
    let bootstrap = kafka.bootstrap_of(Listener::Proxy).unwrap();
    let mut transport = connect(builder(&bootstrap, &topic)).await;
    all_delivered(vec![send(&mut transport, numbered(&topic, 0)).await]);
    let answers = proxy.answers(ApiKey::PRODUCE);
    proxy.pause(Direction::ToClient);
    let lost = call(&mut transport, numbered(&topic, 1)).await;
    proxy.wait_for_answer(ApiKey::PRODUCE, answers + 1).await.unwrap();
    let report = in_time(transport.control().close(Duration::from_millis(200))).await.unwrap();
    assert_eq!((report.delivered, report.failed, report.unknown), (0, 0, 1), "{report:?}");
    assert_error(&in_time(lost).await.unwrap_err(), ErrorKind::Closed, Persistence::PossiblyPersisted);
    let refused = send(&mut transport, Record::new(topic.as_str()).with_value("2")).await.unwrap_err();
    assert_error(&refused, ErrorKind::Closed, Persistence::NotPersisted);
    assert_contains(&refused, refused.message(), "closed");
    assert_once_in_order(&kafka, &topic, 2).await;
}
