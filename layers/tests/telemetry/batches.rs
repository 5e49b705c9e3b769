//! Many messages with one call.

use crate::support::*;

/// Sends values as a batch would, and finishes it.
async fn batch(layer: &TelemetryLayer, orders: &mut Orders, messages: Vec<SinkMessage<String>>) {
    let batch = layer.batch();
    let mut results = Vec::new();
    for message in messages {
        let ready = orders.ready().await.unwrap();
        let future = {
            let _current = batch.attach();
            ready.call(message)
        };
        results.push(future.await);
    }
    batch.finish(&results);
}

fn values(count: usize) -> Vec<SinkMessage<String>> {
    (0..count).map(|value| SinkMessage::new(value.to_string())).collect()
}

#[tokio::test]
async fn a_batch_is_one_span_that_links_to_its_messages() {
    let (backend, kafka) = (Backend::new(), kafka());
    let layer = backend.telemetry().layer("orders");
    let request = Context::current_with_span(backend.tracers.tracer("app").start("request"));
    let _current = request.clone().attach();
    batch(&layer, &mut stack(&layer, &kafka), values(3)).await;

    let spans = backend.spans();
    let (send, creates): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.name == "send orders");
    let [send] = send[..] else { panic!("{spans:?}") };
    assert_eq!((&send.span_kind, creates.len()), (&SpanKind::Client, 3));
    assert_eq!(attribute(send, "messaging.batch.message_count").as_deref(), Some("3"));
    assert_eq!(attribute(send, "messaging.destination.name").as_deref(), Some("orders"));
    let parent = request.span().span_context().span_id();
    let mut made = Vec::new();
    for (create, offset) in creates.iter().zip(0..) {
        assert_eq!((create.name.as_ref(), &create.span_kind), ("create orders", &SpanKind::Producer));
        assert_eq!((create.parent_span_id, send.parent_span_id), (parent, parent), "beside each other");
        assert_eq!(attribute(create, "messaging.operation.type").as_deref(), Some("create"));
        assert_eq!(attribute(create, "messaging.kafka.offset"), Some(offset.to_string()));
        assert_eq!(attribute(create, "messaging.batch.message_count"), None);
        let header = kafka.records("orders")[offset].record.headers.get("traceparent").cloned().unwrap();
        let id = create.span_context.span_id();
        assert!(std::str::from_utf8(&header).unwrap().contains(&id.to_string()));
        made.push(id);
    }
    assert_eq!(links(send), made);
    assert_eq!(backend.metric("messaging.client.operation.duration"), ["messaging.destination.name=orders: 1"]);
    assert_eq!(backend.metric("messaging.client.sent.messages"), ["messaging.destination.name=orders: 3"]);
    assert_eq!(backend.metric("kafka_tower.client.batch.messages"), ["messaging.destination.name=orders: 1"]);
}

#[tokio::test]
async fn without_create_spans_the_messages_carry_the_batchs_context() {
    let (backend, kafka) = (Backend::new(), kafka());
    let layer = backend.builder().create_spans(false).build().layer("orders");
    batch(&layer, &mut stack(&layer, &kafka), values(2)).await;
    let span = backend.span("send orders");
    assert_eq!((&span.span_kind, span.links.len()), (&SpanKind::Producer, 0));
    for record in kafka.records("orders") {
        let header = record.record.headers.get("traceparent").cloned().unwrap();
        assert!(std::str::from_utf8(&header).unwrap().contains(&span.span_context.span_id().to_string()));
    }
}

#[tokio::test]
async fn a_message_with_a_context_is_linked_and_has_no_create_span() {
    let (backend, kafka) = (Backend::new(), kafka());
    let layer = backend.telemetry().layer("orders");
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let message = SinkMessage::new("x".to_owned()).with_header("traceparent", given);
    batch(&layer, &mut stack(&layer, &kafka), vec![message]).await;
    let span = backend.span("send orders");
    assert_eq!(backend.spans().len(), 1);
    assert_eq!(links(&span)[0].to_string(), "00f067aa0ba902b7");
    assert_eq!(kafka.records("orders")[0].record.headers.get("traceparent").unwrap(), given);
}

#[tokio::test]
async fn a_batch_of_many_topics_names_none() {
    let (backend, kafka) = (Backend::new(), kafka());
    let layer = backend.telemetry().layer("orders");
    let mut messages = values(1);
    messages.push(SinkMessage::new("x".to_owned()).with_topic("others"));
    batch(&layer, &mut stack(&layer, &kafka), messages).await;
    let span = backend.span("send");
    assert_eq!(attribute(&span, "messaging.destination.name"), None);
    assert_eq!(attribute(&span, "messaging.batch.message_count").as_deref(), Some("2"));
    assert!(backend.spans().iter().any(|span| span.name == "create others"));
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_told_of_the_batch_and_of_the_message() {
    let (backend, kafka) = (Backend::new(), kafka());
    let layer = backend.telemetry().layer("orders");
    kafka.script().after(1).times(1).fail(no_leader());
    kafka
        .script()
        .after(3)
        .lose_answer_with(Error::new(ErrorKind::Broker, "lost").with_error_type("REQUEST_TIMED_OUT"));
    batch(&layer, &mut stack(&layer, &kafka), values(3)).await;
    let send = backend.span("send orders");
    assert_eq!(attribute(&send, "error.type").as_deref(), Some("REQUEST_TIMED_OUT"));
    assert_eq!(attribute(&send, "kafka_tower.batch.failed").as_deref(), Some("1"));
    assert_eq!(send.status, Status::error("may have been written"));
    let events = events(&send);
    assert!(
        events[0].starts_with("kafka_tower.retry ") && events[0].contains("kafka_tower.batch.index=1 "),
        "{events:?}"
    );
    assert!(events[1].starts_with("kafka_tower.circuit_breaker.transition kafka_tower.batch.index=2 "), "{events:?}");
    let failed: Vec<_> = backend.spans().iter().filter_map(|span| attribute(span, "error.type")).collect();
    assert_eq!(failed, ["REQUEST_TIMED_OUT", "REQUEST_TIMED_OUT"]);
}

#[tokio::test]
async fn a_dropped_batch_ends_as_abandoned() {
    let backend = Backend::new();
    let layer = backend.telemetry().layer("orders");
    drop(layer.batch());
    assert_eq!(attribute(&backend.span("send orders"), "error.type").as_deref(), Some("abandoned"));
}

/// What a layer below sends by itself is no message of the batch.
#[tokio::test]
async fn a_send_within_a_send_does_not_join_the_batch() {
    let (backend, kafka) = (Backend::new(), kafka());
    let telemetry = backend.telemetry();
    let (layer, other) = (telemetry.layer("orders"), telemetry.layer("others"));
    let copies = other.layer(kafka.transport());
    let transport = kafka.transport();
    let orders = tower::service_fn(move |message: SinkMessage<String>| {
        let (mut copies, transport) = (copies.clone(), transport.clone());
        async move {
            copies.ready().await?.call(Record::new("others")).await?;
            let value = message.into_parts().0.unwrap();
            transport.oneshot(Record::new("orders").with_value(value)).await
        }
    });
    batch(&layer, &mut Orders::new(layer.layer(orders)), values(1)).await;
    let create = backend.span("create orders");
    let copy = backend.span("send others");
    assert_eq!(copy.parent_span_id, create.span_context.span_id());
    assert_eq!(links(&backend.span("send orders")), [create.span_context.span_id()]);
}
