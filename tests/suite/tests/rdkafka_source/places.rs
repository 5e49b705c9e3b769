//! Starts, seeks, pauses and lag over a real Kafka.

use std::sync::LazyLock;
use std::time::Duration;

use kafka_tower::source::{Checkpoint, SourceErrorKind};
use kafka_tower::{
    CommitStrategy, KafkaSourceConfig, OutOfRangePolicy, Record, SeekTo, StartFrom, Timestamp, TopicPartition,
};
use kafka_tower_test_suite::proxied::alone;
use kafka_tower_testkit::kafka::proxy::{Action, ApiKey, Direction};
use kafka_tower_testkit::kafka::{self as cluster, Listener};
use tokio::time::timeout;

use crate::read::{PATIENCE, config, next, source};
use crate::support::{Kind, append};

const MOMENT: Duration = Duration::from_secs(3);

/// Appends records of one second each.
async fn append_seconds(bootstrap: &str, topic: &str, numbers: std::ops::Range<i64>) {
    let builder = kafka_tower_rdkafka::RdkafkaTransport::builder().property("bootstrap.servers", bootstrap);
    let record = |number: i64| {
        let record = Record::new(topic).with_partition(0).with_value(number.to_string());
        record.with_timestamp(second(number))
    };
    append(&builder.connect().await.unwrap(), numbers.map(record).collect()).await;
}

/// Recent: Kafka deletes records whose timestamps are old.
fn second(number: i64) -> Timestamp {
    static BASE: LazyLock<i64> = LazyLock::new(|| Timestamp::now().as_millis() - 60_000);
    Timestamp::from_millis(*BASE + 1_000 * number)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_seeks_pauses_and_knows_its_lag() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("places", 1).await.unwrap();
    append_seconds(kafka.bootstrap(), &topic, 0..10).await;
    let at = TopicPartition::new(topic.as_str(), 0);
    for kind in [Kind::Cooperative, Kind::Eager, Kind::Consumer] {
        let group_id = format!("{kind:?}-of-{topic}");
        let mut source = source(KafkaSourceConfig { group_id: group_id.clone(), ..config(kafka, &topic, kind) }).await;
        let first = next(&mut source).await;
        first.commit().await.unwrap();
        assert_eq!(source.assignment(), std::slice::from_ref(&at));
        assert_eq!(source.lag().await.unwrap()[&at], Some(9));
        for (place, offset) in [(SeekTo::Timestamp(second(7)), 7), (SeekTo::Offset(3), 3), (SeekTo::Beginning, 0)] {
            source.seek(&at, place).await.unwrap();
            let message = next(&mut source).await;
            assert_eq!(message.offset(), offset, "{kind:?} {place:?}");
            message.ack();
        }
        assert!(source.pause(&at));
        assert!(timeout(MOMENT, source.recv()).await.is_err());
        assert!(source.resume(&at));
        let second = next(&mut source).await;
        assert_eq!(second.offset(), 1, "{kind:?}");
        drop(second);
        source.seek(&at, SeekTo::End).await.unwrap();
        assert!(timeout(MOMENT, source.recv()).await.is_err());
        assert_eq!(source.lag().await.unwrap()[&at], Some(0));
        assert!(source.close().await.left);
        let committed = kafka.committed_offset(&group_id, &topic, 0).await.unwrap();
        assert_eq!(committed, Some(10), "{kind:?}: the place of the seek");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_begins_where_it_is_told() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("starts", 1).await.unwrap();
    append_seconds(kafka.bootstrap(), &topic, 0..10).await;
    let at = TopicPartition::new(topic.as_str(), 0);
    let offsets: Checkpoint = [(at.clone(), 4)].into_iter().collect();
    for (name, start, offset) in
        [("time", StartFrom::Timestamp(second(6)), 6), ("explicit", StartFrom::Explicit(offsets), 4)]
    {
        let config = config(kafka, &topic, Kind::Cooperative);
        let config = KafkaSourceConfig { group_id: format!("{name}-of-{topic}"), start, ..config };
        let mut first = source(config.clone()).await;
        let message = next(&mut first).await;
        assert_eq!(message.offset(), offset, "{name}");
        message.commit().await.unwrap();
        assert!(first.close().await.left);
        let mut second = source(config).await;
        assert_eq!(next(&mut second).await.offset(), offset + 1, "{name}: the committed offset comes first");
    }
    let config = KafkaSourceConfig {
        commit: CommitStrategy::Checkpoint,
        group_id: format!("stored-of-{topic}"),
        ..config(kafka, &topic, Kind::Cooperative)
    };
    let stored = |_| async { Ok::<_, std::io::Error>(Some(8)) };
    let mut stored = kafka_tower::KafkaSource::<u32>::builder(config).start_at(stored).build().await.unwrap();
    let message = next(&mut stored).await;
    assert_eq!(message.offset(), 8);
    message.ack();
    stored.commit_checkpoint(&stored.checkpoint()).await.unwrap();
    let committed = kafka.committed_offset(&format!("stored-of-{topic}"), &topic, 0).await.unwrap();
    assert_eq!(committed, Some(9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_once_is_committed_first() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("once", 1).await.unwrap();
    append_seconds(kafka.bootstrap(), &topic, 0..3).await;
    let config = config(kafka, &topic, Kind::Cooperative);
    let config = KafkaSourceConfig { commit: CommitStrategy::AtMostOnce, ..config };
    let mut source = source(config.clone()).await;
    for offset in 0..3 {
        let message = next(&mut source).await;
        assert_eq!(message.offset(), offset);
        let committed = kafka.committed_offset(&config.group_id, &topic, 0).await.unwrap();
        assert!(committed > Some(offset), "{committed:?} before {offset} is handled");
    }
    assert!(timeout(MOMENT, source.recv()).await.is_err(), "what was dropped is lost");
}

/// librdkafka still asks a broker where the partition begins when it is sought. The late answer must not move it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seek_stands_though_the_beginning_is_still_looked_up() {
    let Some((kafka, _alone)) = alone().await else { return };
    let proxy = kafka.proxy().unwrap();
    for start in [StartFrom::Latest, StartFrom::Earliest] {
        let topic = kafka.topic("late-start", 1).await.unwrap();
        append_seconds(kafka.bootstrap(), &topic, 0..10).await;
        let at = TopicPartition::new(topic.as_str(), 0);
        proxy.next_of(ApiKey::LIST_OFFSETS, &topic, Action::Hold);
        let brokers = kafka.bootstrap_of(Listener::Proxy).unwrap();
        let config = config(kafka, &topic, Kind::Cooperative);
        let mut source = source(KafkaSourceConfig { brokers, start: start.clone(), ..config }).await;
        proxy.wait_for_held_of(&topic, 1).await.unwrap();
        // The broker answers, and the answer comes after the seek, which shows in a request for records.
        proxy.pause(Direction::ToClient);
        proxy.release_of(&topic).await.unwrap();
        let fetches = proxy.requests(ApiKey::FETCH);
        source.seek(&at, SeekTo::Offset(3)).await.unwrap();
        proxy.wait_for(ApiKey::FETCH, fetches + 1).await.unwrap();
        proxy.resume(Direction::ToClient);
        for offset in 3..11 {
            if offset == 10 {
                // librdkafka asks again half a second later.
                append_seconds(kafka.bootstrap(), &topic, 10..11).await;
            }
            let message = next(&mut source).await;
            assert_eq!(message.offset(), offset, "{start:?}");
            message.commit().await.unwrap();
        }
        let more = timeout(MOMENT, source.recv()).await;
        assert!(more.is_err(), "{start:?}: nothing comes twice: {more:?}");
        assert!(timeout(PATIENCE, source.close()).await.unwrap().left);
    }
}

/// Records that are deleted before they are read are passed as the policy says, and never silently.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_records_are_passed_as_the_policy_says() {
    let Some(kafka) = cluster::shared().await else { return };
    let topic = kafka.topic("deleted", 1).await.unwrap();
    append_seconds(kafka.bootstrap(), &topic, 0..10).await;
    kafka.delete_records(&topic, 0, 7).await.unwrap();
    let at = TopicPartition::new(topic.as_str(), 0);
    let offsets: Checkpoint = [(at.clone(), 2)].into_iter().collect();
    let behind = KafkaSourceConfig { start: StartFrom::Explicit(offsets), ..config(kafka, &topic, Kind::Cooperative) };
    let each = [OutOfRangePolicy::Fail, OutOfRangePolicy::Earliest, OutOfRangePolicy::Latest].map(|policy| {
        let (topic, behind, at) = (&topic, &behind, &at);
        async move {
            let group_id = format!("{policy:?}-of-{topic}");
            let on_out_of_range = Some(policy);
            let mut source =
                source(KafkaSourceConfig { group_id: group_id.clone(), on_out_of_range, ..behind.clone() }).await;
            let received = timeout(2 * MOMENT, source.recv()).await;
            let committed = async || kafka.committed_offset(&group_id, topic, 0).await.unwrap();
            match policy {
                OutOfRangePolicy::Fail => {
                    let error = received.expect("an error").expect_err("it is out of range");
                    assert_eq!((error.kind(), error.place()), (SourceErrorKind::OffsetOutOfRange, Some((at, 2))));
                    assert!(timeout(MOMENT, source.recv()).await.is_err(), "the partition waits");
                    assert_eq!(committed().await, Some(2), "the place where it was to begin");
                    source.seek(at, SeekTo::Beginning).await.unwrap();
                    assert_eq!(next(&mut source).await.offset(), 7);
                }
                OutOfRangePolicy::Earliest => {
                    assert_eq!(received.expect("a message").expect("without an error").offset(), 7);
                    assert_eq!(committed().await, Some(7));
                }
                _ => {
                    assert!(received.is_err(), "nothing is at the end");
                    assert_eq!(committed().await, Some(10));
                }
            }
            drop(timeout(PATIENCE, source.close()).await.unwrap());
        }
    });
    futures_util::future::join_all(each).await;
}
