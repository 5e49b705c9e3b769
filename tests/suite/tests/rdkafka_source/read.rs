//! `KafkaSource` reads from a real Kafka what a sink has sent.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_tower::source::{SourceErrorKind, SourceRecovery};
use kafka_tower::{
    CommitStrategy, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, SinkMessage, Timestamp, TimestampType,
};
use kafka_tower_core::{ConsumerGroup, TopicOffset};
use kafka_tower_testkit::kafka::{self as cluster, Cluster, Isolation};
use tokio::time::timeout;

use crate::support::{Kind, append_aborted};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn config(kafka: &Cluster, topic: &str, kind: Kind) -> KafkaSourceConfig {
    let mut config = KafkaSourceConfig {
        brokers: kafka.bootstrap().to_owned(),
        group_id: format!("readers-of-{topic}"),
        topics: vec![topic.to_owned()],
        commit: CommitStrategy::Each,
        ..Default::default()
    };
    match kind {
        Kind::Consumer => config.group_protocol = kafka_tower::GroupProtocol::Consumer,
        Kind::Eager => config.assignor = kafka_tower::Assignor::Range,
        Kind::Cooperative | Kind::Static => {}
    }
    if kind != Kind::Consumer {
        (config.session_timeout_ms, config.heartbeat_interval_ms) = (6_000, 200);
    }
    config
}

pub(crate) async fn source(config: KafkaSourceConfig) -> KafkaSource<u32> {
    KafkaSource::new(config).await.unwrap_or_else(|error| panic!("{error:#}"))
}

pub(crate) async fn sink(kafka: &Cluster, topic: &str) -> KafkaSink<u32> {
    let config =
        KafkaSinkConfig { brokers: kafka.bootstrap().to_owned(), topic: topic.to_owned(), ..Default::default() };
    KafkaSink::new(config).await.unwrap()
}

pub(crate) async fn send(sink: &KafkaSink<u32>, numbers: std::ops::Range<u32>) {
    let messages = numbers.map(|number| SinkMessage::new(number).with_key(format!("{}", number % 7)));
    for outcome in sink.send_batch(messages.collect::<Vec<_>>()).await.unwrap() {
        outcome.unwrap();
    }
}

pub(crate) async fn next(source: &mut KafkaSource<u32>) -> kafka_tower::SourceMessage<u32> {
    let received = timeout(PATIENCE, source.recv()).await.expect("a message in time");
    received.unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until the group has committed the end of every partition.
pub(crate) async fn no_lag(kafka: &Cluster, topic: &str, group: &str) {
    let ends = kafka.ends(topic, Isolation::Uncommitted).await.unwrap();
    let all = async {
        for (partition, end) in (0_i32..).zip(ends) {
            while kafka.committed_offset(group, topic, partition).await.unwrap().unwrap_or(0) < end {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    timeout(PATIENCE, all).await.expect("everything is committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sink_sent_is_read_once_in_order_and_committed() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("read", 3).await.unwrap();
    send(&sink(kafka, &topic).await, 0..1_000).await;
    let config = config(kafka, &topic, Kind::Cooperative);
    let mut source = source(config.clone()).await;
    let mut read: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for _ in 0..1_000 {
        let message = next(&mut source).await;
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        read.entry(key).or_default().push(*message.value().unwrap());
        message.ack();
    }
    for (key, numbers) in read {
        let key: u32 = key.parse().unwrap();
        assert_eq!(numbers, (0..1_000).filter(|number| number % 7 == key).collect::<Vec<_>>());
    }
    // A source that waits for the next message is at the end.
    assert!(timeout(Duration::from_secs(1), source.recv()).await.is_err());
    no_lag(kafka, &topic, &config.group_id).await;
    let report = source.close().await;
    assert!(report.is_complete(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_source_continues_where_the_group_has_committed() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("restart", 1).await.unwrap();
    let sink = sink(kafka, &topic).await;
    send(&sink, 0..10).await;
    let config = config(kafka, &topic, Kind::Cooperative);
    let mut first = source(config.clone()).await;
    let mut held = Vec::new();
    for number in 0..10 {
        let message = next(&mut first).await;
        assert_eq!(message.value(), Some(&number));
        held.push(message);
    }
    // Out of order: 4 is never acknowledged.
    for message in held.iter().rev().filter(|message| message.value() != Some(&4)) {
        message.ack();
    }
    let closed = timeout(PATIENCE, first.close_within(Duration::from_millis(100))).await.unwrap();
    assert!(!closed.is_complete(), "{closed:?}");
    assert_eq!(kafka.committed_offset(&config.group_id, &topic, 0).await.unwrap(), Some(4));
    let mut second = source(config).await;
    for number in 4..10 {
        let message = next(&mut second).await;
        assert_eq!(message.value(), Some(&number));
        message.ack();
    }
    assert!(second.close().await.is_complete());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_transactions_at_the_end_leave_no_lag() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("aborted", 1).await.unwrap();
    send(&sink(kafka, &topic).await, 0..3).await;
    let aborted = (0..3).map(|_| kafka_tower::Record::new(&*topic).with_partition(0).with_value("9"));
    append_aborted(kafka.bootstrap(), &topic, aborted.collect()).await;
    let config = config(kafka, &topic, Kind::Cooperative);
    let mut source = source(config.clone()).await;
    for number in 0..3 {
        let message = next(&mut source).await;
        assert_eq!(message.value(), Some(&number));
        message.ack();
    }
    assert!(timeout(Duration::from_secs(1), source.recv()).await.is_err());
    no_lag(kafka, &topic, &config.group_id).await;
    assert!(source.close().await.is_complete());
}

/// A message has the time that its topic keeps, and says whose it is: the sender's, or the broker's when it appended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_says_whose_its_time_is() {
    let Some(kafka) = cluster::shared().await else { return };
    let sent = Timestamp::from_millis(Timestamp::now().as_millis() - 60_000);
    for (name, of) in [("CreateTime", TimestampType::Create), ("LogAppendTime", TimestampType::LogAppend)] {
        let topic = kafka.topic_with("times", 1, &[("message.timestamp.type", name)]).await.unwrap();
        sink(kafka, &topic).await.send(SinkMessage::new(1).with_timestamp(sent)).await.unwrap();
        let mut source = source(config(kafka, &topic, Kind::Cooperative)).await;
        let message = next(&mut source).await;
        let time = message.timestamp().expect("a time");
        assert_eq!(message.timestamp_type(), Some(of));
        assert_eq!(time == sent, of == TimestampType::Create, "{name}: {time:?}, sent as {sent:?}");
        assert!(time >= sent);
        message.ack();
        assert!(source.close().await.is_complete());
    }
}

/// A transaction that is open for long has offsets of the group: the source is made, and waits for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_of_an_open_transaction_are_waited_for() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("pending", 1).await.unwrap();
    send(&sink(kafka, &topic).await, 0..5).await;
    let config = config(kafka, &topic, Kind::Cooperative);
    let producer = kafka_tower_test_suite::rdkafka::open_transactional(kafka.bootstrap(), &topic, ()).await;
    let transactions = producer.control.transactions().unwrap();
    transactions.begin(PATIENCE).await.unwrap();
    let offset = TopicOffset { topic: topic.as_str().into(), partition: 0, offset: 3 };
    let group = ConsumerGroup {
        group_id: config.group_id.clone(),
        generation: -1,
        member_id: String::new(),
        group_instance_id: None,
    };
    transactions.send_offsets(vec![offset], group, PATIENCE).await.unwrap();
    let mut source = source(config).await;
    assert!(timeout(Duration::from_secs(3), source.recv()).await.is_err(), "it is not known where the group continues");
    transactions.commit(PATIENCE).await.unwrap();
    assert_eq!(next(&mut source).await.offset(), 3);
    drop(source.close().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_source_says_so_and_unknown_topics_are_found_at_once() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("closed", 1).await.unwrap();
    let config = config(kafka, &topic, Kind::Cooperative);
    let mut source = source(config.clone()).await;
    assert!(source.close().await.is_complete());
    let closed = source.recv().await.expect_err("closed");
    assert_eq!((closed.kind(), closed.recovery()), (SourceErrorKind::Closed, SourceRecovery::Stop));
    let unknown = KafkaSourceConfig { topics: vec![format!("{topic}-unknown")], ..config };
    let error = KafkaSource::<u32>::new(unknown).await.expect_err("unknown");
    assert_eq!(error.kind(), kafka_tower::ErrorKind::UnknownTopicOrPartition, "{error:#}");
}
