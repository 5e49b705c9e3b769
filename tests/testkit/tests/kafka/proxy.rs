//! The proxy without Kafka, against a server that answers every frame.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_tower_testkit::kafka::Proxy;
use kafka_tower_testkit::kafka::proxy::{Action, ApiKey, Direction};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Answers each request with its correlation id, and counts the executed requests.
async fn server() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let executed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&executed);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                while let Ok(length) = socket.read_i32().await {
                    let mut body = vec![0; usize::try_from(length).unwrap()];
                    socket.read_exact(&mut body).await.unwrap();
                    count.fetch_add(1, Ordering::SeqCst);
                    let mut answer = 4_i32.to_be_bytes().to_vec();
                    answer.extend(&body[4..8]);
                    let _ = socket.write_all(&answer).await;
                }
            });
        }
    });
    (address, executed)
}

async fn request(client: &mut TcpStream, key: ApiKey, id: i32) {
    let mut frame = 12_i32.to_be_bytes().to_vec();
    frame.extend(key.0.to_be_bytes());
    frame.extend(9_i16.to_be_bytes());
    frame.extend(id.to_be_bytes());
    frame.extend([0; 4]);
    client.write_all(&frame).await.unwrap();
}

/// Returns the correlation id of the answer. `None` if the connection has ended.
async fn answer(client: &mut TcpStream) -> Option<i32> {
    assert_eq!(client.read_i32().await.ok()?, 4);
    Some(client.read_i32().await.unwrap())
}

async fn nothing_comes(client: &mut TcpStream) {
    assert!(tokio::time::timeout(Duration::from_millis(50), client.read_u8()).await.is_err());
}

async fn start() -> (Proxy, Arc<AtomicUsize>, TcpStream) {
    let (address, executed) = server().await;
    let proxy = Proxy::start(&[address]).unwrap();
    let client = TcpStream::connect(proxy.addresses()[0]).await.unwrap();
    (proxy, executed, client)
}

#[tokio::test]
async fn frames_pass_and_are_counted() {
    let (proxy, _, mut client) = start().await;
    for id in 0..3 {
        request(&mut client, ApiKey::PRODUCE, id).await;
    }
    for id in 0..3 {
        assert_eq!(answer(&mut client).await, Some(id));
    }
    assert_eq!((proxy.requests(ApiKey::PRODUCE), proxy.answers(ApiKey::PRODUCE)), (3, 3));
    assert_eq!(proxy.requests(ApiKey::FETCH), 0);
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a_pause_stops_one_direction() {
    let (proxy, executed, mut client) = start().await;
    proxy.pause(Direction::ToClient);
    request(&mut client, ApiKey::PRODUCE, 1).await;
    proxy.wait_for_answer(ApiKey::PRODUCE, 1).await.unwrap();
    nothing_comes(&mut client).await;
    proxy.resume(Direction::ToClient);
    assert_eq!(answer(&mut client).await, Some(1));

    proxy.pause(Direction::ToBroker);
    request(&mut client, ApiKey::PRODUCE, 2).await;
    proxy.wait_for(ApiKey::PRODUCE, 2).await.unwrap();
    nothing_comes(&mut client).await;
    assert_eq!(executed.load(Ordering::SeqCst), 1);
    proxy.resume(Direction::ToBroker);
    assert_eq!(answer(&mut client).await, Some(2));
}

#[tokio::test]
async fn a_delay_adds_latency_and_limits_no_rate() {
    let (proxy, _, mut client) = start().await;
    let delay = Duration::from_millis(100);
    proxy.delay(Direction::ToBroker, delay);
    let begin = Instant::now();
    for id in 0..10 {
        request(&mut client, ApiKey::FETCH, id).await;
    }
    for id in 0..10 {
        assert_eq!(answer(&mut client).await, Some(id));
    }
    assert!(begin.elapsed() >= delay && begin.elapsed() < 5 * delay, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_cut_ends_all_connections_and_down_refuses_new_ones() {
    let (proxy, _, mut client) = start().await;
    request(&mut client, ApiKey::FETCH, 1).await;
    assert_eq!(answer(&mut client).await, Some(1));
    proxy.cut();
    assert_eq!(answer(&mut client).await, None);

    proxy.down().await.unwrap();
    assert!(TcpStream::connect(proxy.addresses()[0]).await.is_err());
    proxy.up().await.unwrap();
    let mut client = TcpStream::connect(proxy.addresses()[0]).await.unwrap();
    request(&mut client, ApiKey::FETCH, 2).await;
    assert_eq!(answer(&mut client).await, Some(2));
}

#[tokio::test]
async fn a_held_request_waits_with_those_behind_it() {
    let (proxy, executed, mut client) = start().await;
    proxy.next(ApiKey::END_TXN, Action::Hold);
    request(&mut client, ApiKey::PRODUCE, 1).await;
    request(&mut client, ApiKey::END_TXN, 2).await;
    request(&mut client, ApiKey::PRODUCE, 3).await;
    assert_eq!(answer(&mut client).await, Some(1));
    proxy.wait_for_held(1).await.unwrap();
    nothing_comes(&mut client).await;
    assert_eq!(executed.load(Ordering::SeqCst), 1);
    proxy.release().await.unwrap();
    assert_eq!(answer(&mut client).await, Some(2));
    assert_eq!(answer(&mut client).await, Some(3));
}

#[tokio::test]
async fn a_late_request_reaches_the_broker_without_its_client() {
    let (proxy, executed, mut client) = start().await;
    proxy.next(ApiKey::END_TXN, Action::HoldAndCut);
    request(&mut client, ApiKey::END_TXN, 1).await;
    assert_eq!(answer(&mut client).await, None);
    proxy.wait_for_held(1).await.unwrap();
    // A cut applies to clients; this one is gone already.
    proxy.cut();
    assert_eq!((proxy.held(), executed.load(Ordering::SeqCst)), (1, 0));
    proxy.release().await.unwrap();
    assert_eq!((proxy.held(), executed.load(Ordering::SeqCst)), (0, 1));
}

#[tokio::test]
async fn a_request_is_lost_or_only_its_answer() {
    let (proxy, executed, mut client) = start().await;
    proxy.next(ApiKey::PRODUCE, Action::CutBefore);
    proxy.next(ApiKey::PRODUCE, Action::DropAnswer);
    request(&mut client, ApiKey::PRODUCE, 1).await;
    assert_eq!(answer(&mut client).await, None);
    assert_eq!(executed.load(Ordering::SeqCst), 0);

    let mut client = TcpStream::connect(proxy.addresses()[0]).await.unwrap();
    request(&mut client, ApiKey::FETCH, 1).await;
    request(&mut client, ApiKey::PRODUCE, 2).await;
    assert_eq!(answer(&mut client).await, Some(1));
    assert_eq!(answer(&mut client).await, None);
    assert_eq!(executed.load(Ordering::SeqCst), 2);
    assert_eq!(proxy.answers(ApiKey::PRODUCE), 1);
}

#[tokio::test]
async fn a_connection_that_is_not_kafka_is_closed() {
    let (proxy, executed, mut client) = start().await;
    client.write_all(b"\x16\x03\x01\x02\x00 a TLS handshake").await.unwrap();
    assert_eq!(answer(&mut client).await, None);
    assert_eq!(executed.load(Ordering::SeqCst), 0);
    assert_eq!(proxy.requests(ApiKey::PRODUCE), 0);
}
