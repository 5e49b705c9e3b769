//! OpenTelemetry for sinks and sources: spans, trace context in headers, metrics.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use kafka_tower::memory::MemoryKafka;
//! use kafka_tower::telemetry::Telemetry;
//! use kafka_tower::{KafkaSink, KafkaSinkConfig};
//! use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
//!
//! // In production: `opentelemetry::global::set_tracer_provider(..)` once, and `Telemetry::new()`.
//! let exporter = InMemorySpanExporter::default();
//! let tracers = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
//! let telemetry = Telemetry::builder().tracer_provider(&tracers).build();
//!
//! let kafka = MemoryKafka::new().with_topic("orders", 1);
//! let config = KafkaSinkConfig { topic: "orders".into(), ..Default::default() };
//! let sink =
//!     KafkaSink::<String>::builder(config).transport(kafka.transport()).telemetry(telemetry).build().await?;
//! sink.send("hello".to_string()).await?;
//! assert_eq!(exporter.get_finished_spans()?[0].name, "send orders");
//! # Ok(())
//! # }
//! ```
//!
//! [`layers::telemetry`](crate::layers::telemetry) documents the names of spans, attributes and metrics. With the
//! property `statistics.interval.ms`, librdkafka's own statistics are metrics too: see `statistics`.

#[cfg(feature = "rdkafka")]
#[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
pub mod statistics;

pub use kafka_tower_layers::telemetry::{
    BatchSpan, HeaderExtractor, HeaderInjector, Semconv, Telemetry, TelemetryBuilder, TelemetryLayer, Traced,
    TracedFuture, TransactionSpans, W3cPropagator, extract, semconv, source,
};
