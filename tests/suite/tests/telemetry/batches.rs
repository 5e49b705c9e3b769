//! Tests over memory: spans and metrics of batches and streams.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use kafka_tower::{Error, ErrorKind, Persistence, SinkMessage};
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, SpanKind, TraceContextExt, Tracer, TracerProvider};

use crate::support::*;

/// Messages that find no room have an index in the batch, too.
#[tokio::test(start_paused = true)]
async fn an_event_contains_the_messages_index_in_its_batch() {
    let backend = Backend::new();
    let (kafka, sink, hold, first) = full(&backend).await;
    let late = tokio::time::Instant::now() + Duration::from_secs(60);
    let messages = [SinkMessage::new(1), SinkMessage::new(2).with_deadline(late)];
    let mut batch = Box::pin(sink.send_batch(messages));
    assert!(futures_util::poll!(&mut batch).is_pending());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(futures_util::poll!(&mut batch).is_pending());
    let no_leader = Error::new(ErrorKind::Broker, "no leader").with_persistence(Persistence::NotPersisted);
    kafka.script().times(1).fail(no_leader);
    hold.release();
    first.await.unwrap();
    let results = batch.await.unwrap();
    assert!(results[0].is_err() && results[1].is_ok());
    let spans = backend.spans();
    let event = &spans.last().unwrap().events[0];
    let place = event.attributes.iter().find(|attribute| attribute.key.as_str() == "kafka_tower.batch.index").unwrap();
    assert_eq!((event.name.as_ref(), place.value.to_string().as_str()), ("kafka_tower.retry", "1"));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_one_span_with_its_create_spans() {
    let backend = Backend::new();
    let (_kafka, sink) = limited(&backend, 4).await; // less than the batch: it is polled many times
    let request = Context::current_with_span(backend.tracers.tracer("app").start("request"));
    sink.send_batch(0..20).with_context(request.clone()).await.unwrap();
    let spans = backend.spans();
    let send = spans.last().unwrap();
    assert_eq!((spans.len(), send.name.as_ref(), &send.span_kind), (21, "send orders", &SpanKind::Client));
    assert_eq!(attribute(send, "messaging.batch.message_count").as_deref(), Some("20"));
    assert_eq!(send.links.len(), 20);
    let parent = request.span().span_context().span_id();
    assert!(spans.iter().all(|span| span.parent_span_id == parent));
    assert!(spans[..20].iter().all(|span| span.name == "create orders" && span.end_time <= send.end_time));
    let points = backend.points();
    assert_eq!(points["messaging.client.operation.duration orders"], 1.0);
    assert_eq!(points["messaging.client.sent.messages orders"], 20.0);
    assert_eq!(points["kafka_tower.client.batch.messages orders"], 20.0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_finds_no_room_says_how_many_failed() {
    let backend = Backend::new();
    let (kafka, sink) = limited(&backend, 2).await;
    let hold = kafka.script().hold();
    let results = sink.send_batch([1, 2, 3, 4]).await.unwrap();
    assert!(results.iter().all(Result::is_err));
    hold.release();
    let spans = backend.spans();
    let send = spans.last().unwrap();
    assert_eq!(attribute(send, "messaging.batch.message_count").as_deref(), Some("4"));
    assert_eq!(attribute(send, "kafka_tower.batch.failed").as_deref(), Some("4"));
    assert_eq!(attribute(send, "error.type").as_deref(), Some("timeout"));
    assert_eq!(names(&backend).iter().filter(|name| *name == "send orders").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_batch_ends_all_its_spans() {
    let backend = Backend::new();
    let (kafka, sink) = limited(&backend, 2).await;
    let hold = kafka.script().hold();
    let mut batch = sink.send_batch([1, 2, 3, 4]);
    assert!(futures_util::poll!(&mut batch).is_pending());
    drop(batch);
    hold.release();
    assert_eq!(names(&backend), ["create orders", "create orders", "send orders"]);
    let spans = backend.spans();
    assert!(spans.iter().all(|span| attribute(span, "error.type").as_deref() == Some("abandoned")));
    let count = attribute(&spans[2], "messaging.batch.message_count");
    assert_eq!(
        count.as_deref(),
        Some("3"),
        "including the message that waited for room, without those that were not taken from the iterator"
    );
}

#[tokio::test(start_paused = true)]
async fn the_messages_of_a_stream_are_sends_of_their_own() {
    let backend = Backend::new();
    let (_kafka, sink) = limited(&backend, 10).await;
    let results: Vec<_> = sink.send_stream(stream::iter(0..3)).collect().await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(names(&backend), ["send orders"; 3]);
}
