//! Connecting to what answers, and to what does not.

use std::future::Future;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::peer::{answer, read};
use crate::net::address::Address;
use crate::net::handshake::{ConnectError, Connected, Introduction, connect, shake_hands};
use crate::protocol::api::Api;

const TIMEOUT: Duration = Duration::from_secs(30);

fn tests() -> Introduction {
    Introduction { client_id: Some("tests".into()), software: ("kafka-tower", "0.1.0") }
}

/// A body of `ApiVersions` in version 0 and in version 3.
fn versions(version: i16, code: i16, ranges: &[(i16, i16, i16)]) -> Vec<u8> {
    let mut body = code.to_be_bytes().to_vec();
    let len = ranges.len() as u8;
    if version >= 3 {
        body.push(len + 1)
    } else {
        body.extend([0, 0, 0, len])
    }
    for (api, min, max) in ranges {
        for number in [api, min, max] {
            body.extend(number.to_be_bytes());
        }
        body.extend((version >= 3).then_some(0));
    }
    if version >= 3 {
        body.extend([0, 0, 0, 5]);
        // Tags 1 and 2: epoch 7 of the features, and `transaction.version` at level 2.
        let name = b"transaction.version";
        body.extend([2, 1, 8, 0, 0, 0, 0, 0, 0, 0, 7, 2, 7 + name.len() as u8, 2, name.len() as u8 + 1]);
        body.extend(name);
        body.extend([0, 2, 0, 0, 0]);
    }
    body
}

const ALL: [(i16, i16, i16); 4] = [(0, 0, 13), (3, 0, 13), (18, 0, 4), (22, 0, 5)];

/// Connects to a peer on the loopback that does this with its connection.
async fn connect_to<F: Future<Output = ()> + Send + 'static>(
    peer: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> (u16, Result<Connected<TcpStream>, ConnectError>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = tokio::spawn(async move { peer(listener.accept().await.unwrap().0).await });
    let address = Address { host: "127.0.0.1".to_owned(), port };
    let connected = connect(&address, &tests(), TIMEOUT).await;
    peer.await.unwrap();
    (port, connected)
}

/// Connects to a peer that reads a request, sends this and closes.
async fn text_of(bytes: &'static [u8]) -> (String, Option<&'static str>) {
    let (port, connected) = connect_to(async move |mut stream: TcpStream| {
        read(&mut stream).await.unwrap();
        stream.write_all(bytes).await.unwrap();
    })
    .await;
    let error = connected.unwrap_err();
    let text = error.to_string();
    (text.strip_prefix(&format!("127.0.0.1:{port}: ")).unwrap().to_owned(), error.help())
}

#[tokio::test]
async fn connected_means_that_an_answer_was_read() {
    let (_, connected) = connect_to(async |mut stream: TcpStream| {
        let (version, id, _) = read(&mut stream).await.unwrap();
        assert_eq!(version, 4);
        stream.write_all(&answer(id, &versions(4, 0, &ALL))).await.unwrap();
    })
    .await;
    let broker = connected.unwrap().broker;
    assert_eq!(broker.versions.newest(Api::Produce), Ok(13));
    assert_eq!((broker.transaction_version, broker.throttle), (2, Duration::from_millis(5)));
}

#[tokio::test(start_paused = true)]
async fn an_older_broker_is_asked_again() {
    // Brokers since 2.4 say which versions of the request they speak, older ones say nothing.
    for (first, second) in [(&[(18, 0, 3)][..], 3), (&[(18, 0, 2)], 0), (&[], 0)] {
        let (ours, mut theirs) = duplex(4096);
        let peer = async {
            let (version, id, _) = read(&mut theirs).await.unwrap();
            assert_eq!(version, 4);
            theirs.write_all(&answer(id, &versions(0, 35, first))).await.unwrap();
            let (version, id, _) = read(&mut theirs).await.unwrap();
            assert_eq!(version, second);
            theirs.write_all(&answer(id, &versions(second, 0, &ALL))).await.unwrap();
        };
        let introduction = tests();
        let shakes = shake_hands(ours, "broker:9092".into(), &introduction, Instant::now() + TIMEOUT);
        let (connected, ()) = tokio::join!(shakes, peer);
        let broker = connected.unwrap().broker;
        assert_eq!(broker.versions.newest(Api::Metadata), Ok(13));
        assert_eq!(broker.transaction_version, if second == 0 { 0 } else { 2 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_accepts_and_says_nothing_is_not_connected() {
    let (ours, theirs) = duplex(4096);
    let start = Instant::now();
    let error = shake_hands(ours, "broker:9092".into(), &tests(), start + TIMEOUT).await.unwrap_err();
    assert_eq!(error.to_string(), "broker:9092: no answer to ApiVersions within 30s");
    assert_eq!(start.elapsed(), TIMEOUT);
    drop(theirs);
}

#[tokio::test(start_paused = true)]
async fn asking_again_does_not_prolong_the_time() {
    let (ours, mut theirs) = duplex(4096);
    let start = Instant::now();
    let introduction = tests();
    let shakes = shake_hands(ours, "broker:9092".into(), &introduction, start + TIMEOUT);
    let peer = async {
        let (_, id, _) = read(&mut theirs).await.unwrap();
        tokio::time::sleep(TIMEOUT / 2).await;
        theirs.write_all(&answer(id, &versions(0, 35, &[]))).await.unwrap();
        read(&mut theirs).await.unwrap();
    };
    let (connected, ()) = tokio::join!(shakes, peer);
    assert!(matches!(connected, Err(ConnectError::Connection(_))));
    assert_eq!(start.elapsed(), TIMEOUT);
}

#[tokio::test]
async fn a_peer_that_is_not_kafka_gets_a_clear_error() {
    let listeners =
        Some("name Kafka's own listeners in `bootstrap.servers`, as host:port; their port is 9092 by default");
    let (text, help) = text_of(&[0x15, 3, 3, 0, 2, 2, 80]).await;
    assert_eq!(text, "the peer does not speak Kafka without TLS: it answers as a TLS listener");
    assert_eq!(help, Some("is this a TLS listener? It answers as one: use the plaintext listener's port"));
    for (bytes, says) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "the peer does not speak Kafka: it answers as an HTTP server"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "the peer does not speak Kafka: its answer begins with \"SSH-\""),
        (&[0xff, 0xfd, 1, 3, 9], "the peer does not speak Kafka: its answer begins with the bytes [ff, fd, 01, 03]"),
        (&[0, 0, 0, 9, 0, 0], "the peer closed the connection in the middle of an answer"),
        (
            &[0, 0, 0, 6, 0, 0, 0, 9, 0, 0],
            "the answers are out of order: it answered request 9, and 0 was the next one",
        ),
        (&[0, 0, 0, 6, 0, 0, 0, 0, 0, 0], "the answer to ApiVersions cannot be read: it ends early"),
    ] {
        assert_eq!(text_of(bytes).await, (says.to_owned(), listeners));
    }
}

#[tokio::test]
async fn a_peer_that_closes_at_once_may_want_tls() {
    let help = Some("is this a TLS listener, or one with SASL? Use the port of a plaintext listener");
    let text = "the peer closed the connection before it answered anything";
    assert_eq!(text_of(b"").await, (text.to_owned(), help));
    // It does not even read: its system may answer with a reset.
    let (_, connected) = connect_to(async |stream: TcpStream| drop(stream)).await;
    assert_eq!(connected.unwrap_err().help(), help);
}

#[tokio::test]
async fn a_broker_that_is_too_old_is_named() {
    let (port, connected) = connect_to(async |mut stream: TcpStream| {
        let (_, id, _) = read(&mut stream).await.unwrap();
        stream.write_all(&answer(id, &versions(4, 0, &[(0, 0, 6), (3, 0, 8)]))).await.unwrap();
    })
    .await;
    assert_eq!(
        connected.unwrap_err().to_string(),
        format!(
            "127.0.0.1:{port}: the broker is too old: it speaks Produce 0 to 6, and 7 or newer is needed (Kafka 2.5 or newer)"
        )
    );
}

#[tokio::test]
async fn a_broker_that_refuses_says_why() {
    let (port, connected) = connect_to(async |mut stream: TcpStream| {
        let (_, id, _) = read(&mut stream).await.unwrap();
        stream.write_all(&answer(id, &versions(4, 42, &[]))).await.unwrap();
    })
    .await;
    let text = connected.unwrap_err().to_string();
    assert!(text.starts_with(&format!("127.0.0.1:{port}: ApiVersions failed: ")), "{text}");
    assert!(text.ends_with("(INVALID_REQUEST)"), "{text}");
}

#[tokio::test]
async fn a_refused_connection_keeps_its_cause() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let address = Address { host: "127.0.0.1".to_owned(), port };
    let error = connect(&address, &tests(), TIMEOUT).await.unwrap_err();
    assert_eq!(error.to_string(), format!("127.0.0.1:{port}: no connection: 127.0.0.1:{port} refused it"));
    let cause = std::error::Error::source(&error).unwrap().downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(cause.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// A dropped handshake closes its connection.
#[tokio::test]
async fn a_dropped_handshake_closes_its_connection() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = Address { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
    let introduction = tests();
    let mut stream = tokio::select! {
        _ = connect(&address, &introduction, TIMEOUT) => panic!("nobody answered"),
        stream = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read(&mut stream).await.unwrap();
            stream
        } => stream,
    };
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}
