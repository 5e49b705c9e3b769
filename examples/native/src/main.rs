//! First messages through the native transport: a few by hand, then ten thousand at once. It needs no C compiler.
//!
//! ```text
//! KAFKA_BROKERS=host:9092 KAFKA_TOPIC=my-topic cargo run -p native
//! ```
//!
//! The topic has to exist. `docker compose up -d` starts a Kafka at localhost:9092.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kafka_tower::native::NativeTransport;
use kafka_tower::{Delivery, KafkaSink, KafkaSinkConfig, Result, SinkMessage};

const BATCH: u32 = 10_000;
/// Sent before the batch.
const SINGLE: u32 = 5;

#[derive(serde::Serialize)]
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
    let brokers = env::var("KAFKA_BROKERS").unwrap_or_else(|_| "localhost:9092".to_owned());
    let topic = env::var("KAFKA_TOPIC").unwrap_or_else(|_| "kafka-tower-native".to_owned());
    println!("kafka-tower, native transport\n");
    println!("  brokers   {brokers}");
    println!("  topic     {topic}\n");

    let begun = Instant::now();
    let transport = NativeTransport::builder().bootstrap(brokers.as_str()).topic(topic.as_str()).connect().await?;
    let config = KafkaSinkConfig { brokers, topic: topic.clone(), ..Default::default() };
    let sink = KafkaSink::<Reading>::builder(config).transport(transport).build().await?;
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
    let results = sink.send_batch((0..BATCH).map(message)).await?;
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
    println!("\nClosed: nothing was left in flight.");
    Ok(failed)
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
