//! What the tests share.

use std::time::Duration;

use kafka_tower::memory::MemoryKafka;
use kafka_tower::{CommitStrategy, KafkaSource, KafkaSourceConfig, Record, SourceMessage};
use tower::Service as _;

pub(crate) const GROUP: &str = "billing";
pub(crate) const TOPIC: &str = "orders";

/// Longer than any interval or back-off of the tests' settings.
pub(crate) const LONG: Duration = Duration::from_secs(120);

pub(crate) fn config(commit: CommitStrategy) -> KafkaSourceConfig {
    let commit_every = (commit == CommitStrategy::Periodic).then_some(3);
    KafkaSourceConfig { group_id: GROUP.into(), topics: vec![TOPIC.into()], commit, commit_every, ..Default::default() }
}

pub(crate) fn kafka(partitions: u32) -> MemoryKafka {
    MemoryKafka::new().with_topic(TOPIC, partitions)
}

pub(crate) async fn append(kafka: &MemoryKafka, partition: i32, values: impl IntoIterator<Item = u32>) {
    for value in values {
        append_text(kafka, partition, &value.to_string()).await;
    }
}

pub(crate) async fn append_text(kafka: &MemoryKafka, partition: i32, text: &str) {
    let record = Record::new(TOPIC).with_partition(partition).with_value(text.to_owned());
    kafka.transport().call(record).await.unwrap();
}

/// Appends a record with a key for each value.
pub(crate) async fn append_keyed(kafka: &MemoryKafka, partition: i32, values: impl IntoIterator<Item = (&str, u32)>) {
    for (key, value) in values {
        let record =
            Record::new(TOPIC).with_partition(partition).with_key(key.to_owned()).with_value(value.to_string());
        kafka.transport().call(record).await.unwrap();
    }
}

/// Appends records in a transaction, and aborts it.
pub(crate) async fn append_aborted(kafka: &MemoryKafka, partition: i32, count: u32) {
    let mut transport = kafka.transactional_transport("aborted");
    let transactions = transport.control().transactions().unwrap();
    let second = Duration::from_secs(1);
    transactions.init(second).await.unwrap();
    transactions.begin(second).await.unwrap();
    for _ in 0..count {
        transport.call(Record::new(TOPIC).with_partition(partition).with_value("0")).await.unwrap();
    }
    transactions.abort(second).await.unwrap();
}

pub(crate) async fn source(kafka: &MemoryKafka, config: KafkaSourceConfig) -> KafkaSource<u32> {
    KafkaSource::builder(config).transport(kafka.clone()).build().await.unwrap()
}

/// The next message, which must come.
pub(crate) async fn next(source: &mut KafkaSource<u32>) -> SourceMessage<u32> {
    let received = tokio::time::timeout(LONG, source.recv()).await.expect("a message");
    received.unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) async fn take(source: &mut KafkaSource<u32>, count: usize) -> Vec<SourceMessage<u32>> {
    let mut messages = Vec::new();
    while messages.len() < count {
        messages.push(next(source).await);
    }
    messages
}

pub(crate) fn committed(kafka: &MemoryKafka, partition: i32) -> i64 {
    kafka.committed_offset(GROUP, TOPIC, partition).unwrap_or(0)
}
