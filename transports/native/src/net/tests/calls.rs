//! Calls, and what a dropped one leaves.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{DuplexStream, duplex};

use super::peer::{echo, read};
use crate::net::calls::{CallError, Calls};
use crate::net::connection::{Answer, Connection};
use crate::net::error::Cause;
use crate::net::in_flight::Written;
use crate::protocol::api::Api;
use crate::protocol::api::metadata::MetadataRequest;
use crate::protocol::{TooLong, writer::Frame};

const TIMEOUT: Duration = Duration::from_secs(30);

fn pair(buffer: usize) -> (Calls<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(buffer);
    (Calls::new(Connection::new(ours, "broker:9092".into(), 1000)), theirs)
}

fn metadata(id: i32) -> Result<Frame, TooLong> {
    MetadataRequest { topics: None, allow_auto_topic_creation: false }.encode(9, id, Some("tests"))
}

async fn ask(calls: &mut Calls<DuplexStream>) -> Result<Answer, CallError> {
    calls.call((Api::Metadata, 9), TIMEOUT, metadata).await
}

/// Polls a future so often, with room for the peer between. Its answer, if there is one by then.
async fn polled<T>(future: impl Future<Output = T>, times: usize) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..times {
        if let Poll::Ready(answer) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Some(answer);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// A pipe of a few bytes makes each of them a place where a future can be dropped: in the request, before the answer, in it.
#[tokio::test(start_paused = true)]
async fn a_dropped_call_leaves_the_connection_usable() {
    for buffer in [1, 3, 1000] {
        let mut places = 0;
        loop {
            let (mut calls, theirs) = pair(buffer);
            let peer = tokio::spawn(echo(theirs));
            let finished = polled(ask(&mut calls), places).await.is_some();
            // The second of two dropped ones, and one that is never polled.
            let _ = polled(ask(&mut calls), places / 2).await;
            drop(ask(&mut calls));
            let answer = ask(&mut calls).await.unwrap();
            let expected = i32::try_from(places.min(2)).unwrap();
            assert_eq!(answer.id.correlation_id, expected, "{places} polls, a pipe of {buffer}");
            assert_eq!(answer.frame[..4], expected.to_be_bytes());
            peer.abort();
            if finished {
                break;
            }
            places += 1;
        }
        assert!(places >= if buffer == 1 { 40 } else { 1 }, "{places} places with a pipe of {buffer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_ends_the_connection_in_time() {
    let (mut calls, mut theirs) = pair(1000);
    let start = tokio::time::Instant::now();
    let failed = ask(&mut calls).await.unwrap_err();
    assert_eq!((start.elapsed(), failed.written), (TIMEOUT, Written::Wholly));
    assert_eq!(failed.error.to_string(), "broker:9092: no answer to Metadata within 30s");
    let again = ask(&mut calls).await.unwrap_err();
    assert_eq!(again.written, Written::Not, "nothing is sent on a connection that has ended");
    read(&mut theirs).await.unwrap();
    drop(calls);
    assert_eq!(read(&mut theirs).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_call_says_how_much_of_it_was_written() {
    let (mut calls, theirs) = pair(5);
    assert_eq!(ask(&mut calls).await.unwrap_err().written, Written::Partly);
    drop(theirs);
    let (mut calls, theirs) = pair(5);
    drop(theirs);
    let failed = ask(&mut calls).await.unwrap_err();
    assert_eq!(failed.written, Written::Not);
    assert!(matches!(failed.error.cause, Cause::Closed { answers: 0, partial: false }), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_too_long_leaves_the_connection_usable() {
    let (mut calls, theirs) = pair(1000);
    let peer = tokio::spawn(echo(theirs));
    let failed = calls.call((Api::Metadata, 9), TIMEOUT, |_| Err(TooLong)).await.unwrap_err();
    assert_eq!(failed.written, Written::Not);
    ask(&mut calls).await.unwrap();
    peer.abort();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_keeps_its_deadline() {
    let (mut calls, mut theirs) = pair(1000);
    assert!(polled(ask(&mut calls), 1).await.is_none());
    tokio::time::advance(TIMEOUT / 2).await;
    let start = tokio::time::Instant::now();
    let failed = ask(&mut calls).await.unwrap_err();
    assert_eq!(start.elapsed(), TIMEOUT / 2);
    assert_eq!(failed.written, Written::Wholly);
    read(&mut theirs).await.unwrap();
}
