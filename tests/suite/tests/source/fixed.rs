//! Fixed partitions, without a group's rebalances, and topics by a pattern.

use kafka_tower::source::Acked;
use kafka_tower::{CommitStrategy, ErrorKind, KafkaSource, KafkaSourceConfig, Record, TopicPartition};
use tokio::time::timeout;
use tower::Service as _;

use crate::support::{GROUP, LONG, TOPIC, append, committed, config, kafka, next, source, take};

fn fixed(partitions: &[i32]) -> KafkaSourceConfig {
    let assign = partitions.iter().map(|partition| TopicPartition::new(TOPIC, *partition)).collect();
    KafkaSourceConfig { topics: Vec::new(), assign, ..config(CommitStrategy::Each) }
}

#[tokio::test(start_paused = true)]
async fn fixed_partitions_are_read_and_committed_without_rebalances() {
    let kafka = kafka(3);
    for partition in 0..3 {
        append(&kafka, partition, 0..2).await;
    }
    let mut first = source(&kafka, fixed(&[0, 2])).await;
    let mut second = source(&kafka, fixed(&[1])).await;
    let held = take(&mut first, 4).await;
    assert_eq!(first.assignment(), fixed(&[0, 2]).assign);
    for message in take(&mut second, 2).await {
        assert_eq!(message.partition(), 1);
        message.ack();
    }
    assert!(!kafka.start_rebalance(GROUP), "the group has no members");
    assert!(first.group().is_none() && second.group().is_none());
    drop(second.close().await);
    assert!(
        held.iter().all(|message| message.ack() == Acked::Counted),
        "another one that comes or goes changes nothing"
    );
    assert!(first.close().await.is_complete());
    assert_eq!([0, 1, 2].map(|partition| committed(&kafka, partition)), [2, 2, 2]);
    append(&kafka, 2, 2..3).await;
    let mut again = source(&kafka, fixed(&[2])).await;
    let message = next(&mut again).await;
    assert_eq!(message.offset(), 2, "the group keeps the offsets");
    message.ack();
    assert!(timeout(LONG, again.recv()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_does_not_exist_is_refused() {
    let builder = KafkaSource::<u32>::builder(fixed(&[0, 3])).transport(kafka(3));
    let error = builder.build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_created_later_joins_if_its_name_matches() {
    let kafka = kafka(2);
    append(&kafka, 0, 0..1).await;
    let pattern = KafkaSourceConfig {
        topics: Vec::new(),
        topic_pattern: Some("orders(-[a-z]+)?".to_owned()),
        ..config(CommitStrategy::Each)
    };
    let mut source = source(&kafka, pattern).await;
    next(&mut source).await.ack();
    for topic in ["orders-eu", "bills", "old-orders"] {
        kafka.create_topic(topic, 1);
        kafka.transport().call(Record::new(topic).with_partition(0).with_value("7")).await.unwrap();
    }
    let message = next(&mut source).await;
    assert_eq!((&**message.topic(), message.value()), ("orders-eu", Some(&7)));
    message.ack();
    assert!(timeout(LONG, source.recv()).await.is_err());
    assert_eq!(source.assignment().len(), 3);
    assert!(source.close().await.is_complete());
}
