//! A service that is not `Clone`, and a layer of records among those of messages.

use std::time::Duration;

use kafka_tower::memory::MemoryKafka;
use kafka_tower::{KafkaSink, KafkaSinkConfig, Record};
use tower::limit::RateLimitLayer;
use tower::util::MapRequestLayer;

async fn not_clone(kafka: MemoryKafka) {
    let builder = KafkaSink::<String>::builder(KafkaSinkConfig::default()).transport(kafka.transport());
    let limit = RateLimitLayer::new(5, Duration::from_secs(1));
    let _ = builder.layer(limit).build().await;
}

async fn of_records(kafka: MemoryKafka) {
    let builder = KafkaSink::<String>::builder(KafkaSinkConfig::default()).transport(kafka.transport());
    let audit = MapRequestLayer::new(|record: Record| record);
    let _ = builder.layer(audit).build().await;
}

fn main() {}
