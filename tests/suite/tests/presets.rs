//! Tests that presets do what they are for, and that defaults follow the configuration.
#![allow(clippy::unwrap_used)] // a test may fail

use std::time::Duration;

use futures_util::{StreamExt, stream};
use kafka_tower::layers::serialize::SerializeLayer;
use kafka_tower::memory::{MemoryKafka, MemoryTransport};
use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage};
use tokio::time::Instant;
use tower::ServiceBuilder;

const MESSAGES: u32 = 40_000;

/// Returns a transport that fills batches as librdkafka does with this configuration.
fn client(kafka: &MemoryKafka, config: &KafkaSinkConfig, partitions: u32) -> MemoryTransport {
    let linger = Duration::from_millis(config.linger_ms);
    let producer = kafka.producer().limits(config.limits(partitions));
    producer.batches(config.batch_size, linger).transport()
}

async fn streamed(config: KafkaSinkConfig, partitions: u32) -> Duration {
    let kafka = MemoryKafka::new().with_topic("clicks", partitions);
    let transport = client(&kafka, &config, partitions);
    let sink = KafkaSink::<u32>::builder(config).transport(transport).build().await.unwrap();
    let begun = Instant::now();
    let messages = (0..MESSAGES).map(|n| SinkMessage::new(n).with_partition((n % partitions) as i32));
    let mut results = sink.send_stream(stream::iter(messages));
    let mut offsets = 0;
    while let Some(result) = results.next().await {
        result.unwrap();
        offsets += 1;
    }
    assert_eq!(offsets, MESSAGES);
    begun.elapsed()
}

/// The clock is paused: it advances only while all tasks wait, by a tenth of a second for each linger time that a
/// stream waits for.
#[tokio::test(start_paused = true)]
async fn a_stream_fills_the_batches_that_the_preset_makes() {
    for partitions in [1, 4] {
        let took = streamed(KafkaSinkConfig::high_throughput("localhost:9092", "clicks"), partitions).await;
        assert!(took <= Duration::from_millis(200), "{took:?} with {partitions} partitions");
    }
}

/// The same over a user's own stack, whose sink has no configuration.
#[tokio::test(start_paused = true)]
async fn a_stream_over_a_users_own_stack_fills_batches_too() {
    let kafka = MemoryKafka::new().with_topic("clicks", 1);
    let config = KafkaSinkConfig::high_throughput("localhost:9092", "clicks");
    let transport = client(&kafka, &config, 1);
    let control = transport.control();
    let stack = ServiceBuilder::new().layer(SerializeLayer::json("clicks")).service(transport);
    let sink = KafkaSink::<u32>::from_service(stack, control, Duration::from_secs(30));
    let begun = Instant::now();
    let results: Vec<_> = sink.send_stream(stream::iter(0..MESSAGES)).collect().await;
    assert!(results.iter().all(Result::is_ok));
    assert!(begun.elapsed() <= Duration::from_millis(200), "{:?}", begun.elapsed());
}

/// Results that are not taken limit a stream, even if the transport has unlimited room.
#[tokio::test(start_paused = true)]
async fn a_stream_does_not_run_ahead_of_its_results() {
    let kafka = MemoryKafka::new().with_topic("clicks", 1);
    let config = KafkaSinkConfig { topic: "clicks".into(), ..Default::default() };
    let sink = KafkaSink::<u32>::builder(config).transport(kafka.transport()).build().await.unwrap();
    let mut results = sink.send_stream(stream::iter(0..100_000));
    for _ in 0..10 {
        results.next().await.unwrap().unwrap();
    }
    assert!(kafka.records("clicks").len() <= 2_000, "{}", kafka.records("clicks").len());
}

#[test]
fn presets_are_consistent() {
    for config in [
        KafkaSinkConfig { topic: "t".into(), ..Default::default() },
        KafkaSinkConfig::high_throughput("localhost:9092", "t"),
        KafkaSinkConfig::low_latency("localhost:9092", "t"),
        KafkaSinkConfig::exactly_once("localhost:9092", "t", "id"),
    ] {
        config.validate().unwrap();
        assert_eq!(config.warnings(), [""; 0]);
    }
}
