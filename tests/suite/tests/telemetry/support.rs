use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use kafka_tower::memory::{Hold, MemoryKafka};
use kafka_tower::telemetry::{Telemetry, TelemetryBuilder};
use kafka_tower::{Delivery, Error, KafkaSink, KafkaSinkConfig, Limits};
use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};

/// A backend in memory.
pub(crate) struct Backend {
    spans: InMemorySpanExporter,
    metrics: InMemoryMetricExporter,
    pub(crate) tracers: SdkTracerProvider,
    pub(crate) meters: SdkMeterProvider,
}

impl Backend {
    pub(crate) fn new() -> Self {
        let (spans, metrics) = (InMemorySpanExporter::default(), InMemoryMetricExporter::default());
        let tracers = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
        let meters = SdkMeterProvider::builder().with_periodic_exporter(metrics.clone()).build();
        Self { spans, metrics, tracers, meters }
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

    pub(crate) fn spans(&self) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap()
    }

    pub(crate) fn exported(&self) -> Vec<ResourceMetrics> {
        self.metrics.reset();
        self.meters.force_flush().unwrap();
        self.metrics.get_finished_metrics().unwrap()
    }

    /// Returns the values of all points of all metrics; for histograms, the counts.
    pub(crate) fn points(&self) -> BTreeMap<String, f64> {
        let mut points = BTreeMap::new();
        let exported = self.exported();
        let metrics = exported.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(|scope| scope.metrics());
        for metric in metrics {
            let mut add = |attributes: Vec<&KeyValue>, value: f64| {
                points.insert(format!("{} {}", metric.name(), text(&attributes)).trim_end().to_owned(), value);
            };
            match metric.data() {
                AggregatedMetrics::F64(MetricData::Histogram(all)) => {
                    all.data_points().for_each(|point| add(point.attributes().collect(), point.count() as f64));
                }
                AggregatedMetrics::F64(MetricData::Gauge(all)) => {
                    all.data_points().for_each(|point| add(point.attributes().collect(), point.value()));
                }
                AggregatedMetrics::U64(MetricData::Histogram(all)) => {
                    all.data_points().for_each(|point| add(point.attributes().collect(), point.sum() as f64));
                }
                AggregatedMetrics::U64(MetricData::Sum(all)) => {
                    all.data_points().for_each(|point| add(point.attributes().collect(), point.value() as f64));
                }
                AggregatedMetrics::U64(MetricData::Gauge(all)) => {
                    all.data_points().for_each(|point| add(point.attributes().collect(), point.value() as f64));
                }
                AggregatedMetrics::I64(MetricData::Sum(all)) => {
                    all.data_points().for_each(|point| add(point.attributes().collect(), point.value() as f64));
                }
                AggregatedMetrics::I64(MetricData::Gauge(all)) => {
                    all.data_points().for_each(|point| add(point.attributes().collect(), point.value() as f64));
                }
                other => panic!("{other:?}"),
            }
        }
        points
    }
}

impl Backend {
    /// Returns the count and the sum of a histogram of durations.
    pub(crate) fn durations(&self, name: &str) -> (u64, Duration) {
        let exported = self.exported();
        let metrics = exported.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(|scope| scope.metrics());
        let (mut times, mut seconds) = (0, 0.0);
        for metric in metrics.filter(|metric| metric.name() == name) {
            let AggregatedMetrics::F64(MetricData::Histogram(all)) = metric.data() else { panic!("{metric:?}") };
            for point in all.data_points() {
                times += point.count();
                seconds += point.sum();
            }
        }
        (times, Duration::from_secs_f64(seconds))
    }
}

/// Formats attributes without those that all points have. The topic is shown without its name.
fn text(attributes: &[&KeyValue]) -> String {
    let few = attributes.iter().filter(|attribute| {
        let key = attribute.key.as_str();
        !key.starts_with("messaging.operation") && key != "messaging.system" && key != "messaging.client.id"
    });
    let mut few: Vec<_> = few
        .map(|attribute| match attribute.key.as_str() {
            "messaging.destination.name" => attribute.value.to_string(),
            key => format!("{}={}", key.trim_start_matches("kafka_tower."), attribute.value),
        })
        .collect();
    few.sort();
    few.join(" ")
}

pub(crate) fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|attribute| attribute.key.as_str() == key).map(|attribute| attribute.value.to_string())
}

pub(crate) fn config() -> KafkaSinkConfig {
    KafkaSinkConfig { topic: "orders".into(), send_timeout_ms: 1_000, base_backoff_ms: 1, ..Default::default() }
}

pub(crate) async fn limited(backend: &Backend, records: usize) -> (MemoryKafka, KafkaSink<u32>) {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let transport = kafka.transport_with(Limits { records, bytes: 1 << 20 });
    let builder = KafkaSink::builder(config()).transport(transport).telemetry(backend.telemetry());
    (kafka, builder.build().await.unwrap())
}

/// A sink without room until the first send is released.
pub(crate) async fn full(
    backend: &Backend,
) -> (MemoryKafka, KafkaSink<u32>, Hold, impl Future<Output = Result<Delivery, Error>> + Unpin) {
    let (kafka, sink) = limited(backend, 1).await;
    let hold = kafka.script().hold();
    let mut first = sink.send(1);
    assert!(futures_util::poll!(&mut first).is_pending());
    (kafka, sink, hold, first)
}

pub(crate) fn names(backend: &Backend) -> Vec<String> {
    backend.spans().iter().map(|span| span.name.to_string()).collect()
}
