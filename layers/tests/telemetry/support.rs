pub(crate) use std::time::Duration;

pub(crate) use kafka_tower_core::{Delivery, Error, ErrorKind, Persistence, Record, Result, SinkMessage};
pub(crate) use kafka_tower_layers::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
pub(crate) use kafka_tower_layers::retry::{RetryLayer, RetryPolicy};
pub(crate) use kafka_tower_layers::serialize::SerializeLayer;
pub(crate) use kafka_tower_layers::telemetry::{Telemetry, TelemetryBuilder, TelemetryLayer, semconv};
pub(crate) use kafka_tower_memory::MemoryKafka;
pub(crate) use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
pub(crate) use opentelemetry::{Context, KeyValue};
pub(crate) use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
pub(crate) use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
pub(crate) use opentelemetry_sdk::propagation::TraceContextPropagator;
pub(crate) use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
pub(crate) use tower::util::BoxCloneSyncService;
pub(crate) use tower::{Layer, Service, ServiceBuilder, ServiceExt};

/// An in-memory telemetry backend.
pub(crate) struct Backend {
    exporter: InMemorySpanExporter,
    metrics: InMemoryMetricExporter,
    pub(crate) tracers: SdkTracerProvider,
    pub(crate) meters: SdkMeterProvider,
}

impl Backend {
    pub(crate) fn new() -> Self {
        Self::sampling(Sampler::AlwaysOn)
    }

    pub(crate) fn sampling(sampler: Sampler) -> Self {
        let (exporter, metrics) = (InMemorySpanExporter::default(), InMemoryMetricExporter::default());
        let tracers = SdkTracerProvider::builder().with_sampler(sampler).with_simple_exporter(exporter.clone()).build();
        let meters = SdkMeterProvider::builder().with_periodic_exporter(metrics.clone()).build();
        Self { exporter, metrics, tracers, meters }
    }

    pub(crate) fn builder(&self) -> TelemetryBuilder {
        Telemetry::builder()
            .tracer_provider(&self.tracers)
            .meter_provider(&self.meters)
            .propagator(TraceContextPropagator::new())
    }

    pub(crate) fn telemetry(&self) -> Telemetry {
        self.builder().build()
    }

    /// Ended spans, in the order of their ends.
    pub(crate) fn spans(&self) -> Vec<SpanData> {
        self.exporter.get_finished_spans().unwrap()
    }

    pub(crate) fn span(&self, name: &str) -> SpanData {
        let spans = self.spans();
        let mut named = spans.iter().filter(|span| span.name == name);
        let span = named.next().unwrap_or_else(|| panic!("no {name} in {spans:#?}")).clone();
        assert!(named.next().is_none(), "more than one {name}");
        span
    }

    /// All data points of all metrics: name, attributes, count or value, and sum.
    pub(crate) fn points(&self) -> Vec<Point> {
        self.metrics.reset();
        self.meters.force_flush().unwrap();
        let mut points = Vec::new();
        for resource in self.metrics.get_finished_metrics().unwrap() {
            for metric in resource.scope_metrics().flat_map(|scope| scope.metrics()) {
                let mut add = |attributes: Vec<KeyValue>, value: f64, sum: f64| {
                    let attributes = text(&attributes);
                    points.push(Point { name: metric.name().to_owned(), attributes, value, sum });
                };
                match metric.data() {
                    AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                        for point in histogram.data_points() {
                            add(point.attributes().cloned().collect(), point.count() as f64, point.sum());
                        }
                    }
                    AggregatedMetrics::U64(MetricData::Histogram(histogram)) => {
                        for point in histogram.data_points() {
                            add(point.attributes().cloned().collect(), point.count() as f64, point.sum() as f64);
                        }
                    }
                    AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                        for point in sum.data_points() {
                            add(point.attributes().cloned().collect(), point.value() as f64, 0.0);
                        }
                    }
                    AggregatedMetrics::I64(MetricData::Sum(sum)) => {
                        for point in sum.data_points() {
                            add(point.attributes().cloned().collect(), point.value() as f64, 0.0);
                        }
                    }
                    AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                        for point in gauge.data_points() {
                            add(point.attributes().cloned().collect(), point.value() as f64, 0.0);
                        }
                    }
                    AggregatedMetrics::F64(MetricData::Gauge(gauge)) => {
                        for point in gauge.data_points() {
                            add(point.attributes().cloned().collect(), point.value(), 0.0);
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        points
    }

    /// The points of a metric as `attributes: value`, sorted.
    pub(crate) fn metric(&self, name: &str) -> Vec<String> {
        let points = self.points().into_iter().filter(|point| point.name == name);
        let mut lines: Vec<_> = points.map(|point| format!("{}: {}", point.attributes, point.value)).collect();
        lines.sort();
        lines
    }
}

#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) attributes: String,
    pub(crate) value: f64,
    pub(crate) sum: f64,
}

/// Attributes as `key=value`, sorted by key, without those that all spans have.
pub(crate) fn text(attributes: &[KeyValue]) -> String {
    let common = [semconv::SYSTEM.v1_44, semconv::OPERATION_NAME, semconv::OPERATION_TYPE];
    let few = attributes.iter().filter(|attribute| !common.contains(&attribute.key.as_str()));
    let mut few: Vec<_> = few.map(|attribute| format!("{}={}", attribute.key, attribute.value)).collect();
    few.sort();
    few.join(" ")
}

/// A span's attributes, in their order.
pub(crate) fn attributes(span: &SpanData) -> Vec<String> {
    span.attributes.iter().map(|attribute| format!("{}={}", attribute.key, attribute.value)).collect()
}

pub(crate) fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|attribute| attribute.key.as_str() == key).map(|attribute| attribute.value.to_string())
}

/// A span's events with their attributes.
pub(crate) fn events(span: &SpanData) -> Vec<String> {
    span.events.iter().map(|event| format!("{} {}", event.name, text(&event.attributes))).collect()
}

pub(crate) fn links(span: &SpanData) -> Vec<opentelemetry::trace::SpanId> {
    span.links.iter().map(|link| link.span_context.span_id()).collect()
}

pub(crate) type Orders = BoxCloneSyncService<SinkMessage<String>, Delivery, Error>;

pub(crate) fn kafka() -> MemoryKafka {
    MemoryKafka::new().with_topic("orders", 1).with_topic("others", 1)
}

/// The part of the default stack that concerns telemetry.
pub(crate) fn stack(layer: &TelemetryLayer, kafka: &MemoryKafka) -> Orders {
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::new().failure_threshold(1));
    layer.watch_breaker(&breaker.handle());
    let retry = RetryLayer::new(RetryPolicy::new().max_retries(2)).jitter_seed(1).on_retry(layer.on_retry());
    BoxCloneSyncService::new(
        ServiceBuilder::new()
            .layer(layer.clone())
            .layer(SerializeLayer::<String, _>::json("orders"))
            .layer(breaker)
            .layer(retry)
            .service(kafka.transport()),
    )
}

pub(crate) async fn send(orders: &mut Orders, message: impl Into<SinkMessage<String>>) -> Result<Delivery> {
    orders.ready().await?.call(message.into()).await
}

pub(crate) fn no_leader() -> Error {
    Error::new(ErrorKind::Broker, "no leader")
        .with_error_type("NOT_LEADER_OR_FOLLOWER")
        .with_persistence(Persistence::NotPersisted)
}
