//! The queries of the dashboards and the alerts match the exported metrics.
#![allow(clippy::unwrap_used)] // a test may fail

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use kafka_tower::layers::dead_letter::{DeadLetterLayer, DeadLetterStyle};
use kafka_tower::memory::MemoryKafka;
use kafka_tower::source::Acked;
use kafka_tower::telemetry::{Telemetry, semconv};
use kafka_tower::{
    CommitStrategy, Error, ErrorKind, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, Limits, Persistence,
    Record, SourceMessage,
};
use kafka_tower_test_collector::prometheus::{Expr, Store};
use kafka_tower_test_collector::{Collector, picture};
use kafka_tower_testkit::kafka as cluster;
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use tokio::process::Command;
use tower::{Layer as _, Service as _, ServiceExt as _};

#[path = "../../../examples/traced_service/post.rs"]
mod post;

fn docs(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/grafana").join(file);
    std::fs::read_to_string(path).unwrap()
}

/// Causes events that do not occur with a healthy broker: a send without room, retries, a lost record, and an open
/// breaker.
async fn faults(collector: &Collector) {
    let exporter = opentelemetry_otlp::MetricExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/metrics", collector.endpoint()))
        .with_http_client(post::Post)
        .build()
        .unwrap();
    let meters = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter).build()).build();
    let kafka = MemoryKafka::new().with_topic("orders", 1).with_topic("events", 1).with_topic("events.dlq", 1);
    let config = KafkaSinkConfig { topic: "orders".into(), base_backoff_ms: 1, ..KafkaSinkConfig::default() };
    let one = Limits { records: 1, bytes: 1 << 20 };
    let telemetry = Telemetry::builder().meter_provider(&meters).spans(false).build();
    let sink = KafkaSink::<u32>::builder(config)
        .transport(kafka.transport_with(one))
        .telemetry(telemetry.clone())
        .build()
        .await
        .unwrap();
    // Rates need two reports.
    for _ in 0..2 {
        kafka.script().delay(Duration::from_millis(5));
        let (first, second) = tokio::join!(sink.send(1), sink.send(1));
        assert!(first.is_ok() && second.is_ok());
        let no_leader = Error::new(ErrorKind::Broker, "no leader").with_persistence(Persistence::NotPersisted);
        kafka.script().times(2).fail(no_leader);
        sink.send(1).await.unwrap();
        kafka.script().fail(Error::new(ErrorKind::Broker, "lost").with_persistence(Persistence::PossiblyPersisted));
        sink.send(1).await.unwrap_err();
        meters.force_flush().unwrap();
    }
    consume(&kafka, telemetry.clone(), &meters).await;
    consume_and_produce(&kafka, telemetry, &meters).await;
    sink.circuit_breaker().unwrap().force_open();
    for _ in 0..2 {
        sink.send(2).await.unwrap_err();
        meters.force_flush().unwrap();
    }
    meters.shutdown().unwrap();
}

/// Lets everything happen to messages that a source counts, twice.
async fn consume(kafka: &MemoryKafka, telemetry: Telemetry, meters: &SdkMeterProvider) {
    let config = KafkaSourceConfig {
        group_id: "billing".into(),
        topics: vec!["events".into()],
        commit: CommitStrategy::Each,
        redelivery_backoff_ms: 1,
        ..Default::default()
    };
    let builder = KafkaSource::<u32>::builder(config).transport(kafka.clone()).telemetry(telemetry);
    let mut source = builder.build().await.unwrap();
    let letters = DeadLetterLayer::new(DeadLetterStyle::Own).layer(kafka.transport());
    for _ in 0..2 {
        for value in ["1", "2", "no number", "nor this"] {
            let record = Record::new("events").with_partition(0).with_value(value);
            kafka.transport().ready().await.unwrap().call(record).await.unwrap();
        }
        let (first, second) = (source.recv().await.unwrap(), source.recv().await.unwrap());
        first.nack("not now");
        let (first, again) = (source.recv().await.unwrap(), source.recv().await.unwrap());
        assert_eq!((first.ack(), second.ack()), (Acked::Counted, Acked::Stale));
        again.process_span().unwrap().finish(Some("no_stock"));
        again.process_span().unwrap().finish(None);
        again.ack();
        source.recv().await.unwrap_err().skip();
        source.recv().await.unwrap_err().dead_letter(letters.clone()).await.unwrap();
        meters.force_flush().unwrap();
    }
}

/// Commits transactions, twice.
async fn consume_and_produce(kafka: &MemoryKafka, telemetry: Telemetry, meters: &SdkMeterProvider) {
    let config = KafkaSourceConfig {
        group_id: "shipping".into(),
        topics: vec!["invoices".into()],
        commit: CommitStrategy::Transaction,
        ..Default::default()
    };
    let kafka = kafka.clone().with_topic("invoices", 1).with_topic("parcels", 1);
    let builder = KafkaSource::<u32>::builder(config).transport(kafka.clone()).telemetry(telemetry);
    let source = builder.build().await.unwrap();
    let config = KafkaSinkConfig::exactly_once("memory", "parcels", "shipping-1");
    let transport = kafka.transactional_transport("shipping-1");
    let sink = KafkaSink::<u32>::builder(config).transport(transport).build().await.unwrap();
    let control = source.control();
    let handler = |order: SourceMessage<u32>| async move { Ok::<_, Error>(order.value().copied()) };
    let run = tokio::spawn(source.transactional(sink, handler).into_future());
    for number in 1..=2 {
        let record = Record::new("invoices").with_partition(0).with_value("1");
        kafka.transport().ready().await.unwrap().call(record).await.unwrap();
        while kafka.committed("parcels").len() < number {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Its end is counted when the source has it.
        while kafka.committed_offset("shipping", "invoices", 0) != Some(number as i64) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        meters.force_flush().unwrap();
    }
    assert!(control.close().await.is_complete());
    drop(run.await.unwrap().unwrap());
}

/// Returns the expressions of a file of alerts, which are plain or folded.
fn alerts(text: &str) -> Vec<(String, String)> {
    let mut alerts = Vec::new();
    for rule in text.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap().to_owned();
        let expr = rule.split("expr:").nth(1).unwrap();
        let end = ["\n        for:", "\n        labels:"].iter().filter_map(|key| expr.find(key)).min().unwrap();
        let expr = expr[..end].trim().trim_start_matches(">-").split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["summary:", "reason:", "action:"] {
            assert!(rule.contains(part), "{name} has no {part}");
        }
        alerts.push((name, expr));
    }
    alerts
}

#[tokio::test]
async fn what_the_dashboard_asks_for_is_exported() {
    let Some(kafka) = cluster::shared().await else { return };
    let Some(collector) = Collector::start().await.unwrap() else { return };
    let topic = kafka.topic("dashboard", 3).await.unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_traced_service"))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_METRIC_EXPORT_INTERVAL", "500")
        .env("TRACED_SERVICE_SECONDS", "4")
        .env("KAFKA_BROKERS", kafka.bootstrap())
        .env("KAFKA_TOPIC", topic)
        .stdout(std::process::Stdio::null())
        .status()
        .await
        .unwrap();
    assert!(status.success());
    faults(&collector).await;
    let metrics = collector
        .metrics_when(|metrics| {
            metrics.iter().filter(|metric| metric.name == semconv::metric::BREAKER_REJECTIONS).count() >= 2
        })
        .await
        .unwrap();
    let store = Store::of(&metrics).unwrap().unwrap();
    let exported = store.metrics();

    let known = |what: &str, expr: &Expr| {
        let asked = expr.asks_for();
        assert!(!asked.is_empty(), "{what} asks for nothing");
        for (metric, labels) in asked {
            let has = exported.get(metric.as_str());
            let has = has.unwrap_or_else(|| panic!("{what}: {metric} is not among {:?}", exported.keys()));
            for label in labels {
                assert!(has.contains(label.as_str()), "{what}: {metric} has {has:?} and no {label}");
            }
        }
    };
    let panels = picture::panels(&docs("dashboard.json")).unwrap();
    let consumers = picture::panels(&docs("consumers.json")).unwrap();
    assert!(panels.len() >= 14 && consumers.len() >= 10);
    let (start, end) = store.times().unwrap();
    for panel in panels.iter().chain(&consumers) {
        for (expr, _) in &panel.targets {
            known(&panel.title, expr);
            assert!(!store.at(expr, end, end - start).is_empty(), "{} shows nothing: {expr:?}", panel.title);
        }
    }
    let alerts = alerts(&docs("alerts.yaml"));
    assert!(alerts.len() >= 10);
    for (name, expr) in alerts {
        known(&name, &Expr::parse(&expr).unwrap());
    }
    assert!(!picture::dashboard(&panels, &store, end - start).contains("NaN"));
}

/// Checks for errors that Grafana would reject, and for overlapping panels.
#[test]
fn the_dashboards_are_valid() {
    for file in ["dashboard.json", "consumers.json"] {
        is_valid(&docs(file));
    }
}

fn is_valid(text: &str) {
    let dashboard: serde_json::Value = serde_json::from_str(text).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36 && dashboard["uid"].is_string());
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut taken = BTreeSet::new();
    for (panel, read) in panels.iter().zip(picture::panels(text).unwrap()) {
        assert_eq!(panel["type"], "timeseries");
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{}", read.title);
        let [x, y, w, h] = read.place;
        assert!(x + w <= 24 && w > 0 && h > 0, "{}", read.title);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} lies over another", read.title);
        }
        let refs: BTreeSet<_> =
            panel["targets"].as_array().unwrap().iter().map(|target| target["refId"].to_string()).collect();
        assert!(!refs.is_empty() && refs.len() == read.targets.len(), "{}", read.title);
    }
}
