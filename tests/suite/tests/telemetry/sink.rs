//! Tests over memory: which spans and metrics of single sends and of the breaker reach the backend.

use std::sync::Arc;

use kafka_tower::memory::MemoryKafka;
use kafka_tower::{Error, ErrorKind, KafkaSink, PartitionStrategy, Persistence};
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, TraceContextExt, Tracer, TracerProvider};

use crate::support::*;

/// Two sinks for one topic share a meter, but each has its own breaker.
#[tokio::test(start_paused = true)]
async fn of_two_breakers_for_a_topic_the_worse_state_is_reported() {
    let backend = Backend::new();
    let telemetry = backend.telemetry();
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let open = || KafkaSink::<u32>::builder(config()).transport(kafka.transport()).telemetry(telemetry.clone()).build();
    let sinks = [open().await.unwrap(), open().await.unwrap()];
    for sink in &sinks {
        let breaker = sink.circuit_breaker().unwrap();
        breaker.force_open();
        sink.send(1).await.unwrap_err();
        assert_eq!(backend.points()["kafka_tower.circuit_breaker.state orders"], 2.0);
        breaker.force_closed();
        sink.send(1).await.unwrap();
        assert_eq!(backend.points()["kafka_tower.circuit_breaker.state orders"], 0.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_is_a_child_of_its_callers_span() {
    let backend = Backend::new();
    let (kafka, sink) = limited(&backend, 10).await;
    let request = Context::current_with_span(backend.tracers.tracer("app").start("request"));
    sink.send(7).with_context(request.clone()).await.unwrap();
    let span = &backend.spans()[0];
    assert_eq!(span.name, "send orders");
    assert_eq!(span.parent_span_id, request.span().span_context().span_id());
    let header = kafka.records("orders")[0].record.headers.get("traceparent").cloned().unwrap();
    assert!(std::str::from_utf8(&header).unwrap().contains(&span.span_context.span_id().to_string()));
    let points = backend.points();
    assert_eq!(points["messaging.client.operation.duration orders"], 1.0);
    assert_eq!(points["messaging.client.sent.messages orders"], 1.0);
    assert_eq!(points["kafka_tower.client.in_flight.records"], 0.0);
    assert_eq!(points["kafka_tower.circuit_breaker.state orders"], 0.0);
    assert_eq!(sink.metrics().await.messages_sent, 1, "the snapshot counts as well");
}

/// A rebuilt sink still makes spans, and reports retries and the breaker.
#[tokio::test(start_paused = true)]
async fn a_rebuilt_sink_keeps_its_telemetry() {
    let backend = Backend::new();
    let (kafka, sink) = limited(&backend, 10).await;
    let sink = sink.with_partition_strategy(PartitionStrategy::RoundRobin);
    let no_leader = Error::new(ErrorKind::Broker, "no leader").with_persistence(Persistence::NotPersisted);
    kafka.script().times(2).fail(no_leader);
    sink.send(7).await.unwrap();
    let spans = backend.spans();
    let events: Vec<_> = spans[0].events.iter().map(|event| event.name.to_string()).collect();
    assert_eq!(events, ["kafka_tower.retry", "kafka_tower.retry"]);
    assert_eq!(attribute(&spans[0], "kafka_tower.attempts").as_deref(), Some("3"));
    sink.circuit_breaker().unwrap().force_open();
    sink.send(8).await.unwrap_err();
    let points = backend.points();
    assert_eq!(points["kafka_tower.client.retries error.type=broker orders retry.isolated=false"], 2.0);
    assert_eq!(points["kafka_tower.circuit_breaker.state orders"], 2.0);
    assert_eq!(points["kafka_tower.circuit_breaker.transitions circuit_breaker.state=forced_open orders"], 1.0);
    assert_eq!(points["kafka_tower.circuit_breaker.rejections orders"], 1.0);
    assert_eq!(points["messaging.client.operation.duration error.type=circuit_open orders"], 1.0);
}

#[tokio::test]
async fn sends_to_a_closed_sink_have_spans() {
    let backend = Backend::new();
    let (_kafka, sink) = limited(&backend, 1).await;
    sink.close().await.unwrap();
    sink.send(1).await.unwrap_err();
    assert_eq!(attribute(&backend.spans()[0], "error.type").as_deref(), Some("closed"));
    assert!(!backend.points().contains_key("messaging.client.sent.messages error.type=closed orders"));
}

#[tokio::test(start_paused = true)]
async fn a_users_own_hook_is_called_for_retries() {
    use std::sync::atomic::{AtomicU32, Ordering};

    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let last = Arc::new(AtomicU32::new(0));
    let heard = Arc::clone(&last);
    let sink = KafkaSink::<u32>::builder(config())
        .transport(kafka.transport())
        .on_retry(move |event| heard.store(event.attempt, Ordering::Relaxed))
        .build()
        .await
        .unwrap();
    kafka.script().times(2).fail(Error::new(ErrorKind::Broker, "no").with_persistence(Persistence::NotPersisted));
    sink.send(7).await.unwrap();
    assert_eq!((last.load(Ordering::Relaxed), sink.metrics().await.retries), (2, 2));
}
