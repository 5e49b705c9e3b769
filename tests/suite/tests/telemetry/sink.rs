//! Tests over memory: which spans and metrics of a sink reach the backend.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use kafka_tower::memory::{Hold, MemoryKafka};
use kafka_tower::{
    Delivery, DeliveryGuarantee, Error, ErrorKind, KafkaSink, KafkaSinkConfig, Limits, MessageSerializer,
    PartitionStrategy, Persistence, SinkMessage, TransactionBatchOptions, async_trait,
};
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry_sdk::trace::SpanData;

use crate::support::*;

fn config() -> KafkaSinkConfig {
    KafkaSinkConfig { topic: "orders".into(), send_timeout_ms: 1_000, base_backoff_ms: 1, ..Default::default() }
}

async fn limited(backend: &Backend, records: usize) -> (MemoryKafka, KafkaSink<u32>) {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let transport = kafka.transport_with(Limits { records, bytes: 1 << 20 });
    let builder = KafkaSink::builder(config()).transport(transport).telemetry(backend.telemetry());
    (kafka, builder.build().await.unwrap())
}

/// A sink without room until the first send is released.
async fn full(
    backend: &Backend,
) -> (MemoryKafka, KafkaSink<u32>, Hold, impl Future<Output = Result<Delivery, Error>> + Unpin) {
    let (kafka, sink) = limited(backend, 1).await;
    let hold = kafka.script().hold();
    let mut first = sink.send(1);
    assert!(futures_util::poll!(&mut first).is_pending());
    (kafka, sink, hold, first)
}

fn names(backend: &Backend) -> Vec<String> {
    backend.spans().iter().map(|span| span.name.to_string()).collect()
}

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
async fn transactions_have_spans_that_sends_link_to() {
    let backend = Backend::new();
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let config = KafkaSinkConfig { enable_transactions: true, transactional_id: Some("orders-1".into()), ..config() };
    let sink = KafkaSink::<u32>::builder(config)
        .transport(kafka.transactional_transport("orders-1"))
        .telemetry(backend.telemetry())
        .build()
        .await
        .unwrap();
    sink.begin_transaction().await.unwrap();
    sink.send_batch([1, 2]).await.unwrap();
    sink.send(3).await.unwrap();
    sink.commit_transaction().await.unwrap();
    sink.begin_transaction().await.unwrap();
    sink.send(4).await.unwrap();
    let faulty = sink.clone().with_delivery_guarantee(DeliveryGuarantee::AtMostOnce);
    faulty.send(5).await.unwrap_err(); // linked, although it was never part of the transaction
    sink.abort_transaction().await.unwrap();

    let spans = backend.spans();
    let outcomes: Vec<_> = spans.iter().filter_map(|span| attribute(span, "kafka_tower.transaction.outcome")).collect();
    assert_eq!(outcomes, ["committed", "aborted"]);
    let transactions: Vec<_> = spans.iter().filter(|span| span.name == "transaction").collect();
    let events = |span: &&SpanData| span.events.iter().map(|event| event.name.to_string()).collect::<Vec<_>>();
    let named = |call| ["begin", call].map(|name| format!("kafka_tower.transaction.{name}"));
    assert_eq!(transactions.iter().map(events).collect::<Vec<_>>(), [named("commit"), named("abort")]);
    let linked = |id| {
        let sends = spans.iter().filter(|span| span.name == "send orders");
        sends.filter(|span| span.links.iter().any(|link| link.span_context.span_id() == id)).count()
    };
    assert_eq!(transactions.iter().map(|span| linked(span.span_context.span_id())).collect::<Vec<_>>(), [2, 2]);
    let messages: Vec<_> =
        transactions.iter().map(|span| attribute(span, "kafka_tower.transaction.messages").unwrap()).collect();
    assert_eq!(
        messages,
        ["3", "1"],
        "messages of batches count one by one; sends that did not reach the stack do not count"
    );
    let points = backend.points();
    assert!(!points.contains_key("kafka_tower.circuit_breaker.state orders"), "there is no breaker");
    assert_eq!(points["kafka_tower.transactions orders transaction.outcome=committed"], 1.0);
    assert_eq!(points["kafka_tower.transactions orders transaction.outcome=aborted"], 1.0);
    assert_eq!(points["kafka_tower.transaction.duration orders transaction.outcome=aborted"], 1.0);
}

/// The control handle of a sink has the sink's transactions, not the transport's own.
#[tokio::test(start_paused = true)]
async fn transactions_of_the_control_handle_have_spans_too() {
    let backend = Backend::new();
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let config = KafkaSinkConfig { enable_transactions: true, transactional_id: Some("orders-1".into()), ..config() };
    let builder = KafkaSink::<u32>::builder(config).transport(kafka.transactional_transport("orders-1"));
    let sink = builder.telemetry(backend.telemetry()).build().await.unwrap();
    let transactions = sink.control().transactions().unwrap();
    transactions.begin(Duration::from_secs(1)).await.unwrap();
    sink.send(1).await.unwrap();
    transactions.commit(Duration::from_secs(1)).await.unwrap();
    transactions.begin(Duration::from_secs(1)).await.unwrap();
    transactions.abort(Duration::from_secs(1)).await.unwrap();
    let spans = backend.spans();
    let outcomes: Vec<_> = spans.iter().filter_map(|span| attribute(span, "kafka_tower.transaction.outcome")).collect();
    assert_eq!(outcomes, ["committed", "aborted"]);
}

struct Never;

#[async_trait]
impl MessageSerializer<u32> for Never {
    async fn serialize(&self, _: &u32) -> Result<Vec<u8>, Error> {
        std::future::pending().await
    }
}

/// The transport was not asked to commit, so the end of the transaction is known.
#[tokio::test(start_paused = true)]
async fn a_refused_commit_is_not_reported_as_unknown() {
    let backend = Backend::new();
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let config = KafkaSinkConfig { enable_transactions: true, transactional_id: Some("orders-1".into()), ..config() };
    let builder = KafkaSink::<u32>::builder(config).transport(kafka.transactional_transport("orders-1"));
    let builder = builder.serializer(Arc::new(Never)).telemetry(backend.telemetry());
    let sink = builder.build().await.unwrap();
    sink.begin_transaction().await.unwrap();
    let mut send = Box::pin(sink.send(1));
    assert!(futures_util::poll!(&mut send).is_pending());
    let error = sink.commit_transaction().await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::NotPersisted));
    drop(send);
    drop(sink);
    let spans = backend.spans();
    let transaction = spans.iter().find(|span| span.name == "transaction").unwrap();
    assert_eq!(attribute(transaction, "kafka_tower.transaction.outcome").as_deref(), Some("aborted"));
    let events: Vec<_> = transaction.events.iter().map(|event| (&*event.name, event.attributes.is_empty())).collect();
    let refused = ("kafka_tower.transaction.commit", false);
    assert_eq!(events, [("kafka_tower.transaction.begin", true), refused], "the refusal is recorded with its reason");
}

/// A close that continues a commit without an answer: the span ends with the close, as a commit.
#[tokio::test(start_paused = true)]
async fn a_close_ends_the_span_of_a_commit_in_doubt() {
    use kafka_tower::memory::TransactionCall;

    let backend = Backend::new();
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let config = KafkaSinkConfig { enable_transactions: true, transactional_id: Some("orders-1".into()), ..config() };
    let builder = KafkaSink::<u32>::builder(config).transport(kafka.transactional_transport("orders-1"));
    let sink = builder.telemetry(backend.telemetry()).build().await.unwrap();
    sink.begin_transaction().await.unwrap();
    sink.send(1).await.unwrap();
    kafka.script_transactions().on(TransactionCall::Commit).always().lose_answer();
    sink.commit_transaction().await.unwrap_err();
    sink.close_within(Duration::from_secs(1)).await.unwrap_err();
    let spans = backend.spans();
    let transaction = spans.iter().find(|span| span.name == "transaction").expect("the close ends the span");
    assert_eq!(attribute(transaction, "kafka_tower.transaction.outcome").as_deref(), Some("unknown"));
    let aborts = transaction.events.iter().filter(|event| event.name == "kafka_tower.transaction.abort").count();
    assert_eq!(aborts, 0, "nothing was aborted");
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

/// Each send has its span, and the transaction that they share links to them.
#[tokio::test(start_paused = true)]
async fn shared_transactions_are_reported() {
    let (backend, kafka) = (Backend::new(), MemoryKafka::new().with_topic("orders", 1));
    let config = KafkaSinkConfig::exactly_once("memory", "orders", "id");
    let lanes = kafka.clone();
    let builder = KafkaSink::<u32>::builder(config)
        .telemetry(backend.telemetry())
        .transaction_batch_over(TransactionBatchOptions::new(), move |id: &str| lanes.transactional_transport(id));
    let sink = builder.build().await.unwrap();
    let (first, second) = tokio::join!(sink.send(1), sink.send(2));
    first.and(second).unwrap();
    let (mut sends, transactions): (Vec<_>, Vec<_>) =
        backend.spans().into_iter().partition(|span| span.name == "send orders");
    assert_eq!((sends.len(), transactions.len()), (2, 1));
    let mut linked: Vec<_> = transactions[0].links.iter().map(|link| link.span_context.span_id()).collect();
    linked.sort_by_key(ToString::to_string);
    sends.sort_by_key(|span| span.span_context.span_id().to_string());
    assert_eq!(linked, sends.iter().map(|span| span.span_context.span_id()).collect::<Vec<_>>());
    let committed = |(name, value): (&String, &f64)| {
        name.starts_with("kafka_tower.transactions ") && name.contains("committed") && *value == 1.0
    };
    assert!(backend.points().iter().any(committed), "{:?}", backend.points());
}
