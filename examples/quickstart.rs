//! First messages: a few by hand, then ten thousand at once; then all of them are read back.
//!
//! ```text
//! cargo run --example quickstart
//! KAFKA_BROKERS=host:9092 KAFKA_TOPIC=my-topic cargo run --example quickstart
//! ```
//!
//! Without `KAFKA_BROKERS` it uses librdkafka's mock cluster: brokers inside this process that speak Kafka's protocol
//! over TCP. Nothing needs to be installed; the records are gone when the program ends.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::env;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use kafka_tower::rdkafka::MockCluster;
use kafka_tower::{
    Delivery, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, Result, SinkMessage, SourceError, StartFrom,
    Timestamp,
};

const BATCH: u32 = 10_000;
/// Sent before the batch.
const SINGLE: u32 = 5;
/// Longest wait for a message that was sent.
const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC: &str = "kafka-tower-quickstart";

#[derive(serde::Deserialize, serde::Serialize)]
struct Reading {
    sensor: String,
    number: u32,
    celsius: f32,
}

impl Reading {
    fn new(number: u32) -> Self {
        Self { sensor: format!("sensor-{}", number % 7), number, celsius: 20.0 + (number % 50) as f32 / 10.0 }
    }
}

/// Readings of one sensor stay in order, because the key determines the partition.
fn message(number: u32) -> SinkMessage<Reading> {
    SinkMessage::new(Reading::new(number)).with_key_from(|reading| reading.sensor.clone())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("\nerror: {failed} messages were not delivered");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<usize> {
    let brokers = env::var("KAFKA_BROKERS").ok().filter(|brokers| !brokers.is_empty());
    let embedded = brokers.is_none();
    let cluster = if embedded { Some(MockCluster::start(1)?) } else { None };
    let config = config(cluster.as_ref().map(|cluster| cluster.bootstrap().to_owned()).or(brokers));
    let before = now();
    println!("kafka-tower quickstart\n");
    if embedded {
        println!("  brokers   librdkafka's mock cluster, in this process");
    } else {
        println!("  brokers   {}", config.brokers);
    }
    println!("  topic     {}\n", config.topic);

    let begun = Instant::now();
    let (brokers, topic) = (config.brokers.clone(), config.topic.clone());
    let sink = KafkaSink::<Reading>::new(config).await?;
    let partitions = sink.control().partition_count(&topic).unwrap_or_default();
    println!("Connected in {}; the topic has {partitions} partition(s).\n", took(begun.elapsed()));

    println!("One at a time: each send resolves when the broker has answered.\n");
    for number in 0..SINGLE {
        let begun = Instant::now();
        let delivery = sink.send(message(number)).await?;
        println!("  {}   {:>9}", place(number, &delivery), took(begun.elapsed()));
    }

    println!("\nA batch of {BATCH}: one call, in order, a result for each.\n");
    let begun = Instant::now();
    let results = send_all(&sink).await?;
    let elapsed = begun.elapsed();

    let delivered = results.iter().filter(|result| result.is_ok()).count();
    let failed = results.len() - delivered;
    println!("  delivered {delivered}");
    println!("  failed    {failed}");
    println!("  elapsed   {}", took(elapsed));
    println!("  rate      {:.0} messages a second", delivered as f64 / elapsed.as_secs_f64());
    if let Some(error) = results.iter().find_map(|result| result.as_ref().err()) {
        println!("  the first error: {error:#}");
    }

    sink.close().await?;
    println!("\nClosed: nothing was left in flight.\n");

    println!("Read back, by a consumer group: each message is acknowledged, and its offset is committed.\n");
    let begun = Instant::now();
    let expected = delivered + SINGLE as usize;
    let read = read_back(brokers, topic, before, embedded, expected).await?;
    println!("  received  {read}");
    println!("  elapsed   {}\n", took(begun.elapsed()));
    if read < expected {
        println!("  {} messages were not received within {}", expected - read, took(PATIENCE));
    }
    println!("Next:");
    if embedded {
        println!("  your own Kafka    KAFKA_BROKERS=host:9092 KAFKA_TOPIC=my-topic scripts/quickstart");
    }
    println!("  this program      examples/quickstart.rs");
    println!("  no broker at all  kafka_tower::memory::MemoryKafka, in your tests");
    Ok(failed + (expected - read))
}

/// Reads the messages of this run. Returns how many there were.
async fn read_back(brokers: String, topic: String, since: Timestamp, all: bool, expected: usize) -> Result<usize> {
    let config = KafkaSourceConfig {
        brokers,
        group_id: format!("{topic}-{}", since.as_millis()),
        topics: vec![topic],
        // A topic of your own may have older messages.
        start: if all { StartFrom::Earliest } else { StartFrom::Timestamp(since) },
        ..Default::default()
    };
    let mut source = KafkaSource::<Reading>::new(config).await?;
    let mut read = 0;
    while read < expected {
        let Ok(received) = tokio::time::timeout(PATIENCE, source.recv()).await else { break };
        match received {
            Ok(message) => {
                read += 1;
                message.ack();
            }
            Err(error) => {
                println!("  {error}");
                skip(error);
            }
        }
    }
    let report = source.close().await;
    if !report.is_complete() {
        println!("  {report}");
    }
    Ok(read)
}

/// Messages of somebody else may be no readings.
fn skip(error: SourceError) {
    if error.record().is_some() {
        error.skip();
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The batch takes messages one by one as there is room, so a message that was taken and is not in flight has its
/// answer.
async fn send_all(sink: &KafkaSink<Reading>) -> Result<Vec<Result<Delivery>>> {
    let taken = AtomicUsize::new(0);
    let messages = (0..BATCH).map(message).inspect(|_| _ = taken.fetch_add(1, Ordering::Relaxed));
    let mut batch = pin!(sink.send_batch(messages));
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let mut progress = Progress::new();
    loop {
        tokio::select! {
            results = &mut batch => {
                progress.end(results.as_ref().map_or(0, Vec::len));
                return results;
            }
            _ = tick.tick() => {
                let on_their_way = sink.control().in_flight().records;
                progress.show(taken.load(Ordering::Relaxed).saturating_sub(on_their_way));
            }
        }
    }
}

/// A progress bar on a terminal, otherwise a line now and then.
struct Progress {
    terminal: bool,
    shown: usize,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: io::stdout().is_terminal(), shown: 0 }
    }

    fn show(&mut self, answered: usize) {
        const WIDTH: usize = 40;
        let all = BATCH as usize;
        if self.terminal {
            let full = (answered * WIDTH / all).min(WIDTH);
            print!("\r  [{}{}] {answered:>6} of {all}", "=".repeat(full), " ".repeat(WIDTH - full));
            _ = io::stdout().flush();
        } else if answered > 0 && (answered >= self.shown + all / 4 || answered == all) {
            println!("  {answered:>6} of {all} answered");
            self.shown = answered;
        }
    }

    fn end(&mut self, answered: usize) {
        self.show(answered);
        println!();
        if self.terminal {
            println!();
        }
    }
}

fn config(brokers: Option<String>) -> KafkaSinkConfig {
    let topic = env::var("KAFKA_TOPIC").unwrap_or_else(|_| TOPIC.to_owned());
    let config = KafkaSinkConfig { topic, batch_size: 1_000, linger_ms: 2, ..Default::default() };
    match brokers {
        Some(brokers) => KafkaSinkConfig { brokers, ..config },
        None => config,
    }
}

fn place(number: u32, delivery: &Delivery) -> String {
    let offset = delivery.offset.map_or_else(|| "?".to_owned(), |offset| offset.to_string());
    format!("message {number}  ->  {}  partition {}  offset {offset:<4}", delivery.topic, delivery.partition)
}

fn took(time: Duration) -> String {
    if time.as_secs() > 0 {
        format!("{:.2} s", time.as_secs_f64())
    } else if time.as_millis() >= 10 {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.2} ms", time.as_secs_f64() * 1e3)
    }
}
