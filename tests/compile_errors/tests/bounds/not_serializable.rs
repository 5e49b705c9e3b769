//! A value that JSON, the default, cannot encode, and a serializer that is none.

use std::sync::Arc;

use kafka_tower::memory::MemoryKafka;
use kafka_tower::{KafkaSink, KafkaSinkConfig};

struct Order {
    id: u64,
}

struct Csv;

async fn json(kafka: MemoryKafka) {
    let builder = KafkaSink::<Order>::builder(KafkaSinkConfig::default()).transport(kafka.transport());
    let _ = builder.build().await;
}

fn csv() {
    let _ = KafkaSink::<Order>::builder(KafkaSinkConfig::default()).serializer(Arc::new(Csv));
}

fn main() {}
