//! Where a source reads: starts, seeks, pauses.

use std::time::Duration;

use kafka_tower::memory::MemoryKafka;
use kafka_tower::source::{Acked, Checkpoint, SourceErrorKind};
use kafka_tower::{CommitStrategy, KafkaSourceConfig, Record, SeekTo, StartFrom, Timestamp, TopicPartition};
use tokio::time::{sleep, timeout};
use tower::Service as _;

use crate::support::{GROUP, LONG, TOPIC, append, append_aborted, committed, config, kafka, next, source, take};

const YEAR_2020: i64 = 1_600_000_000_000;

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

fn second(number: u32) -> Timestamp {
    Timestamp::from_millis(YEAR_2020 + 1_000 * i64::from(number))
}

/// Appends records of one second each.
async fn append_seconds(kafka: &MemoryKafka, values: std::ops::Range<u32>) {
    for value in values {
        let record = Record::new(TOPIC).with_partition(0).with_value(value.to_string()).with_timestamp(second(value));
        kafka.transport().call(record).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_is_found_where_nothing_is_committed_and_only_there() {
    let kafka = kafka(1);
    append_seconds(&kafka, 0..5).await;
    let offsets: Checkpoint = [(at(0), 3)].into_iter().collect();
    for (group, start, first) in [
        ("a time", StartFrom::Timestamp(second(2)), Some(2)),
        ("between two", StartFrom::Timestamp(Timestamp::from_millis(second(1).as_millis() + 1)), Some(2)),
        ("a time to come", StartFrom::Timestamp(second(9)), None),
        ("an offset", StartFrom::Explicit(offsets.clone()), Some(3)),
        ("another partition", StartFrom::Explicit(Checkpoint::new()), Some(0)),
    ] {
        let config = KafkaSourceConfig { group_id: group.into(), start, ..config(CommitStrategy::Each) };
        let mut first_source = source(&kafka, config.clone()).await;
        let received = timeout(LONG, first_source.recv()).await;
        assert_eq!(received.ok().map(|message| message.unwrap().offset()), first, "{group}");
        if first.is_some() {
            first_source.seek(&at(0), SeekTo::Offset(4)).await.unwrap();
            next(&mut first_source).await.ack();
        }
        assert!(first_source.close().await.is_complete());
        let committed = kafka.committed_offset(group, TOPIC, 0);
        assert_eq!(committed, Some(5), "{group}: also the end that a start has found");
        let mut second = source(&kafka, config).await;
        assert!(timeout(LONG, second.recv()).await.is_err(), "{group}: the committed offset comes first");
    }
}

/// A transport whose first look-ups fail.
#[tokio::test(start_paused = true)]
async fn a_start_that_is_not_found_is_reported_and_found_later() {
    let kafka = kafka(1);
    append_seconds(&kafka, 0..3).await;
    let transport = crate::planted::Blind::new(&kafka, 2);
    let config = KafkaSourceConfig { start: StartFrom::Timestamp(second(1)), ..config(CommitStrategy::Each) };
    let mut source = kafka_tower::KafkaSource::<u32>::builder(config).transport(transport).build().await.unwrap();
    for _ in 0..2 {
        let error = timeout(LONG, source.recv()).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.partitions()), (SourceErrorKind::Seek, &[at(0)][..]));
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(next(&mut source).await.offset(), 1, "and never from the beginning");
}

#[tokio::test(start_paused = true)]
async fn a_seek_continues_there_and_is_committed() {
    let kafka = kafka(2);
    append_seconds(&kafka, 0..5).await;
    let mut source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let received = take(&mut source, 4).await;
    assert!(received.iter().all(|message| message.ack() == Acked::Counted));
    source.commit().await.unwrap();
    assert_eq!(committed(&kafka, 0), 4);
    source.seek(&at(0), SeekTo::Timestamp(second(1))).await.unwrap();
    assert_eq!(received[3].ack(), Acked::Counted, "as before");
    let again = take(&mut source, 2).await;
    assert_eq!(again.iter().map(|message| message.offset()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(again[0].attempt(), 1);
    source.commit().await.unwrap();
    assert_eq!(committed(&kafka, 0), 1, "the group continues where this source does");
    source.seek(&at(0), SeekTo::Beginning).await.unwrap();
    assert_eq!(again[0].ack(), Acked::Stale);
    assert_eq!(next(&mut source).await.offset(), 0);
    source.seek(&at(0), SeekTo::End).await.unwrap();
    assert!(timeout(LONG, source.recv()).await.is_err());
    assert_eq!(committed(&kafka, 0), 5);
    append(&kafka, 0, [7]).await;
    assert_eq!(next(&mut source).await.value(), Some(&7));
    for (wrong, to) in [(at(9), SeekTo::Beginning), (at(0), SeekTo::Offset(-1))] {
        let error = source.seek(&wrong, to).await.unwrap_err();
        assert_eq!((error.kind(), error.partitions()), (SourceErrorKind::Seek, &[wrong][..]));
    }
    drop(source.close().await);
    assert_eq!(source.seek(&at(0), SeekTo::Beginning).await.unwrap_err().kind(), SourceErrorKind::Seek);
}

#[tokio::test(start_paused = true)]
async fn the_lag_counts_what_is_not_settled() {
    let kafka = kafka(2);
    append(&kafka, 0, 0..5).await;
    append_aborted(&kafka, 0, 2).await;
    let mut source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let control = source.control();
    assert_eq!(control.lag().await.unwrap(), [].into(), "no partition yet");
    let messages = take(&mut source, 5).await;
    let lag = |partition: i32, lag| (at(partition), lag);
    let end = kafka.high_watermark(TOPIC, 0).unwrap();
    assert!(timeout(LONG, source.recv()).await.is_err());
    assert_eq!(source.lag().await.unwrap(), [lag(0, Some(end as u64)), lag(1, Some(0))].into());
    messages[1..].iter().for_each(|message| assert_eq!(message.ack(), Acked::Counted));
    assert_eq!(control.lag().await.unwrap()[&at(0)], Some(end as u64), "the first one is not settled");
    assert_eq!(messages[0].ack(), Acked::Counted);
    assert_eq!(control.lag().await.unwrap(), [lag(0, Some(0)), lag(1, Some(0))].into(), "no hole counts");
    source.seek(&at(0), SeekTo::Offset(2)).await.unwrap();
    append(&kafka, 0, 7..8).await;
    assert_eq!(source.lag().await.unwrap()[&at(0)], Some(end as u64 - 2 + 1));
}

#[tokio::test(start_paused = true)]
async fn a_seek_into_a_hole_comes_to_the_next_record() {
    let kafka = kafka(1);
    append_aborted(&kafka, 0, 3).await;
    append(&kafka, 0, 0..1).await;
    let mut source = source(&kafka, config(CommitStrategy::Each)).await;
    let first = next(&mut source).await.offset();
    source.seek(&at(0), SeekTo::Offset(first - 2)).await.unwrap();
    let message = next(&mut source).await;
    assert_eq!(message.offset(), first);
    message.ack();
    source.commit().await.unwrap();
    assert_eq!(committed(&kafka, 0), first + 1);
}

#[tokio::test(start_paused = true)]
async fn a_paused_partition_waits_and_others_go_on() {
    let kafka = kafka(2);
    let mut source = source(&kafka, config(CommitStrategy::Each)).await;
    assert!(timeout(LONG, source.recv()).await.is_err());
    assert_eq!(source.assignment(), [at(0), at(1)]);
    for partition in 0..2 {
        append(&kafka, partition, 0..3).await;
    }
    let first = next(&mut source).await;
    let (paused, other) = (at(first.partition()), at(1 - first.partition()));
    assert!(source.pause(&paused));
    let others = take(&mut source, 3).await;
    assert!(others.iter().all(|message| message.partition() == other.partition));
    assert!(timeout(LONG, source.recv()).await.is_err());
    assert_eq!(first.ack(), Acked::Counted);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(committed(&kafka, paused.partition), 1);
    assert!(source.resume(&paused));
    let rest = take(&mut source, 2).await;
    assert_eq!(rest.iter().map(|message| message.offset()).collect::<Vec<_>>(), [1, 2], "in order, each once");
    assert!(!source.pause(&at(9)) && !source.resume(&at(9)));
    kafka.start_rebalance(GROUP);
    drop((others, rest));
    assert!(timeout(LONG, source.recv()).await.is_ok(), "a partition that is assigned again is not paused");
}
