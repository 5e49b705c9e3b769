//! Tests of global providers and recorders that are set after the layers were created. A separate binary, because it
//! sets globals.
#![cfg(all(feature = "telemetry", feature = "json"))]
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use kafka_tower_core::SinkMessage;
use kafka_tower_layers::serialize::SerializeLayer;
use kafka_tower_layers::telemetry::Telemetry;
use kafka_tower_memory::MemoryKafka;
use opentelemetry::global;
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tower::{Service, ServiceBuilder, ServiceExt};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Event, Metadata, Subscriber};

/// Logged warnings.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Warnings;

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Values<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut Text);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Text;

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            WARNINGS.lock().unwrap().push(format!("{value:?}"));
        }
    }
}

fn warnings_of(what: &str) -> usize {
    WARNINGS.lock().unwrap().iter().filter(|warning| warning.contains(what)).count()
}

#[tokio::test]
async fn providers_that_are_set_late_are_found() {
    tracing::subscriber::set_global_default(Warnings).unwrap();
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let telemetry = [Telemetry::new(), Telemetry::new()];
    let stack = |telemetry: &Telemetry| {
        let stack = ServiceBuilder::new().layer(telemetry.layer("orders"));
        stack.layer(SerializeLayer::<u32, _>::json("orders")).service(kafka.transport())
    };
    let (mut sent_before, mut sent_after) = (stack(&telemetry[0]), stack(&telemetry[1]));
    assert_eq!(warnings_of("no global OpenTelemetry meter provider"), 2, "one for each telemetry");
    let _more = telemetry[0].for_client("me", None).layer("orders");
    assert_eq!(warnings_of("no global OpenTelemetry meter provider"), 2, "once");
    for n in 0..10_000 {
        sent_before.ready().await.unwrap().call(SinkMessage::new(n)).await.unwrap();
    }
    assert_eq!(warnings_of("no global OpenTelemetry tracer provider"), 1, "{WARNINGS:?}");

    let (spans, metrics) = (InMemorySpanExporter::default(), InMemoryMetricExporter::default());
    let meters = SdkMeterProvider::builder().with_periodic_exporter(metrics.clone()).build();
    global::set_tracer_provider(SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build());
    global::set_meter_provider(meters.clone());
    assert!(telemetry[1].has_meter());
    sent_after.ready().await.unwrap().call(SinkMessage::new(1)).await.unwrap();
    assert_eq!(spans.get_finished_spans().unwrap().len(), 1, "the first span");
    assert_eq!(warnings_of("no global OpenTelemetry propagator"), 1, "{WARNINGS:?}");
    global::set_text_map_propagator(TraceContextPropagator::new());
    sent_after.ready().await.unwrap().call(SinkMessage::new(1)).await.unwrap();
    let headers = kafka.records("orders")[10_001].record.headers.clone();
    assert!(headers.get("traceparent").is_some(), "{headers:?}");

    let mut sends = 0;
    while spans.get_finished_spans().unwrap().len() == 2 {
        sent_before.ready().await.unwrap().call(SinkMessage::new(1)).await.unwrap();
        sends += 1;
        assert!(sends <= 4096, "found by one of the next sends");
    }
    meters.force_flush().unwrap();
    let exported = format!("{:?}", metrics.get_finished_metrics().unwrap());
    assert!(exported.contains("messaging.client.sent.messages"), "{exported}");
}
