//! The two ways to use transactions, over the memory transport.

mod begin;
mod closure;
mod guard;
mod misuse;
mod unknown;

use std::time::Duration;

use kafka_tower::memory::{MemoryKafka, TransactionCall};
use kafka_tower::{
    ConsumerGroup, Error, ErrorKind, KafkaSink, KafkaSinkConfig, Persistence, Recovery, Result, TopicOffset,
};
use kafka_tower_test_texts::assert_consistent;

const TIME: Duration = Duration::from_secs(1);

fn config() -> KafkaSinkConfig {
    KafkaSinkConfig {
        send_timeout_ms: TIME.as_millis().try_into().unwrap(),
        ..KafkaSinkConfig::exactly_once("memory", "numbers", "id")
    }
}

async fn sink_over(kafka: &MemoryKafka) -> KafkaSink<u32> {
    KafkaSink::builder(config()).transport(kafka.transactional_transport("id")).build().await.unwrap()
}

async fn stage() -> (MemoryKafka, KafkaSink<u32>) {
    let kafka = MemoryKafka::new().with_topic("numbers", 1);
    let sink = sink_over(&kafka).await;
    (kafka, sink)
}

fn committed(kafka: &MemoryKafka) -> Vec<u32> {
    let records = kafka.committed("numbers");
    records.iter().map(|stored| String::from_utf8_lossy(stored.value().unwrap()).parse().unwrap()).collect()
}

type Facts = (ErrorKind, Recovery, Persistence);

const MISUSE: Facts = (ErrorKind::Transaction, Recovery::Reject, Persistence::NotPersisted);

#[track_caller]
fn facts<T: std::fmt::Debug>(result: Result<T>) -> Facts {
    let error = result.unwrap_err();
    assert_consistent(&error);
    (error.kind(), error.recovery(), error.persistence())
}

/// Asserts that the call was out of order, that its text contains `what` and its help `cure`.
#[track_caller]
fn assert_misuse<T: std::fmt::Debug>(result: Result<T>, what: &str, cure: &str) {
    let error = result.unwrap_err();
    assert_consistent(&error);
    assert_eq!((error.kind(), error.recovery(), error.persistence()), MISUSE, "{error:#}");
    assert!(error.message().contains(what), "{error:#}");
    assert!(error.help().contains(cure), "{error:#}");
}
