//! Tests of batches.

use crate::support::*;

/// Sends values as a sink's batch does, and finishes the batch.
async fn batch(layer: &TelemetryLayer, orders: &mut Orders, messages: Vec<SinkMessage<String>>) {
    let batch = layer.batch();
    let mut results = Vec::new();
    for message in messages {
        let ready = orders.ready().await.unwrap();
        let mut future = {
            let _current = batch.attach();
            ready.call(message)
        };
        // Attached in each poll, as the sink does.
        let answer = std::future::poll_fn(|cx| {
            let _current = batch.attach();
            future.as_mut().poll(cx)
        });
        results.push(answer.await);
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
async fn a_failure_is_reported_on_the_batch_and_on_the_message() {
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

/// Sends to `orders`, and a copy of each message through another sink.
fn copying(layer: &TelemetryLayer, other: &TelemetryLayer, kafka: &MemoryKafka) -> Orders {
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
    Orders::new(layer.layer(orders))
}

/// A send by a layer below is not a message of the batch.
#[tokio::test]
async fn a_send_within_a_send_does_not_join_the_batch() {
    let (backend, kafka) = (Backend::new(), kafka());
    let telemetry = backend.telemetry();
    let (layer, other) = (telemetry.layer("orders"), telemetry.layer("others"));
    batch(&layer, &mut copying(&layer, &other, &kafka), values(1)).await;
    let create = backend.span("create orders");
    let copy = backend.span("send others");
    assert_eq!(copy.parent_span_id, create.span_context.span_id());
    assert_eq!(links(&backend.span("send orders")), [create.span_context.span_id()]);
}

/// The same if the message has no span of its own, and although the sink is the same.
#[tokio::test]
async fn a_send_within_a_send_without_a_span_does_not_join_the_batch() {
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (create_spans, own, same) in
        [(false, false, false), (false, false, true), (true, true, false), (true, true, true)]
    {
        let (backend, kafka) = (Backend::new(), kafka());
        let telemetry = backend.builder().create_spans(create_spans).build();
        let layer = telemetry.layer("orders");
        let other = if same { layer.clone() } else { telemetry.layer("others") };
        let mut messages = values(1);
        if own {
            messages = vec![SinkMessage::new("x".to_owned()).with_header("traceparent", given)];
        }
        batch(&layer, &mut copying(&layer, &other, &kafka), messages).await;
        let (send, copy) = (backend.span("send orders"), backend.span("send others"));
        assert_eq!(copy.parent_span_id, send.span_context.span_id(), "it is a send of its own below the batch's span");
        assert_eq!(copy.span_kind, SpanKind::Producer);
        assert_eq!(send.links.len(), usize::from(own));
        assert_eq!(
            backend.metric("messaging.client.operation.duration"),
            ["messaging.destination.name=orders: 1", "messaging.destination.name=others: 1"]
        );
    }
}

#[tokio::test]
async fn a_send_within_a_send_that_is_only_measured_does_not_join_the_batch() {
    for same in [false, true] {
        let (backend, kafka) = (Backend::new(), kafka());
        let telemetry = backend.builder().spans(false).build();
        let layer = telemetry.layer("orders");
        let other = if same { layer.clone() } else { telemetry.layer("others") };
        batch(&layer, &mut copying(&layer, &other, &kafka), values(2)).await;
        assert_eq!(
            backend.metric("messaging.client.operation.duration"),
            ["messaging.destination.name=orders: 1", "messaging.destination.name=others: 2"]
        );
    }
}

/// The same if a layer sends it while it is polled for readiness.
#[tokio::test]
async fn another_sinks_send_does_not_join_the_batch() {
    let (backend, kafka) = (Backend::new(), kafka());
    let telemetry = backend.telemetry();
    let (layer, other) = (telemetry.layer("orders"), telemetry.layer("others"));
    let begun = layer.batch();
    let mut copies = other.layer(kafka.transport());
    let copy = {
        let ready = copies.ready().await.unwrap();
        let _current = begun.attach();
        ready.call(Record::new("others"))
    };
    copy.await.unwrap();
    begun.finish(&[]);
    assert!(backend.span("send others").links.is_empty());
    assert!(backend.span("send orders").links.is_empty());
}

/// The same for a send inside another sink's send, although that sink records nothing.
#[tokio::test]
async fn a_send_within_another_sinks_send_does_not_join_the_batch() {
    let (backend, kafka) = (Backend::new(), kafka());
    let measured = backend.builder().spans(false).build();
    let quiet = Telemetry::builder().spans(false).metrics(false).build();
    for _ in 0..2 {
        let layer = measured.layer("orders");
        let begun = layer.batch();
        let mut copies = quiet.layer("copies").layer(layer.layer(kafka.transport()));
        let copy = {
            let ready = copies.ready().await.unwrap();
            let _current = begun.attach();
            ready.call(Record::new("others"))
        };
        copy.await.unwrap();
        begun.finish(&[]);
    }
    assert_eq!(
        backend.metric("messaging.client.operation.duration"),
        ["messaging.destination.name=orders: 2", "messaging.destination.name=others: 2"]
    );
}

#[tokio::test(start_paused = true)]
async fn events_of_messages_without_a_span_are_on_the_batchs_span() {
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (create_spans, own) in [(false, false), (true, true)] {
        let (backend, kafka) = (Backend::new(), kafka());
        let layer = backend.builder().create_spans(create_spans).build().layer("orders");
        kafka.script().after(1).times(1).fail(no_leader());
        kafka.script().after(3).lose_answer();
        let messages = values(4).into_iter().map(|message| match own {
            true => message.with_header("traceparent", given),
            false => message,
        });
        batch(&layer, &mut stack(&layer, &kafka), messages.collect()).await;
        let send = backend.span("send orders");
        let events = events(&send);
        let of = |index: usize| format!("kafka_tower.batch.index={index}");
        assert!(events[0].starts_with("kafka_tower.retry ") && events[0].contains(&of(1)), "{events:?}");
        assert!(events[1].starts_with("kafka_tower.circuit_breaker.transition ") && events[1].contains(&of(2)));
        assert_eq!(events[2..], [format!("kafka_tower.circuit_breaker.rejection {}", of(3))]);
        assert_eq!(attribute(&send, "kafka_tower.batch.failed").as_deref(), Some("2"));
        assert_eq!(attribute(&send, "kafka_tower.attempts"), None, "those of one message are not the batch's");
        assert_eq!(backend.spans().len(), 1);
    }
}

/// An unrecorded send writes no events into the send that contains it.
#[tokio::test(start_paused = true)]
async fn an_unrecorded_send_within_a_send_writes_no_events_into_it() {
    let (backend, kafka) = (Backend::new(), kafka());
    for telemetry in [
        Telemetry::builder().spans(false).metrics(false).build(),
        Telemetry::builder().spans(false).meter_provider(&backend.meters).build(),
    ] {
        let backend = Backend::new();
        let (layer, quiet) = (backend.telemetry().layer("orders"), telemetry.layer("orders"));
        kafka.script().times(1).fail(no_leader());
        let within = stack(&quiet, &kafka);
        let orders = tower::service_fn(move |message: SinkMessage<String>| within.clone().oneshot(message));
        send(&mut Orders::new(layer.layer(orders)), "x".to_owned()).await.unwrap();
        let send = backend.span("send orders");
        assert_eq!((events(&send), attribute(&send, "kafka_tower.attempts")), (Vec::new(), None));
    }
}
