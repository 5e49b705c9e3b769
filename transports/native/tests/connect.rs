//! Connecting succeeds only if the client can send; otherwise the error names the cause. Against listeners of all kinds.
#![allow(clippy::unwrap_used)] // a test may fail

mod support;

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use kafka_tower_core::{Error, ErrorKind, Record};
use kafka_tower_native::{Acks, NativeTransport};
use kafka_tower_testkit::kafka::proxy::{ApiKey, Direction};
use kafka_tower_testkit::kafka::{self as cluster, Cluster, Listener};
use support::{PATIENCE, assert_contains, builder, call, in_time, send};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const QUICK: Duration = Duration::from_secs(2);

/// Connects to what cannot be connected to.
async fn refused(bootstrap: &str) -> Error {
    let builder = NativeTransport::builder().bootstrap(bootstrap).connect_timeout(QUICK);
    let error = in_time(builder.connect()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:#}");
    error
}

/// A port on which nothing listens.
async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_refused_connection_is_named() {
    let port = closed_port().await;
    let error = refused(&format!("127.0.0.1:{port}")).await;
    assert_contains(&error, error.message(), &format!("127.0.0.1:{port}"));
    assert_contains(&error, error.message(), "refused");
    assert_contains(&error, error.message(), "within 2 s");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_named() {
    let error = refused("no-such-host.invalid:9092").await;
    assert_contains(&error, error.message(), "no-such-host.invalid");
    assert!(!error.message().contains("refused"), "{error:#}");
}

#[tokio::test]
async fn a_port_that_speaks_http_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            if stream.read(&mut request).await.is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
            }
        }
    });
    let error = refused(&format!("127.0.0.1:{port}")).await;
    server.abort();
    assert_contains(&error, error.message(), "HTTP");
    assert_contains(&error, error.help(), "Kafka's own listeners");
}

#[tokio::test]
async fn a_port_that_never_answers_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok(accepted) = listener.accept().await {
            open.push(accepted);
        }
    });
    let error = refused(&format!("127.0.0.1:{port}")).await;
    server.abort();
    assert_contains(&error, error.message(), "within 2 s");
}

#[tokio::test]
async fn a_tls_listener_is_named() {
    let Some(kafka) = Cluster::builder().listener(Listener::Tls).start().await.unwrap() else { return };
    let error = refused(&kafka.bootstrap_of(Listener::Tls).unwrap()).await;
    assert_contains(&error, error.message(), "TLS");
    assert!(error.help().starts_with("is this a TLS listener?"), "{error:#}");
}

#[tokio::test]
async fn the_second_address_is_used_when_the_first_refuses() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("second", 1).await.unwrap();
    let bootstrap = format!("127.0.0.1:{},{}", closed_port().await, kafka.bootstrap());
    let mut transport = support::connect(builder(&bootstrap, &topic)).await;
    send(&mut transport, Record::new(topic.as_str()).with_value("x")).await.unwrap();
    assert_eq!(kafka.read(&topic).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_unknown_topic_fails_with_its_name() {
    let Some(kafka) = cluster::shared().await else { return };
    let begun = Instant::now();
    let error = builder(kafka.bootstrap(), "missing-topic").connect().await.unwrap_err();
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{error:#}");
    assert_contains(&error, error.message(), "missing-topic");
}

#[tokio::test]
async fn a_broker_that_starts_while_connecting_is_found() {
    let Some(kafka) = Cluster::builder().listener(Listener::Proxy).start().await.unwrap() else { return };
    let topic = kafka.topic("late", 1).await.unwrap();
    let proxy = kafka.proxy().unwrap();
    proxy.down().await.unwrap();
    let connecting = tokio::spawn(builder(&kafka.bootstrap_of(Listener::Proxy).unwrap(), &topic).connect());
    // The first attempt is refused meanwhile.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!connecting.is_finished());
    proxy.up().await.unwrap();
    let mut transport = in_time(connecting).await.unwrap().unwrap_or_else(|error| panic!("{error:#}"));
    send(&mut transport, Record::new(topic.as_str()).with_value("x")).await.unwrap();
}

#[tokio::test]
async fn without_the_check_connecting_returns_at_once_and_records_wait_for_the_broker() {
    let Some(kafka) = Cluster::builder().listener(Listener::Proxy).start().await.unwrap() else { return };
    let topic = kafka.topic("unchecked", 1).await.unwrap();
    let proxy = kafka.proxy().unwrap();
    proxy.down().await.unwrap();
    let builder = builder(&kafka.bootstrap_of(Listener::Proxy).unwrap(), &topic).connect_check(false);
    let mut transport = builder.connect().now_or_never().expect("at once").unwrap();
    let sent = call(&mut transport, Record::new(topic.as_str()).with_value("early")).await;
    assert_eq!(transport.control().in_flight().records, 1);
    proxy.up().await.unwrap();
    in_time(sent).await.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(kafka.read(&topic).await.unwrap()[0].text(), "early");
}

#[tokio::test]
async fn a_dropped_connect_closes_its_connections() {
    let Some(kafka) = Cluster::builder().listener(Listener::Proxy).start().await.unwrap() else { return };
    let topic = kafka.topic("dropped", 1).await.unwrap();
    let proxy = kafka.proxy().unwrap();
    proxy.pause(Direction::ToClient);
    let requests = proxy.requests(ApiKey::API_VERSIONS);
    let connecting = tokio::spawn(builder(&kafka.bootstrap_of(Listener::Proxy).unwrap(), &topic).connect());
    proxy.wait_for(ApiKey::API_VERSIONS, requests + 1).await.unwrap();
    assert!(proxy.connections() > 0);
    connecting.abort();
    assert!(connecting.await.unwrap_err().is_cancelled());
    proxy.resume(Direction::ToClient);
    in_time(async {
        while proxy.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn settings_that_cannot_be_used_say_what_to_do() {
    let base = || NativeTransport::builder().bootstrap("127.0.0.1:1");
    let cases = [
        (NativeTransport::builder(), "bootstrap"),
        (NativeTransport::builder().bootstrap("host:port"), "bootstrap"),
        (base().batch_records(0), "batch_records is 0: set it to at least 1"),
        (base().batch_bytes(0), "batch_bytes is 0: set it to at least 1"),
        (base().max_request_bytes(0), "max_request_bytes is 0: set it to at least 1"),
        (base().max_in_flight_requests(0), "max_in_flight_requests is 0: set it to at least 1"),
        (base().max_in_flight_requests(6), "has 5 at most"),
        (base().request_timeout(Duration::ZERO), "request_timeout is 0"),
        (base().batch_bytes(1 << 30), "at most"),
        (base().acks(Acks::Leader).idempotent(true), "needs acks=all: set it, or turn idempotence off"),
        (base().topic("a topic"), "topic"),
    ];
    for (builder, part) in cases {
        let error = builder.connect().now_or_never().expect("at once").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{part}: {error:#}");
        assert_contains(&error, &format!("{error:#}"), part);
    }
}

#[test]
fn without_a_runtime_connecting_is_a_config_error() {
    let connecting = NativeTransport::builder().bootstrap("127.0.0.1:1").connect();
    // Polled once by hand: no executor is a runtime here.
    let mut connecting = std::pin::pin!(connecting);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = connecting.as_mut().poll(&mut cx) else { panic!("it waits") };
    assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
    assert_contains(&error, error.message(), "runtime");
}

#[test]
fn a_runtime_without_timers_is_a_config_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let error = runtime.block_on(NativeTransport::builder().bootstrap("127.0.0.1:1").connect()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
    assert_contains(&error, error.message(), "timers");
}

#[test]
fn a_runtime_without_io_is_said_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let connecting = NativeTransport::builder().bootstrap("127.0.0.1:1").connect_timeout(PATIENCE * 2).connect();
    let error = runtime.block_on(in_time(connecting)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:#}");
    assert_contains(&error, error.help(), "enable_all");
}
