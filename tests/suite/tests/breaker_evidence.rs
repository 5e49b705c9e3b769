//! What the circuit breaker of a sink takes as evidence that Kafka is ill, and what it does not.
#![allow(clippy::unwrap_used)] // a test may fail

use std::time::Duration;

use kafka_tower::layers::ServiceBuilderExt;
use kafka_tower::layers::circuit_breaker::{CircuitBreakerLayer, CircuitState};
use kafka_tower::memory::MemoryKafka;
use kafka_tower::{BoxError, Error, ErrorKind, KafkaSink, KafkaSinkConfig, Persistence, Record, Recovery};
use tower::ServiceBuilder;

/// A stack of the user's own whose filter lets at most 10 bytes through.
fn filtered(kafka: &MemoryKafka, refusal: fn() -> BoxError) -> KafkaSink<String> {
    let transport = kafka.transport();
    let control = transport.control();
    let stack = ServiceBuilder::new()
        .serialize_json("orders")
        .circuit_breaker(CircuitBreakerLayer::default())
        .filter(move |record: Record| if record.size() > 10 { Err(refusal()) } else { Ok(record) })
        .service(transport);
    KafkaSink::from_service(stack, control, Duration::from_secs(5))
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_users_layer_is_neutral() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let sink = filtered(&kafka, || std::io::Error::other(Error::refused("more than 10 bytes")).into());
    for _ in 0..20 {
        let error = sink.send("x".repeat(20)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.persistence(), error.recovery(), error.message()),
            (ErrorKind::Refused, Persistence::NotPersisted, Recovery::Reject, "more than 10 bytes")
        );
    }
    sink.send("ok".to_owned()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_foreign_error_may_have_been_written() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let sink = filtered(&kafka, || "more than 10 bytes".into());
    let error = sink.send("x".repeat(20)).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Unknown, Persistence::PossiblyPersisted));
    assert_eq!(error.kind().to_string(), "unknown");
    assert_eq!(error.error_type(), "_OTHER", "what OpenTelemetry calls it");
    sink.send("ok".to_owned()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_layer_of_the_builder_refuses() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let config = KafkaSinkConfig { topic: "orders".into(), ..Default::default() };
    let limit = tower::layer::layer_fn(|inner| {
        let refuse = |message: kafka_tower::SinkMessage<String>| match message.value() {
            Some(value) if value.len() > 10 => Err(BoxError::from(Error::refused("more than 10 bytes"))),
            _ => Ok(message),
        };
        tower::filter::Filter::new(inner, refuse)
    });
    let sink = KafkaSink::<String>::builder(config).layer(limit).transport(kafka.transport()).build().await.unwrap();
    for _ in 0..20 {
        let error = sink.send("x".repeat(20)).await.unwrap_err();
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Refused, Persistence::NotPersisted));
    }
    assert_eq!(sink.circuit_breaker().unwrap().state(), CircuitState::Closed);
    sink.send("ok".to_owned()).await.unwrap();
}
