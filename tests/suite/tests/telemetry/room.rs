//! Tests over memory: spans and metrics of sends that wait for room.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use kafka_tower::{Error, ErrorKind, Persistence, SinkMessage};
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry_sdk::trace::SpanData;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_send_that_finds_no_room_has_a_span() {
    let backend = Backend::new();
    let (_, sink, hold, _first) = full(&backend).await;
    let error = sink.send(2).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::NotPersisted));
    let spans = backend.spans();
    let refused = spans.iter().find(|span| span.status == Status::error("not written")).unwrap();
    assert_eq!(attribute(refused, "error.type").as_deref(), Some("timeout"));
    let took = refused.end_time.duration_since(refused.start_time).unwrap();
    assert!(took >= Duration::from_secs(1), "the span covers the wait: {took:?}");

    // And a send that waits and is called.
    let mut third = Box::pin(sink.send(SinkMessage::new(3)));
    assert!(futures_util::poll!(&mut third).is_pending());
    tokio::time::advance(Duration::from_millis(10)).await;
    hold.release();
    third.await.unwrap();
    assert_eq!(backend.points()["kafka_tower.client.queue.duration orders"], 1.0);
}

/// Its span covers the wait and belongs to the caller, as for a send that finds no room in time.
#[tokio::test(start_paused = true)]
async fn a_send_that_waits_until_the_sink_is_closed_has_a_span() {
    let backend = Backend::new();
    let (_, sink, hold, first) = full(&backend).await;
    let request = Context::current_with_span(backend.tracers.tracer("app").start("request"));
    let (mut send, mut streams) = (Box::pin(sink.send(2)), sink.send_stream(stream::iter([3, 4])));
    let mut batch = sink.send_batch([5, 6]);
    {
        let _current = request.clone().attach();
        assert!(futures_util::poll!(&mut send).is_pending());
        assert!(futures_util::poll!(streams.next()).is_pending());
        assert!(futures_util::poll!(&mut batch).is_pending());
    }
    let wait = Duration::from_millis(100);
    tokio::time::advance(wait).await;
    let mut close = Box::pin(sink.close());
    assert!(futures_util::poll!(&mut close).is_pending());
    let send = send.await.unwrap_err();
    let streamed: Vec<_> = streams.map(Result::unwrap_err).collect().await;
    let batch: Vec<_> = batch.await.unwrap().into_iter().map(Result::unwrap_err).collect();
    assert!(batch.iter().chain(&streamed).chain([&send]).all(|error| error.kind() == ErrorKind::Closed));
    assert_eq!(send.elapsed(), Some(wait));
    for errors in [streamed, batch] {
        let took: Vec<_> = errors.iter().map(Error::elapsed).collect();
        assert_eq!(took, [Some(wait), None], "the first one waited, and the other was not taken before");
    }
    let took = |span: &SpanData| span.end_time.duration_since(span.start_time).unwrap();
    let spans = backend.spans();
    let closed: Vec<_> =
        spans.iter().filter(|span| attribute(span, "error.type").as_deref() == Some("closed")).collect();
    let (waited, others): (Vec<_>, Vec<_>) = closed.into_iter().partition(|span| took(span) >= wait);
    assert_eq!((waited.len(), others.len()), (2, 2), "the send and the first of the stream; one of it, and the batch");
    let parent = request.span().span_context().span_id();
    assert_eq!(waited[0].parent_span_id, parent, "the parent is the span of the first poll");
    assert_eq!(backend.durations("messaging.client.operation.duration").1, wait * 3, "{spans:#?}");
    hold.release();
    first.await.unwrap();
    close.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_parent_of_a_send_that_waited_is_the_span_of_its_first_poll() {
    let backend = Backend::new();
    let (_, sink, hold, first) = full(&backend).await;
    let request = Context::current_with_span(backend.tracers.tracer("app").start("request"));
    let mut second = Box::pin(sink.send(2));
    {
        let _current = request.clone().attach();
        assert!(futures_util::poll!(&mut second).is_pending());
    }
    hold.release();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(backend.spans()[1].parent_span_id, request.span().span_context().span_id());
}

/// Each wait is measured from the message's turn until its call.
#[tokio::test(start_paused = true)]
async fn waits_for_room_in_batches_and_streams_are_measured() {
    const QUEUE: &str = "kafka_tower.client.queue.duration";
    let delay = Duration::from_millis(10);
    for streamed in [false, true] {
        let backend = Backend::new();
        let (kafka, sink) = limited(&backend, 1).await;
        kafka.script().always().delay(delay);
        let results = match streamed {
            true => sink.send_stream(stream::iter(0..5)).collect().await,
            false => sink.send_batch(0..5).await.unwrap(),
        };
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(backend.durations(QUEUE), (4, delay * 4), "all but the first, each for the one before: {streamed}");
    }

    // The deadlines of a batch pass together, but a message with a later turn has waited less.
    let backend = Backend::new();
    let (_, sink, hold, first) = full(&backend).await;
    let late = tokio::time::Instant::now() + Duration::from_secs(60);
    let mut batch = Box::pin(sink.send_batch([SinkMessage::new(1), SinkMessage::new(2).with_deadline(late)]));
    assert!(futures_util::poll!(&mut batch).is_pending());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(futures_util::poll!(&mut batch).is_pending());
    tokio::time::advance(Duration::from_secs(3)).await;
    hold.release();
    first.await.unwrap();
    let results = batch.await.unwrap();
    assert!(results[0].is_err() && results[1].is_ok());
    assert_eq!(backend.durations(QUEUE), (1, Duration::from_secs(3)), "sends that were never called are not counted");
}

#[tokio::test(start_paused = true)]
async fn sends_that_do_not_reach_the_stack_are_reported_under_their_own_topic() {
    let backend = Backend::new();
    let (kafka, sink) = limited(&backend, 1).await;
    let own = |value| SinkMessage::new(value).with_topic("others");
    let hold = kafka.script().hold();
    let mut first = Box::pin(sink.send(1));
    assert!(futures_util::poll!(&mut first).is_pending());
    sink.send(own(2)).await.unwrap_err();
    let results: Vec<_> = sink.send_stream(stream::iter([own(3)])).collect().await;
    assert!(results[0].is_err());
    let points = backend.points();
    assert_eq!(points["messaging.client.operation.duration error.type=timeout others"], 2.0);
    assert!(!points.contains_key("messaging.client.operation.duration error.type=timeout orders"));

    let mut waits = Box::pin(sink.send(own(4)));
    assert!(futures_util::poll!(&mut waits).is_pending());
    hold.release();
    first.await.unwrap();
    drop(waits.await); // there is no such topic
    let queued = backend.points();
    assert_eq!(queued["kafka_tower.client.queue.duration others"], 1.0);
    assert!(!queued.contains_key("kafka_tower.client.queue.duration orders"));

    sink.close().await.unwrap();
    sink.send(own(5)).await.unwrap_err();
    assert_eq!(backend.points()["messaging.client.operation.duration error.type=closed others"], 1.0);
    let refused = backend.spans().into_iter().filter(|span| span.name == "send others");
    let refused: Vec<_> = refused.filter_map(|span| attribute(&span, "error.type")).collect();
    assert_eq!(refused[..2], ["timeout", "timeout"]);
    assert_eq!(refused.last().unwrap(), "closed");
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_dropped_while_it_waits_has_a_span() {
    let backend = Backend::new();
    let (_, sink, hold, first) = full(&backend).await;
    let request = Context::current_with_span(backend.tracers.tracer("app").start("request"));
    let mut waits = Box::pin(sink.send(SinkMessage::new(2).with_topic("others")).with_context(request.clone()));
    assert!(futures_util::poll!(&mut waits).is_pending());
    let mut streams = sink.send_stream(stream::iter([SinkMessage::new(3).with_topic("others")]));
    {
        let _current = request.clone().attach();
        assert!(futures_util::poll!(streams.next()).is_pending());
    }
    tokio::time::advance(Duration::from_millis(100)).await;
    drop((waits, streams));
    let spans = backend.spans();
    let dropped: Vec<_> = spans.iter().filter(|span| span.name == "send others").collect();
    assert_eq!(dropped.len(), 2);
    for span in dropped {
        assert_eq!(attribute(span, "error.type").as_deref(), Some("abandoned"));
        assert_eq!(attribute(span, "kafka_tower.persistence").as_deref(), Some("not_persisted"));
        assert_eq!(span.status, Status::error("dropped while it waited for room"));
        assert_eq!(
            span.parent_span_id,
            request.span().span_context().span_id(),
            "the parent is the span of the first poll"
        );
        let took = span.end_time.duration_since(span.start_time).unwrap();
        assert!(took >= Duration::from_millis(100), "the span covers the wait: {took:?}");
    }
    let points = backend.points();
    assert_eq!(points["messaging.client.operation.duration error.type=abandoned others"], 2.0);
    assert!(
        !points.contains_key("messaging.client.sent.messages error.type=abandoned others"),
        "it was not handed to the stack"
    );
    hold.release();
    first.await.unwrap();
    assert_eq!(sink.metrics().await.abandoned, 2);
}
