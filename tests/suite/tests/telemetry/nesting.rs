//! Nesting of this library's spans and those of an application that uses `tracing` with tracing-opentelemetry.

use kafka_tower::memory::MemoryKafka;
use kafka_tower::{KafkaSink, KafkaSinkConfig, MessageSerializer, Result, SinkMessage, async_trait};
use opentelemetry::trace::{SpanId, TracerProvider as _};
use opentelemetry_sdk::trace::SpanData;
use tracing::Instrument as _;
use tracing::instrument::WithSubscriber as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::*;

/// A serializer that asks a schema registry, in a span of `tracing`, and waits for the answer.
struct Registry;

#[async_trait]
impl MessageSerializer<u32> for Registry {
    async fn serialize(&self, message: &u32) -> Result<Vec<u8>> {
        let schema = async {
            tokio::task::yield_now().await;
            tracing::info_span!("parse").in_scope(|| {});
        };
        schema.instrument(tracing::info_span!("look up")).await;
        // Runs in a later poll than the first one, which was inside `call`.
        Ok(tracing::info_span!("encode").in_scope(|| message.to_string().into_bytes()))
    }
}

/// Runs within a span of the application, with the bridge set up as in its `main`.
async fn bridged(backend: &Backend, run: impl Future<Output = ()>) -> Vec<SpanData> {
    let bridge = tracing_opentelemetry::layer().with_tracer(backend.tracers.tracer("app"));
    // The span is created only after the bridge is set up.
    let request = async { run.instrument(tracing::info_span!("request")).await };
    request.with_subscriber(tracing_subscriber::registry().with(bridge)).await;
    backend.spans()
}

async fn sink(backend: &Backend) -> KafkaSink<u32> {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let config = KafkaSinkConfig { topic: "orders".into(), ..Default::default() };
    let builder = KafkaSink::builder(config).serializer(std::sync::Arc::new(Registry)).transport(kafka.transport());
    builder.telemetry(backend.telemetry()).build().await.unwrap()
}

/// Returns the names from a span up to the root.
fn path(spans: &[SpanData], name: &str) -> String {
    let mut at = spans.iter().find(|span| span.name == name);
    let mut path = Vec::new();
    while let Some(span) = at {
        path.push(span.name.to_string());
        assert!(
            span.parent_span_id == SpanId::INVALID || span.span_context.trace_id() == spans[0].span_context.trace_id()
        );
        at = spans.iter().find(|parent| parent.span_context.span_id() == span.parent_span_id);
    }
    path.join(" < ")
}

#[tokio::test(start_paused = true)]
async fn spans_nest_both_ways() {
    let backend = Backend::new();
    let sink = sink(&backend).await;
    let handler = async {
        let inner = async { sink.send(7).await.unwrap() };
        inner.instrument(tracing::info_span!("place order")).await;
        tracing::info_span!("respond").in_scope(|| {});
    };
    let spans = bridged(&backend, handler).await;
    assert_eq!(path(&spans, "send orders"), "send orders < place order < request");
    assert_eq!(path(&spans, "parse"), "parse < look up < send orders < place order < request");
    assert_eq!(path(&spans, "encode"), "encode < send orders < place order < request");
    assert_eq!(path(&spans, "respond"), "respond < request", "no span of this library is still the current one");
    assert_eq!(spans.len(), 7, "{spans:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_nests_too() {
    let backend = Backend::new();
    let sink = sink(&backend).await;
    let handler = async {
        sink.send_batch([SinkMessage::new(1), SinkMessage::new(2)]).await.unwrap();
    };
    let spans = bridged(&backend, handler).await;
    assert_eq!(path(&spans, "send orders"), "send orders < request");
    assert_eq!(path(&spans, "parse"), "parse < look up < create orders < request");
    assert_eq!(path(&spans, "encode"), "encode < create orders < request");
    let creates: Vec<_> = spans.iter().filter(|span| span.name == "create orders").collect();
    assert_eq!(creates.len(), 2);
    for create in creates {
        let id = create.span_context.span_id();
        assert_eq!(spans.iter().filter(|span| span.name == "look up" && span.parent_span_id == id).count(), 1);
    }
}
