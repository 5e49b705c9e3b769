//! The features of a sink, one by one.
//!
//! ```text
//! cargo run --example kafka_sink_example
//! KAFKA_BROKERS=host:9092 KAFKA_TOPIC=my-topic cargo run --example kafka_sink_example
//! ```
//!
//! Without `KAFKA_BROKERS` it uses librdkafka's mock cluster in this process. With it, it writes to a topic that must
//! exist: `docker compose up -d --wait kafka` starts a Kafka that creates topics on request.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::{StreamExt, stream};
use kafka_tower::rdkafka::MockCluster;
use kafka_tower::{
    DeliveryGuarantee, Error, KafkaSink, KafkaSinkConfig, MessageSerializer, PartitionStrategy, Record, Result,
    SinkMessage, async_trait,
};

const STREAM: u64 = 50_000;

#[derive(Clone, serde::Serialize)]
struct MetricResult {
    service: String,
    avg_latency: f64,
    count: u64,
}

fn metric(count: u64) -> SinkMessage<MetricResult> {
    let service = format!("service-{}", count % 9);
    SinkMessage::new(MetricResult { service, avg_latency: 12.5, count }).with_key_from(|metric| metric.service.clone())
}

/// A serializer of your own.
struct Csv;

#[async_trait]
impl MessageSerializer<MetricResult> for Csv {
    async fn serialize(&self, metric: &MetricResult) -> Result<Vec<u8>> {
        if metric.service.contains(',') {
            return Err(Error::serialization("the service's name has a comma"));
        }
        Ok(format!("{},{},{}", metric.service, metric.avg_latency, metric.count).into_bytes())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let topic = env::var("KAFKA_TOPIC").unwrap_or_else(|_| "kafka-tower-example".to_owned());
    let (brokers, embedded) = match env::var("KAFKA_BROKERS").ok().filter(|brokers| !brokers.is_empty()) {
        Some(brokers) => (brokers, None),
        None => {
            let cluster = MockCluster::start(1)?;
            cluster.create_topic(&topic, 3)?;
            (cluster.bootstrap().to_owned(), Some(cluster))
        }
    };
    println!("kafka-tower, feature by feature\n");
    println!(
        "  brokers   {brokers}{}",
        if embedded.is_some() { " (librdkafka's mock cluster, in this process)" } else { "" }
    );
    println!("  topic     {topic}");
    let config = KafkaSinkConfig { brokers, topic, batch_size: 1_000, linger_ms: 2, ..Default::default() };
    let sink = KafkaSink::<MetricResult>::new(config.clone()).await?;

    sending(&sink).await?;
    partitions(&sink, &config.topic).await?;
    serializer(&config).await?;
    let down = errors(&sink, &config).await?;
    transactions(&config).await?;
    if embedded.is_some() {
        println!(
            "  (the mock cluster accepts transactions but does not hide open or aborted records; a real Kafka does)"
        );
    }
    metrics(&sink).await;
    shut_down(sink, down).await?;

    println!("\nNext:");
    if embedded.is_some() {
        println!("  a Kafka of your own   docker compose up -d --wait kafka, then KAFKA_BROKERS=localhost:9092");
    }
    println!("  other stacks          cargo run --example custom_stack");
    println!("  tests without Kafka   cargo test --example swap_transport");
    println!("  all settings          docs of kafka_tower::KafkaSinkConfig");
    Ok(())
}

fn heading(text: &str) {
    println!("\n{text}\n{}", "-".repeat(text.len()));
}

async fn sending(sink: &KafkaSink<MetricResult>) -> Result<()> {
    heading("One message: key, header, time");
    let message = metric(1).with_header("region", "us-east-1").with_timestamp(SystemTime::now());
    println!("  {}   topic[partition]@offset", sink.send(message).await?);
    println!("  {}   a tombstone", sink.send(SinkMessage::tombstone("service-1")).await?);

    heading("A batch: results in the order of the messages");
    let begun = Instant::now();
    let results = sink.send_batch((0..1_000).map(metric)).await?;
    let sent = results.iter().filter(|result| result.is_ok()).count();
    println!("  {sent} of {} delivered in {:.0?}", results.len(), begun.elapsed());
    results.into_iter().collect::<Result<Vec<_>>>()?; // returns the first error, if any

    heading("A stream: any number of messages, with bounded memory");
    let begun = Instant::now();
    let mut results = sink.send_stream(stream::iter((0..STREAM).map(metric))).enumerate();
    while let Some((number, result)) = results.next().await {
        result?; // without `?` the stream would go on
        if (number as u64 + 1) % (STREAM / 4) == 0 {
            println!("  {:>6} of {STREAM} delivered, {:.0?}", number + 1, begun.elapsed());
        }
    }
    Ok(())
}

async fn partitions(sink: &KafkaSink<MetricResult>, topic: &str) -> Result<()> {
    heading("Partitions: where 12 messages land, by strategy");
    println!("  {:<24} {}", "the topic's partitions", sink.control().partition_count(topic).unwrap_or_default());
    let last = |_: &Record, partitions: u32| i32::try_from(partitions - 1).ok();
    for (name, sink) in [
        ("KeyHash, as Java has it", sink.clone().with_partition_strategy(PartitionStrategy::KeyHash)),
        ("RoundRobin", sink.clone().with_partition_strategy(PartitionStrategy::RoundRobin)),
        ("Single(0)", sink.clone().with_partition_strategy(PartitionStrategy::Single(0))),
        ("a closure: the last", sink.clone().with_partitioner(last)),
    ] {
        let mut landed = BTreeMap::new();
        for result in sink.send_batch((0..12).map(metric)).await? {
            *landed.entry(result?.partition).or_insert(0) += 1;
        }
        let landed: Vec<_> =
            landed.iter().map(|(partition, messages)| format!("[{partition}] {messages:<2}")).collect();
        println!("  {name:<24} {}", landed.join("  ").trim_end());
    }
    println!("  {:<24} {}", "the message's own", sink.send(metric(1).with_partition(0)).await?);
    Ok(())
}

async fn serializer(config: &KafkaSinkConfig) -> Result<()> {
    heading("A serializer of your own: CSV");
    let sink = KafkaSink::<MetricResult>::with_serializer(config.clone(), Arc::new(Csv)).await?;
    println!("  {}", sink.send(metric(7)).await?);
    let wrong = MetricResult { service: "a,b".to_owned(), avg_latency: 0.0, count: 0 };
    if let Err(error) = sink.send(wrong).await {
        println!("  {error:#}");
    }
    sink.close().await?;
    Ok(())
}

/// Returns a sink with messages that cannot be delivered.
async fn errors(sink: &KafkaSink<MetricResult>, config: &KafkaSinkConfig) -> Result<KafkaSink<MetricResult>> {
    heading("Errors: what happened, whether it is in the log, what to do");
    let wrong = KafkaSinkConfig { acks: "1".to_owned(), ..config.clone() };
    if let Err(error) = wrong.validate() {
        println!("  before connecting: {error}");
    }
    let large = MetricResult { service: "x".repeat(2_000_000), avg_latency: 0.0, count: 0 };
    if let Err(error) = sink.send(large).await {
        println!("  {}, {:?}, {:?}:", error.kind(), error.recovery(), error.persistence());
        println!("  {error:#}");
    }

    heading("The circuit breaker, and a Kafka that cannot be reached");
    let unreachable = "127.0.0.1:1".to_owned();
    let down =
        KafkaSinkConfig { brokers: unreachable, send_timeout_ms: 400, circuit_breaker_threshold: 3, ..config.clone() };
    let down = KafkaSink::<MetricResult>::builder(down).connect_check(false).build().await?;
    for number in 1..=4 {
        let begun = Instant::now();
        if let Err(error) = down.send(metric(number)).await {
            println!("  {:>5.1} ms: {error}", begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    let metrics = down.metrics().await;
    println!("  failed {}, trips {}", metrics.messages_failed, metrics.circuit_breaker_trips);
    Ok(down)
}

async fn transactions(config: &KafkaSinkConfig) -> Result<()> {
    heading("Transactions: all or none, for consumers with isolation.level = read_committed");
    let config = KafkaSinkConfig {
        enable_transactions: true,
        transactional_id: Some("kafka-tower-example".to_owned()),
        ..config.clone()
    };
    let sink = KafkaSink::<MetricResult>::new(config).await?.with_delivery_guarantee(DeliveryGuarantee::ExactlyOnce);

    sink.begin_transaction().await?;
    let results = sink.send_batch((0..100).map(metric)).await?;
    println!("  {} of 100 written: a read_committed consumer sees none yet", results.iter().flatten().count());
    sink.commit_transaction().await?;
    println!("  committed: the consumer sees all");

    sink.begin_transaction().await?;
    println!("  {} written", sink.send(metric(0)).await?);
    sink.abort_transaction().await?;
    println!("  aborted: the consumer never sees this record");
    sink.close().await?;
    Ok(())
}

async fn metrics(sink: &KafkaSink<MetricResult>) {
    heading("Metrics of the first sink");
    let metrics = sink.metrics().await;
    println!("  sent {}, failed {}, bytes {}", metrics.messages_sent, metrics.messages_failed, metrics.bytes_sent);
    println!("  retries {}, breaker trips {}", metrics.retries, metrics.circuit_breaker_trips);
    let (avg, p50, p99) = (metrics.avg_latency_us, metrics.p50_latency_us, metrics.p99_latency_us);
    println!(
        "  latency: mean {avg} us, half within {p50} us, 99 % within {p99} us, most {} us",
        metrics.max_latency_us
    );
    if let Some(error) = metrics.last_error_msg {
        println!("  last error: {error}");
    }
}

async fn shut_down(sink: KafkaSink<MetricResult>, down: KafkaSink<MetricResult>) -> Result<()> {
    heading("Shutting down: waits for records in flight, and reports the rest");
    let (results, closed) = tokio::join!(biased; sink.send_batch((0..200).map(metric)), sink.close());
    let delivered = results.iter().flatten().filter(|result| result.is_ok()).count();
    println!("  close while 200 are in flight: {delivered} delivered");
    closed?;
    if let Err(error) = down.close_within(Duration::from_millis(200)).await {
        println!("  close of the sink whose Kafka cannot be reached: {}", error.report());
        println!("  the close report returns the records in doubt:");
        for undelivered in error.into_report().undelivered {
            println!("    {:?}: {}", undelivered.record.key.unwrap_or_default(), undelivered.error);
        }
    }
    Ok(())
}
