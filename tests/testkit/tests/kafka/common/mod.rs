//! Helpers shared by these tests; each uses some of them.

#![allow(dead_code, clippy::unwrap_used)]

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord, future_producer::Delivery};

/// A producer that sends at once and soon notices a restarted broker.
pub(crate) fn producer(bootstrap: &str, more: &[(&str, &str)]) -> FutureProducer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("linger.ms", "0")
        .set("message.timeout.ms", "30000")
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "100");
    for (key, value) in more {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

pub(crate) async fn send(
    producer: &FutureProducer,
    record: FutureRecord<'_, str, str>,
) -> Result<Delivery, KafkaError> {
    producer.send(record, Duration::from_secs(5)).await.map_err(|(error, _)| error)
}
