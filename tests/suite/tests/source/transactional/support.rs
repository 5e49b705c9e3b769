//! What these tests share.

use std::future::Future;

use kafka_tower::memory::{MemoryKafka, StoredRecord};
use kafka_tower::source::SourceCloseReport;
use kafka_tower::{
    CommitStrategy, Error, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, SinkMessage, SourceError,
    SourceMessage,
};
use tokio::time::{sleep, timeout};

use crate::support::{LONG, committed, config, source};

pub(crate) const BILLS: &str = "bills";

pub(crate) type Ended = Result<SourceCloseReport, SourceError>;

/// Input and output with as many partitions.
pub(crate) fn kafka(partitions: u32) -> MemoryKafka {
    crate::support::kafka(partitions).with_topic(BILLS, partitions)
}

pub(crate) async fn filled(partitions: u32, records: u32) -> MemoryKafka {
    crate::support::filled(partitions, records).await.with_topic(BILLS, partitions)
}

pub(crate) fn settings() -> KafkaSourceConfig {
    config(CommitStrategy::Transaction)
}

pub(crate) async fn members(kafka: &MemoryKafka) -> KafkaSource<u32> {
    source(kafka, settings()).await
}

pub(crate) async fn sink(kafka: &MemoryKafka, id: &str) -> KafkaSink<u32> {
    let config = KafkaSinkConfig::exactly_once("memory", BILLS, id);
    KafkaSink::builder(config).transport(kafka.transactional_transport(id)).build().await.unwrap()
}

/// The bill of an order: the same number, in the partition of the order.
pub(crate) fn bill(order: &SourceMessage<u32>) -> SinkMessage<u32> {
    SinkMessage::new(*order.value().unwrap()).with_partition(order.partition())
}

pub(crate) async fn pass(order: SourceMessage<u32>) -> Result<Vec<SinkMessage<u32>>, Error> {
    Ok(vec![bill(&order)])
}

/// Runs until nothing is left to do for a long time, then closes.
pub(crate) fn until_idle(kafka: &MemoryKafka) -> impl Future<Output = ()> + Send + use<> {
    let kafka = kafka.clone();
    async move {
        let mut before = None;
        loop {
            sleep(LONG / 4).await;
            let now = (kafka.records(BILLS).len(), offsets(&kafka));
            if before.as_ref() == Some(&now) {
                break;
            }
            before = Some(now);
        }
    }
}

pub(crate) async fn finish(kafka: &MemoryKafka, source: KafkaSource<u32>, sink: KafkaSink<u32>) -> Ended {
    ended(source.transactional(sink, pass).until(until_idle(kafka)).into_future()).await
}

pub(crate) async fn ended(run: impl Future<Output = Ended>) -> Ended {
    timeout(20 * LONG, run).await.expect("it ends")
}

pub(crate) fn offsets(kafka: &MemoryKafka) -> Vec<i64> {
    (0..kafka.partition_count(BILLS).unwrap() as i32).map(|partition| committed(kafka, partition)).collect()
}

/// The numbers of the committed bills of a partition, in order.
pub(crate) fn bills(kafka: &MemoryKafka, partition: i32) -> Vec<u32> {
    let records = kafka.committed_partition(BILLS, partition);
    records.iter().map(|record| std::str::from_utf8(record.value().unwrap()).unwrap().parse().unwrap()).collect()
}

/// The offsets of the committed dead letters of a partition's records, in order.
pub(crate) fn letters(kafka: &MemoryKafka, partition: i32) -> Vec<i64> {
    let number = |record: &StoredRecord, name: &str| {
        let header = record.record.headers.get(&format!("kafka-tower-dlq-{name}")).unwrap();
        std::str::from_utf8(header).unwrap().parse::<i64>().unwrap()
    };
    let topics = ["orders.dlq", "dead"].into_iter().filter(|topic| kafka.partition_count(topic).is_some());
    let letters = topics.flat_map(|topic| kafka.committed(topic));
    let letters = letters.filter(|letter| number(letter, "partition") == i64::from(partition));
    letters.map(|letter| number(&letter, "offset")).collect()
}

/// Each order below `records` has exactly one bill, in order, and its offset is committed.
#[track_caller]
pub(crate) fn assert_exactly_once(kafka: &MemoryKafka, records: u32) {
    for partition in 0..kafka.partition_count(BILLS).unwrap() as i32 {
        assert_eq!(bills(kafka, partition), (0..records).collect::<Vec<_>>(), "partition {partition}");
        assert_eq!(committed(kafka, partition), i64::from(records), "partition {partition}");
    }
}

pub(crate) async fn texts(kafka: &MemoryKafka, id: &str) -> KafkaSink<String> {
    let config = KafkaSinkConfig::exactly_once("memory", BILLS, id);
    KafkaSink::builder(config).transport(kafka.transactional_transport(id)).build().await.unwrap()
}
