//! A trace through three processes as received by a real Collector, compared with the records that a Kafka reader
//! finds.
#![allow(clippy::unwrap_used)] // a test may fail

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_tower::telemetry::Telemetry;
use kafka_tower::{KafkaSink, KafkaSinkConfig};
use kafka_tower_test_collector::Collector;
use kafka_tower_test_collector::otlp::{CONSUMER, PRODUCER, SERVER, Span};
use kafka_tower_testkit::kafka::{self as cluster, Cluster, java};
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::trace::FutureExt as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tokio::process::Command;

/// The trace of the example's caller.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
/// One order, an import of five, a swap of two.
const RECORDS: usize = 8;

async fn run(program: &str, arguments: &[&str], collector: &Collector, kafka: &Cluster, topic: &str) {
    let child = Command::new(program)
        .args(arguments)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("KAFKA_BROKERS", kafka.bootstrap())
        .env("KAFKA_TOPIC", topic)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(120), child).await.expect("it ends").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program}: {}{}", text(&output.stdout), text(&output.stderr));
}

fn place(span: &Span) -> Option<(i32, i64)> {
    let number = |name: &str| span.attributes.get(name);
    let partition = number("messaging.destination.partition.id")?.parse().unwrap();
    Some((partition, number("messaging.kafka.offset")?.parse().unwrap()))
}

#[tokio::test]
async fn a_trace_goes_from_the_request_to_another_processs_consumer() {
    let Some(kafka) = cluster::shared().await else { return };
    let Some(collector) = Collector::start().await.unwrap() else { return };
    let topic = kafka.topic("traced", 3).await.unwrap();
    run(env!("CARGO_BIN_EXE_traced_service"), &[], &collector, kafka, &topic).await;
    let records = RECORDS.to_string();
    run(env!("CARGO_BIN_EXE_consumer"), &[kafka.bootstrap(), &topic, &records], &collector, kafka, &topic).await;

    let there = |spans: &[Span]| spans.iter().filter(|span| span.kind == CONSUMER).count() == RECORDS;
    let spans = collector.spans_when(there).await.unwrap();
    let by_id: BTreeMap<_, _> = spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
    let parent = |span: &Span| by_id.get(span.parent_id.as_str()).copied();
    assert!(spans.iter().all(|span| span.trace_id == TRACE), "one trace: {spans:#?}");

    // The records as read by a reader that only looks at the header's text.
    let written: BTreeMap<_, _> = kafka
        .read(&topic)
        .await
        .unwrap()
        .into_iter()
        .map(|record| {
            let header = record.headers.iter().find(|(name, _)| name == "traceparent").unwrap();
            ((record.partition, record.offset), String::from_utf8(header.1.clone().unwrap()).unwrap())
        })
        .collect();
    assert_eq!(written.len(), RECORDS);

    let processed: Vec<_> = spans.iter().filter(|span| span.kind == CONSUMER).collect();
    for span in &processed {
        assert_eq!((span.service.as_str(), span.name.as_str()), ("consumer", format!("process {topic}").as_str()));
        let producer = parent(span).unwrap();
        assert_eq!((producer.service.as_str(), producer.kind), ("traced_service", PRODUCER));
        assert!(producer.name == format!("send {topic}") || producer.name == format!("create {topic}"), "{producer:?}");
        assert_eq!(place(producer), place(span), "both say where the record is");
        let expected = format!("00-{TRACE}-{}-01", producer.span_id);
        assert_eq!(written.get(&place(span).unwrap()), Some(&expected), "and there it is");
        let request = parent(producer).unwrap();
        assert_eq!((request.kind, request.scope.as_str()), (SERVER, "http"), "{request:?}");
        assert_eq!(request.parent_id, CALLER, "whose parent is in the caller's process");
        assert!(request.start <= producer.start && producer.end <= request.end);
    }

    let ours = spans.iter().filter(|span| span.scope == "kafka-tower");
    assert!(ours.clone().all(|span| span.schema_url.starts_with("https://opentelemetry.io/schemas/")));
    let batch = ours.clone().find(|span| span.attributes.contains_key("messaging.batch.message_count")).unwrap();
    assert_eq!(batch.attributes["messaging.batch.message_count"], "5");
    let created: Vec<_> = spans.iter().filter(|span| span.name.starts_with("create ")).collect();
    assert_eq!(created.len(), 5);
    assert!(created.iter().all(|span| batch.links.contains(&(TRACE.to_owned(), span.span_id.clone()))));
    let transaction = ours.clone().find(|span| span.name == "transaction").unwrap();
    assert_eq!(transaction.attributes["kafka_tower.transaction.outcome"], "committed");
    let swapped = ours.clone().filter(|span| span.links.contains(&(TRACE.to_owned(), transaction.span_id.clone())));
    assert_eq!(swapped.count(), 2);
    let late = ours.clone().find(|span| span.error).unwrap();
    assert_eq!((late.attributes["error.type"].as_str(), place(late)), ("timeout", None));

    let metrics = collector
        .metrics_when(|metrics| {
            let has = |name: &str| metrics.iter().any(|metric| metric.name == name);
            has("messaging.client.operation.duration") && has("messaging.client.sent.messages")
        })
        .await
        .unwrap();
    let sent = metrics.iter().rfind(|metric| metric.name == "messaging.client.sent.messages").unwrap();
    let delivered = sent.points.iter().filter(|point| !point.attributes.contains_key("error.type"));
    assert_eq!(delivered.map(|point| point.value).sum::<f64>(), RECORDS as f64, "{sent:?}");

    // OpenTelemetry's own Java code reads the same records.
    let Some(extracted) = java::extract(kafka.bootstrap(), &topic).await.unwrap() else { return };
    assert_eq!(extracted.len(), RECORDS);
    for record in extracted {
        let context = format!("00-{}-{}-{}", record.trace_id, record.span_id, record.flags);
        assert_eq!(written.get(&(record.partition, record.offset)), Some(&context));
    }
}

/// Optional baggage: a Java consumer gets it decoded. (Not a `%`, which Rust's propagator does not encode.)
#[tokio::test]
async fn java_reads_our_context_and_baggage() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("baggage", 1).await.unwrap();
    let exporter = InMemorySpanExporter::default();
    let tracers = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let w3c: Vec<Box<dyn TextMapPropagator + Send + Sync>> =
        vec![Box::new(TraceContextPropagator::new()), Box::new(BaggagePropagator::new())];
    let telemetry = Telemetry::builder()
        .tracer_provider(&tracers)
        .propagator(TextMapCompositePropagator::new(w3c))
        .baggage(true)
        .build();
    let config =
        KafkaSinkConfig { brokers: kafka.bootstrap().to_owned(), topic: topic.clone(), ..KafkaSinkConfig::default() };
    let sink = KafkaSink::<String>::builder(config).telemetry(telemetry).build().await.unwrap();
    let baggage =
        Context::new().with_baggage([KeyValue::new("tier", "gold"), KeyValue::new("city", "Z\u{fc}rich, Stadt; a=b")]);
    sink.send("with".to_owned()).with_context(baggage).await.unwrap();
    sink.send("without".to_owned()).await.unwrap();
    sink.close().await.unwrap();

    let spans = exporter.get_finished_spans().unwrap();
    let Some(extracted) = java::extract(kafka.bootstrap(), &topic).await.unwrap() else { return };
    assert_eq!(extracted.len(), 2);
    for (record, span) in extracted.iter().zip(&spans) {
        assert_eq!(record.trace_id, span.span_context.trace_id().to_string());
        assert_eq!(record.span_id, span.span_context.span_id().to_string());
        assert_eq!(record.flags, "01");
    }
    assert_eq!(extracted[0].baggage, ["city=Z\u{fc}rich, Stadt; a=b", "tier=gold"]);
    assert!(extracted[1].baggage.is_empty());
}
