//! Draws the pictures of docs/observability.md from a real run of 90 s:
//!
//! ```text
//! cargo build -p kafka-tower-test-collector --bins && target/debug/pictures
//! ```
//!
//! The example sends to a Kafka of one broker, which is stopped for a while and started again; a consumer reads in a
//! separate process; a Collector receives the telemetry of both.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kafka_tower_test_collector::{Collector, picture, prometheus};
use kafka_tower_testkit::kafka::Cluster;
use tokio::time::sleep;

const SECONDS: u64 = 90;
/// Time at which the broker is stopped, and time until it is restarted.
const OUTAGE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(25));
const WINDOW: u64 = 5_000_000_000;

fn program(name: &str, collector: &Collector, kafka: &Cluster, topic: &str) -> Result<Command, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?.with_file_name(name));
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_METRIC_EXPORT_INTERVAL", "1000")
        .env("KAFKA_BROKERS", kafka.bootstrap())
        .env("KAFKA_TOPIC", topic);
    Ok(command)
}

async fn done(mut command: Command) -> Result<(), Box<dyn Error>> {
    let status = tokio::task::spawn_blocking(move || command.status()).await??;
    if status.success() { Ok(()) } else { Err(format!("it ended with {status}").into()) }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let Some(kafka) = Cluster::start(1).await? else { return Err("no Kafka".into()) };
    let Some(collector) = Collector::start().await? else { return Err("no Collector".into()) };
    kafka.create_topic("orders", 3, &[]).await?;
    done(program("traced_service", &collector, &kafka, "orders")?).await?;
    let mut consumer = program("consumer", &collector, &kafka, "orders")?;
    consumer.args([kafka.bootstrap(), "orders", "8"]);
    done(consumer).await?;
    let spans =
        collector.spans_when(|spans| spans.iter().filter(|span| span.service == "consumer").count() == 8).await?;
    fs::write(docs.join("images/trace.svg"), picture::trace(&spans))?;

    // Another Collector, so that the metrics begin with this run.
    let Some(collector) = Collector::start().await? else { return Err("no Collector".into()) };
    let mut service = program("traced_service", &collector, &kafka, "orders")?;
    service.env("TRACED_SERVICE_SECONDS", SECONDS.to_string());
    let service = tokio::spawn(async move { done(service).await.map_err(|error| error.to_string()) });
    sleep(OUTAGE.0).await;
    kafka.kill(1)?;
    sleep(OUTAGE.1).await;
    kafka.restart(1).await?;
    service.await??;
    let metrics = collector.metrics_when(|metrics| !metrics.is_empty()).await?;
    let Some(store) = prometheus::Store::of(&metrics)? else { return Err("no Collector".into()) };
    let panels = picture::panels(&fs::read_to_string(docs.join("grafana/dashboard.json"))?)?;
    fs::write(docs.join("images/dashboard.svg"), picture::dashboard(&panels, &store, WINDOW))?;
    println!("docs/images/trace.svg and docs/images/dashboard.svg are drawn");
    Ok(())
}
