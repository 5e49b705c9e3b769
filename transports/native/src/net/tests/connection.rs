//! Many requests at a time on one connection.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::time::Instant;

use super::peer::{answer, echo, read, request};
use crate::net::connection::{Connection, Event, Request};
use crate::net::error::{Cause, ConnectionError};
use crate::net::in_flight::{ForeignAnswer, RequestId, Written};
use crate::protocol::DecodeError;
use crate::protocol::api::Api;

const TIMEOUT: Duration = Duration::from_secs(30);

type Duplex = Connection<DuplexStream, char>;

fn pair(buffer: usize) -> (Duplex, DuplexStream) {
    let (ours, theirs) = duplex(buffer);
    (Connection::new(ours, "broker:9092".into(), 1000), theirs)
}

fn send(connection: &mut Duplex, what: char, expects_answer: bool, timeout: Duration) -> bool {
    let id = RequestId { api: Api::Produce, version: 9, correlation_id: connection.next_id() };
    let chunks = request(id.correlation_id, &[what as u8; 20]);
    connection.send(Request { id, chunks, expects_answer, timeout, what }).is_ok()
}

async fn next(connection: &mut Duplex) -> Event<char> {
    poll_fn(|cx| connection.poll(cx)).await
}

async fn answered(connection: &mut Duplex) -> char {
    match next(connection).await {
        Event::Answered(what, answer) => {
            assert_eq!(answer.frame[4..], [what as u8; 20], "the answer of its own request");
            what
        }
        other => panic!("{other:?}"),
    }
}

async fn ended(connection: &mut Duplex) -> ConnectionError {
    match next(connection).await {
        Event::Ended(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn requests_do_not_wait_for_each_other() {
    for buffer in [1, 7, 4096] {
        let (mut connection, theirs) = pair(buffer);
        for what in ['a', 'b', 'c'] {
            assert!(send(&mut connection, what, true, TIMEOUT));
        }
        assert_eq!(connection.open(), 3);
        let peer = tokio::spawn(echo(theirs));
        for what in ['a', 'b', 'c'] {
            assert_eq!(answered(&mut connection).await, what);
        }
        assert_eq!(connection.open(), 0);
        peer.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn all_requests_are_written_before_the_first_answer() {
    let (mut connection, mut theirs) = pair(4096);
    for what in ['a', 'b', 'c'] {
        send(&mut connection, what, true, TIMEOUT);
    }
    let peer = tokio::spawn(async move {
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(read(&mut theirs).await.unwrap());
        }
        for (_, id, body) in ids {
            theirs.write_all(&answer(id, &body)).await.unwrap();
        }
        theirs
    });
    for what in ['a', 'b', 'c'] {
        assert_eq!(answered(&mut connection).await, what);
    }
    drop(peer.await.unwrap());
    let error = ended(&mut connection).await;
    assert!(matches!(error.cause, Cause::Closed { answers: 3, partial: false }), "{error:?}");
    assert_eq!(error.to_string(), "broker:9092: the peer closed the connection");
    assert!(!send(&mut connection, 'd', true, TIMEOUT), "the connection has ended");
    assert_eq!(connection.close(), []);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_ends_the_connection_and_says_what_was_written() {
    // 32 bytes a request: the pipe takes the first, and a part of the second.
    let (mut connection, theirs) = pair(40);
    for what in ['a', 'b', 'c'] {
        send(&mut connection, what, true, TIMEOUT);
    }
    let start = Instant::now();
    let error = ended(&mut connection).await;
    assert_eq!(start.elapsed(), TIMEOUT);
    assert!(matches!(error.cause, Cause::TimedOut { api: Api::Produce, timeout: TIMEOUT }), "{error:?}");
    assert_eq!(connection.close(), [('a', Written::Wholly), ('b', Written::Partly), ('c', Written::Not)]);
    drop(theirs);
}

#[tokio::test(start_paused = true)]
async fn the_shortest_time_counts() {
    let (mut connection, _theirs) = pair(4096);
    send(&mut connection, 'a', true, TIMEOUT);
    let start = Instant::now();
    assert!(tokio::time::timeout(TIMEOUT / 10, next(&mut connection)).await.is_err());
    send(&mut connection, 'b', true, TIMEOUT / 10);
    ended(&mut connection).await;
    assert_eq!(start.elapsed(), TIMEOUT / 5);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_counts_although_its_time_is_over() {
    let (mut connection, mut theirs) = pair(4096);
    send(&mut connection, 'a', true, TIMEOUT);
    assert!(tokio::time::timeout(Duration::ZERO, next(&mut connection)).await.is_err());
    theirs.write_all(&answer(0, &[b'a'; 20])).await.unwrap();
    tokio::time::advance(TIMEOUT * 2).await;
    assert_eq!(answered(&mut connection).await, 'a');
}

#[tokio::test(start_paused = true)]
async fn requests_without_an_answer_are_done_when_they_are_written() {
    let (mut connection, mut theirs) = pair(4096);
    send(&mut connection, 'a', false, TIMEOUT);
    send(&mut connection, 'b', true, TIMEOUT);
    assert!(matches!(next(&mut connection).await, Event::Written('a')));
    read(&mut theirs).await.unwrap();
    let (_, id, body) = read(&mut theirs).await.unwrap();
    theirs.write_all(&answer(id, &body)).await.unwrap();
    assert_eq!(answered(&mut connection).await, 'b');
}

#[tokio::test(start_paused = true)]
async fn an_answer_out_of_order_is_not_believed() {
    let (mut connection, mut theirs) = pair(4096);
    for what in ['a', 'b'] {
        send(&mut connection, what, true, TIMEOUT);
    }
    theirs.write_all(&answer(1, &[b'b'; 20])).await.unwrap();
    // It comes before anything was written: also that is out of order.
    let error = ended(&mut connection).await;
    assert!(matches!(error.cause, Cause::Foreign(ForeignAnswer { found: 1, expected: None })), "{error:?}");
    assert_eq!(connection.close(), [('a', Written::Not), ('b', Written::Not)]);

    let (mut connection, mut theirs) = pair(4096);
    for what in ['a', 'b'] {
        send(&mut connection, what, true, TIMEOUT);
    }
    assert!(tokio::time::timeout(Duration::ZERO, next(&mut connection)).await.is_err());
    theirs.write_all(&answer(1, &[b'b'; 20])).await.unwrap();
    let error = ended(&mut connection).await;
    assert_eq!(
        error.to_string(),
        "broker:9092: the answers are out of order: it answered request 1, and 0 was the next one"
    );
    assert_eq!(connection.close(), [('a', Written::Wholly), ('b', Written::Wholly)]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_ends_early_is_none() {
    let (mut connection, mut theirs) = pair(4096);
    send(&mut connection, 'a', true, TIMEOUT);
    assert!(tokio::time::timeout(Duration::ZERO, next(&mut connection)).await.is_err());
    theirs.write_all(&answer(0, &[b'a'; 20])[..27]).await.unwrap();
    drop(theirs);
    let error = ended(&mut connection).await;
    assert_eq!(error.to_string(), "broker:9092: the peer closed the connection in the middle of an answer");
    assert_eq!(connection.close(), [('a', Written::Wholly)]);
}

/// Takes one request; the next write fails, and at that moment an answer is there.
struct LastAnswer {
    writes: usize,
    answer: Vec<u8>,
}

impl AsyncRead for LastAnswer {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.writes < 2 || self.answer.is_empty() {
            return Poll::Pending;
        }
        room.put_slice(&std::mem::take(&mut self.answer));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LastAnswer {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes += 1;
        let error = || Err(io::ErrorKind::BrokenPipe.into());
        Poll::Ready(if self.writes < 2 { Ok(bytes.len().min(32)) } else { error() })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A whole request at once.
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        self.poll_write(cx, &bytes)
    }
}

#[tokio::test(start_paused = true)]
async fn answers_are_read_although_writing_failed() {
    let stream = LastAnswer { writes: 0, answer: answer(0, b"first") };
    let mut connection = Connection::new(stream, "broker:9092".into(), 1000);
    for what in ['a', 'b'] {
        let id = RequestId { api: Api::Produce, version: 9, correlation_id: connection.next_id() };
        let chunks = request(id.correlation_id, &[what as u8; 20]);
        connection.send(Request { id, chunks, expects_answer: true, timeout: TIMEOUT, what }).unwrap();
    }
    let event = poll_fn(|cx| connection.poll(cx)).await;
    assert!(matches!(event, Event::Answered('a', _)), "{event:?}");
    let event = poll_fn(|cx| connection.poll(cx)).await;
    assert!(matches!(event, Event::Ended(ConnectionError { cause: Cause::Io { answers: 1, .. }, .. })), "{event:?}");
    assert_eq!(connection.close(), [('b', Written::Not)]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_ends_the_connection() {
    let (mut connection, mut theirs) = pair(4096);
    let id = RequestId { api: Api::Produce, version: 9, correlation_id: 0 };
    let error = connection.undecodable(id, DecodeError::Truncated);
    assert_eq!(error.to_string(), "broker:9092: the answer to Produce cannot be read: it ends early");
    assert!(!send(&mut connection, 'a', true, TIMEOUT));
    assert_eq!(ended(&mut connection).await.to_string(), error.to_string());
    drop(connection);
    assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0, "nothing was written");
}

#[tokio::test]
async fn a_connection_changes_its_type_only_without_requests() {
    let (mut connection, _theirs) = pair(4096);
    connection.next_id();
    let mut connection = connection.retype::<()>().unwrap().retype::<char>().unwrap();
    assert_eq!(connection.next_id(), 1, "ids go on");
    send(&mut connection, 'a', true, TIMEOUT);
    let connection = connection.retype::<()>().unwrap_err();
    assert_eq!(connection.close(), [('a', Written::Not)]);
}
