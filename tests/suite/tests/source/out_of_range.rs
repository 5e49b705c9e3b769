//! Records that are deleted before they are read.

use kafka_tower::memory::MemoryKafka;
use kafka_tower::source::{Checkpoint, SourceErrorKind, SourceRecovery};
use kafka_tower::{
    CommitStrategy, KafkaSink, KafkaSinkConfig, KafkaSourceConfig, OutOfRangePolicy, SeekTo, SinkMessage,
    SourceMessage, StartFrom, TopicPartition,
};
use tokio::time::{sleep, timeout};
use tower::service_fn;

use crate::support::{LONG, TOPIC, append, committed, config, kafka, next, source, take};

fn at() -> TopicPartition {
    TopicPartition::new(TOPIC, 0)
}

/// A group that has committed offset 2 of a log from 5 to 8.
async fn behind(commit: CommitStrategy) -> (MemoryKafka, KafkaSourceConfig) {
    let (kafka, config) = (kafka(1), config(commit));
    append(&kafka, 0, 0..8).await;
    let mut first = source(&kafka, KafkaSourceConfig { commit: CommitStrategy::Each, ..config.clone() }).await;
    for message in take(&mut first, 2).await {
        message.ack();
    }
    assert!(first.close().await.is_complete());
    kafka.delete_records(TOPIC, 0, 5);
    (kafka, config)
}

#[tokio::test(start_paused = true)]
async fn a_policy_says_where_a_partition_goes_on() {
    for (on_out_of_range, start, first) in [
        (None, StartFrom::Earliest, 5),
        (None, StartFrom::Latest, 8),
        (Some(OutOfRangePolicy::Latest), StartFrom::Earliest, 8),
        (Some(OutOfRangePolicy::Earliest), StartFrom::Explicit(Checkpoint::new()), 5),
    ] {
        let (kafka, config) = behind(CommitStrategy::Each).await;
        let config = KafkaSourceConfig { on_out_of_range, start: start.clone(), ..config };
        let mut source = source(&kafka, config).await;
        let waits = timeout(LONG, source.recv()).await;
        assert_eq!(waits.is_err(), first == 8, "{start:?}");
        assert_eq!(committed(&kafka, 0), first, "{start:?}: the deleted records are passed, and none is left");
        assert_eq!(source.lag().await.unwrap()[&at()], Some(8 - first as u64));
        append(&kafka, 0, 8..9).await;
        if first == 8 {
            assert_eq!(next(&mut source).await.offset(), 8);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_must_not_jump_waits_for_a_seek() {
    for (commit, start) in [
        (CommitStrategy::Each, StartFrom::Explicit(Checkpoint::new())),
        (CommitStrategy::Checkpoint, StartFrom::Earliest),
    ] {
        let (kafka, config) = behind(commit).await;
        let config = KafkaSourceConfig { start, ..config };
        let builder = kafka_tower::KafkaSource::<u32>::builder(config).transport(kafka.clone());
        let mut source = builder.start_at(|_| async { Ok::<_, std::io::Error>(None) }).build().await.unwrap();
        let error = timeout(LONG, source.recv()).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.recovery()), (SourceErrorKind::OffsetOutOfRange, SourceRecovery::Seek));
        assert_eq!(error.place(), Some((&at(), 2)));
        assert_eq!(error.message(), "offset 2 of orders[0] is not in the log, which has those from 5 to 8");
        assert!(timeout(LONG, source.recv()).await.is_err(), "it is said once");
        assert_eq!(committed(&kafka, 0), 2, "nothing is passed");
        source.seek(&at(), SeekTo::Beginning).await.unwrap();
        assert_eq!(next(&mut source).await.offset(), 5);
    }
}

/// Records that were read before they were deleted are handed out, and come before the jump.
#[tokio::test(start_paused = true)]
async fn what_was_read_is_handled_first() {
    let kafka = kafka(1);
    append(&kafka, 0, 0..100).await;
    let mut source = source(&kafka, config(CommitStrategy::Each)).await;
    let held = next(&mut source).await;
    kafka.delete_records(TOPIC, 0, 90);
    // The first batch has 8 records.
    for message in take(&mut source, 7).await {
        message.ack();
    }
    assert!(timeout(LONG, source.recv()).await.is_err(), "the first one is not settled");
    assert_eq!(committed(&kafka, 0), 0);
    held.ack();
    assert_eq!(next(&mut source).await.offset(), 90);
    sleep(LONG).await;
    assert_eq!(committed(&kafka, 0), 90);
}

#[tokio::test(start_paused = true)]
async fn serve_ends_with_the_error() {
    let (kafka, config) = behind(CommitStrategy::Each).await;
    let config = KafkaSourceConfig { on_out_of_range: Some(OutOfRangePolicy::Fail), ..config };
    let source = source(&kafka, config).await;
    let service = service_fn(|_: SourceMessage<u32>| async { Ok::<_, std::io::Error>(()) });
    let ended = timeout(LONG, async move { source.serve(service).await }).await.expect("it ends");
    assert_eq!(ended.unwrap_err().kind(), SourceErrorKind::OffsetOutOfRange);
    assert_eq!(committed(&kafka, 0), 2);
}

#[tokio::test(start_paused = true)]
async fn transactional_ends_with_the_error_or_jumps() {
    for policy in [OutOfRangePolicy::Fail, OutOfRangePolicy::Earliest] {
        let (kafka, config) = behind(CommitStrategy::Transaction).await;
        kafka.create_topic("bills", 1);
        let config = KafkaSourceConfig { on_out_of_range: Some(policy), ..config };
        let source = source(&kafka, config).await;
        let sink = KafkaSinkConfig::exactly_once("localhost:9092", "bills", "billing-1");
        let transport = kafka.transactional_transport("billing-1");
        let sink = KafkaSink::<u32>::builder(sink).transport(transport).build().await.unwrap();
        let handler = |message: SourceMessage<u32>| async move {
            Ok::<_, kafka_tower::Error>(message.value().map(|value| SinkMessage::new(*value)))
        };
        let ended = source.transactional(sink, handler).until(sleep(LONG)).await;
        match policy {
            OutOfRangePolicy::Fail => {
                assert_eq!(ended.unwrap_err().kind(), SourceErrorKind::OffsetOutOfRange);
                assert_eq!((kafka.committed("bills").len(), committed(&kafka, 0)), (0, 2));
            }
            _ => {
                assert!(ended.unwrap().is_complete());
                assert_eq!((kafka.committed("bills").len(), committed(&kafka, 0)), (3, 8));
            }
        }
    }
}
