//! Tests of the contents of a send's span.

use crate::support::*;

#[tokio::test]
async fn a_delivery_has_the_names_of_the_conventions() {
    let (backend, kafka) = (Backend::new(), kafka());
    let telemetry = backend.builder().client_id("shop-1").server("kafka.example", Some(9092)).build();
    send(&mut stack(&telemetry.layer("orders"), &kafka), "first".to_owned()).await.unwrap();

    let span = backend.span("send orders");
    assert_eq!(
        attributes(&span),
        [
            "messaging.system=kafka",
            "messaging.operation.name=send",
            "messaging.operation.type=send",
            "messaging.destination.name=orders",
            "messaging.client.id=shop-1",
            "server.address=kafka.example",
            "server.port=9092",
            "messaging.destination.partition.id=0",
            "messaging.kafka.offset=0",
        ]
    );
    assert_eq!((span.span_kind, &span.status), (SpanKind::Producer, &Status::Unset));
    assert!(span.events.is_empty() && span.links.is_empty());
    let scope = &span.instrumentation_scope;
    assert_eq!((scope.name(), scope.version()), ("kafka-tower", Some(env!("CARGO_PKG_VERSION"))));
    assert_eq!(scope.schema_url(), Some("https://opentelemetry.io/schemas/1.44.0"));
}

#[tokio::test]
async fn the_newer_names_are_used_on_request() {
    let backend = Backend::new();
    let telemetry = backend.builder().semconv(semconv::Semconv::V1_45).message_key(true).build();
    send(&mut stack(&telemetry.layer("orders"), &kafka()), SinkMessage::tombstone("42")).await.unwrap();
    let span = backend.span("send orders");
    assert_eq!(
        attributes(&span),
        [
            "messaging.system.name=kafka",
            "messaging.operation.name=send",
            "messaging.operation.type=send",
            "messaging.destination.name=orders",
            "kafka.message.tombstone=true",
            "kafka.message.key=42",
            "messaging.destination.partition.id=0",
            "kafka.offset=0",
        ]
    );
    assert_eq!(span.instrumentation_scope.schema_url(), Some("https://opentelemetry.io/schemas/1.45.0"));
}

#[tokio::test]
async fn both_names_are_used_on_request() {
    let backend = Backend::new();
    let telemetry = backend.builder().semconv(semconv::Semconv::Both).build();
    send(&mut stack(&telemetry.layer("orders"), &kafka()), "first".to_owned()).await.unwrap();
    let span = backend.span("send orders");
    for renamed in [semconv::SYSTEM, semconv::KAFKA_OFFSET] {
        assert_eq!(attribute(&span, renamed.v1_44), attribute(&span, renamed.v1_45));
        assert!(attribute(&span, renamed.v1_44).is_some());
    }
}

#[tokio::test]
async fn a_key_is_shown_only_on_request_and_only_if_it_is_text() {
    for (show, key, shown) in [(false, &b"ada"[..], None), (true, b"ada", Some("ada")), (true, b"\xff\x00", None)] {
        let backend = Backend::new();
        let telemetry = backend.builder().message_key(show).build();
        let message = SinkMessage::new("x".to_owned()).with_key(key);
        send(&mut stack(&telemetry.layer("orders"), &kafka()), message).await.unwrap();
        assert_eq!(attribute(&backend.span("send orders"), "messaging.kafka.message.key").as_deref(), shown);
    }
}

#[tokio::test]
async fn a_span_has_the_messages_own_topic() {
    let backend = Backend::new();
    let message = SinkMessage::new("x".to_owned()).with_topic("others");
    send(&mut stack(&backend.telemetry().layer("orders"), &kafka()), message).await.unwrap();
    assert_eq!(attribute(&backend.span("send others"), "messaging.destination.name").as_deref(), Some("others"));
}

#[tokio::test]
async fn the_parent_is_the_callers_span() {
    let (backend, kafka) = (Backend::new(), kafka());
    let mut orders = stack(&backend.telemetry().layer("orders"), &kafka);
    let ready = orders.ready().await.unwrap();
    let request = Context::current_with_span(backend.tracers.tracer("app").start("request"));
    let future = {
        let _current = request.clone().attach();
        ready.call(SinkMessage::new("x".to_owned()))
    };
    // Polled without the request's context: the context of the call counts.
    future.await.unwrap();
    let span = backend.span("send orders");
    assert_eq!(span.parent_span_id, request.span().span_context().span_id());
    assert_eq!(span.span_context.trace_id(), request.span().span_context().trace_id());
}

#[tokio::test(start_paused = true)]
async fn each_further_attempt_is_an_event() {
    let (backend, kafka) = (Backend::new(), kafka());
    kafka.script().times(2).fail(no_leader());
    send(&mut stack(&backend.telemetry().layer("orders"), &kafka), "x".to_owned()).await.unwrap();
    let span = backend.span("send orders");
    let events = events(&span);
    assert_eq!(events.len(), 2, "{events:?}");
    for (event, attempt) in events.iter().zip(1..) {
        assert!(event.starts_with("kafka_tower.retry error.type=NOT_LEADER_OR_FOLLOWER"), "{event}");
        assert!(event.contains("kafka_tower.persistence=not_persisted kafka_tower.retry.attempt="), "{event}");
        assert!(event.contains(&format!("kafka_tower.retry.attempt={attempt} kafka_tower.retry.delay=0.")), "{event}");
        assert!(event.ends_with("kafka_tower.retry.isolated=false"), "{event}");
    }
    assert_eq!(attribute(&span, "kafka_tower.attempts").as_deref(), Some("3"));
    assert_eq!(span.status, Status::Unset);
}

#[tokio::test(start_paused = true)]
async fn a_failure_has_its_error_type_and_persistence() {
    let (backend, kafka) = (Backend::new(), kafka());
    kafka.script().lose_answer_with(Error::new(ErrorKind::Broker, "lost").with_error_type("REQUEST_TIMED_OUT"));
    send(&mut stack(&backend.telemetry().layer("orders"), &kafka), "x".to_owned()).await.unwrap_err();
    let span = backend.span("send orders");
    assert_eq!(attribute(&span, "error.type").as_deref(), Some("REQUEST_TIMED_OUT"));
    assert_eq!(attribute(&span, "kafka_tower.persistence").as_deref(), Some("possibly_persisted"));
    assert_eq!(span.status, Status::error("may have been written"));
    assert_eq!(
        events(&span),
        [
            "kafka_tower.circuit_breaker.transition kafka_tower.circuit_breaker.from=closed kafka_tower.circuit_breaker.state=open"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_text_of_an_error_is_shown_only_on_request() {
    let (backend, kafka) = (Backend::new(), kafka());
    kafka.script().lose_answer_with(Error::new(ErrorKind::Broker, "lost"));
    let telemetry = backend.builder().error_text(true).build();
    send(&mut stack(&telemetry.layer("orders"), &kafka), "x".to_owned()).await.unwrap_err();
    assert_eq!(backend.span("send orders").status, Status::error("lost (may have been written)"));
}

#[tokio::test]
async fn a_rejection_by_the_breaker_is_an_event() {
    let (backend, kafka) = (Backend::new(), kafka());
    kafka.script().lose_answer();
    let mut orders = stack(&backend.telemetry().layer("orders"), &kafka);
    send(&mut orders, "x".to_owned()).await.unwrap_err();
    send(&mut orders, "y".to_owned()).await.unwrap_err();
    let refused = &backend.spans()[1];
    assert_eq!(attribute(refused, "error.type").as_deref(), Some("circuit_open"));
    assert_eq!(refused.status, Status::error("not written"));
    assert_eq!(events(refused), ["kafka_tower.circuit_breaker.rejection "]);
}

#[tokio::test]
async fn a_dropped_future_ends_its_span() {
    let (backend, kafka) = (Backend::new(), kafka());
    let hold = kafka.script().hold();
    let mut orders = stack(&backend.telemetry().layer("orders"), &kafka);
    let future = orders.ready().await.unwrap().call(SinkMessage::new("x".to_owned()));
    assert!(backend.spans().is_empty());
    drop(future);
    let span = backend.span("send orders");
    assert_eq!(attribute(&span, "error.type").as_deref(), Some("abandoned"));
    assert_eq!(attribute(&span, "kafka_tower.persistence").as_deref(), Some("possibly_persisted"));
    assert_eq!(span.status, Status::error("dropped before its answer"));
    hold.release();
}

#[tokio::test]
async fn a_send_that_was_not_called_has_a_span_of_its_wait() {
    let backend = Backend::new();
    let layer = backend.telemetry().layer("orders");
    let error = Error::new(ErrorKind::Timeout, "no room").with_persistence(Persistence::NotPersisted);
    layer.record_refused(None, Duration::from_secs(3), &error);
    let span = backend.span("send orders");
    assert_eq!(attribute(&span, "error.type").as_deref(), Some("timeout"));
    assert!(span.end_time.duration_since(span.start_time).unwrap() >= Duration::from_secs(3));
    assert_eq!(
        backend.metric("messaging.client.operation.duration"),
        ["error.type=timeout messaging.destination.name=orders: 1"]
    );
    assert!(backend.metric("messaging.client.sent.messages").is_empty(), "nothing was sent");
}

#[tokio::test]
async fn suppression_creates_no_span() {
    let (backend, kafka) = (Backend::new(), kafka());
    let mut orders = stack(&backend.telemetry().layer("orders"), &kafka);
    let ready = orders.ready().await.unwrap();
    let future = {
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        ready.call(SinkMessage::new("x".to_owned()))
    };
    future.await.unwrap();
    assert!(backend.spans().is_empty());
    assert!(kafka.records("orders")[0].record.headers.is_empty());
    // A send that is not suppressed still has a span: suppression does not mark the tracer as no-op.
    send(&mut orders, "y".to_owned()).await.unwrap();
    assert_eq!(backend.spans().len(), 1);
}

/// A suppressed context is not passed on either if there is neither tracer nor meter.
#[tokio::test]
async fn suppression_writes_no_headers() {
    let (backend, kafka) = (Backend::new(), kafka());
    let request = Context::current_with_span(backend.tracers.tracer("app").start("request"));
    let quiet = Telemetry::builder().spans(false).metrics(false).propagator(TraceContextPropagator::new()).build();
    let mut orders = stack(&quiet.layer("orders"), &kafka);
    for (place, context) in [request.with_telemetry_suppressed(), request].into_iter().enumerate() {
        let ready = orders.ready().await.unwrap();
        let future = {
            let _current = context.attach();
            ready.call(SinkMessage::new("x".to_owned()))
        };
        future.await.unwrap();
        assert_eq!(kafka.records("orders")[place].record.headers.contains("traceparent"), place == 1);
    }
}
