//! What a user of a source sees.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kafka_tower::memory::CommitFault;
use kafka_tower::source::{Acked, SourceErrorKind, SourceRecovery};
use kafka_tower::{
    CommitStrategy, Error, ErrorKind, Headers, Isolation, KafkaSource, KafkaSourceConfig, MessageDeserializer,
    RawRecord, Record, StartFrom, Timestamp, async_trait,
};
use kafka_tower_core::{CommitAnswer, RecordRef};
use tokio::time::{sleep, timeout};
use tower::Service as _;

use crate::support::{
    LONG, TOPIC, append, append_aborted, close_in_background, committed, config, filled, kafka, next, other_member,
    source, take,
};

const MOMENT: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_message_has_what_was_sent() {
    let kafka = kafka(1);
    let mut headers = Headers::new();
    headers.push("region", "eu");
    let record = Record::new(TOPIC).with_key("key").with_value("7").with_headers(headers.clone());
    let time = Timestamp::from_millis(1_500_000_000_000);
    kafka.transport().call(record.with_timestamp(time)).await.unwrap();
    kafka.transport().call(Record::new(TOPIC).with_key("key")).await.unwrap();
    let mut source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let message = next(&mut source).await;
    assert_eq!((message.value(), message.key().unwrap().as_ref()), (Some(&7), &b"key"[..]));
    assert_eq!((message.headers(), message.timestamp()), (&headers, Some(time)));
    assert_eq!((&**message.topic(), message.partition(), message.offset(), message.attempt()), (TOPIC, 0, 0, 1));
    let shown = format!("{message:?}");
    assert!(shown.contains("orders[0]") && !shown.contains("key\""), "{shown}");
    let (value, receipt) = message.into_parts();
    assert_eq!((value, receipt.ack(), receipt.ack()), (Some(7), Acked::Counted, Acked::Counted));
    assert_eq!(next(&mut source).await.value(), None, "a tombstone");
}

#[tokio::test(start_paused = true)]
async fn start_and_isolation_are_kept() {
    let kafka = filled(1, 1).await;
    append_aborted(&kafka, 0, 2).await;
    let all = KafkaSourceConfig { isolation: Isolation::ReadUncommitted, ..config(CommitStrategy::Automatic) };
    let mut all = source(&kafka, KafkaSourceConfig { group_id: "all".into(), ..all }).await;
    assert_eq!(take(&mut all, 3).await.len(), 3, "aborted records as well");
    let latest = KafkaSourceConfig { start: StartFrom::Latest, ..config(CommitStrategy::Automatic) };
    let mut latest = source(&kafka, latest).await;
    assert!(timeout(LONG, latest.recv()).await.is_err());
    append(&kafka, 0, 9..10).await;
    assert_eq!(next(&mut latest).await.value(), Some(&9));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_reader_is_woken_and_a_cancelled_one_loses_nothing() {
    let kafka = kafka(2);
    let mut source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let writes = {
        let kafka = kafka.clone();
        tokio::spawn(async move {
            for value in 0..20 {
                sleep(Duration::from_millis(7)).await;
                append(&kafka, value as i32 % 2, [value]).await;
            }
        })
    };
    let mut values = Vec::new();
    while values.len() < 20 {
        // Cancelled most of the time.
        if let Ok(message) = timeout(Duration::from_millis(3), source.recv()).await {
            let message = message.unwrap();
            message.ack();
            values.push(*message.value().unwrap());
        }
    }
    assert_eq!(values, (0..20).collect::<Vec<_>>());
    writes.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_nack_delivers_again_with_what_follows_and_counts_attempts() {
    let kafka = filled(1, 4).await;
    let mut source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let messages = take(&mut source, 3).await;
    messages[1].nack("the database is down");
    assert_eq!(messages[1].ack(), Acked::Stale, "it was given back");
    let start = tokio::time::Instant::now();
    let again = take(&mut source, 3).await;
    assert_eq!(start.elapsed(), Duration::from_secs(1), "the back-off");
    assert_eq!(
        again.iter().map(|message| (message.offset(), message.attempt())).collect::<Vec<_>>(),
        [(1, 2), (2, 1), (3, 1)]
    );
    assert_eq!(messages[0].ack(), Acked::Counted, "it was before the one that was given back");
    assert_eq!(messages[2].ack(), Acked::Stale);
    again.iter().for_each(|message| assert_eq!(message.ack(), Acked::Counted));
    assert!(source.close().await.is_complete());
    assert_eq!(committed(&kafka, 0), 4);
}

#[tokio::test(start_paused = true)]
async fn manual_commits_when_it_is_asked_and_reports_failures() {
    let kafka = filled(1, 3).await;
    let config = KafkaSourceConfig { commit_on_revoke: false, ..config(CommitStrategy::Manual) };
    let mut source = source(&kafka, config).await;
    source.commit().await.unwrap();
    next(&mut source).await.ack();
    sleep(LONG).await;
    assert_eq!(committed(&kafka, 0), 0);
    source.commit().await.unwrap();
    assert_eq!(committed(&kafka, 0), 1);

    next(&mut source).await.ack();
    kafka.next_commit(CommitFault::Refuse(CommitAnswer::of_code(30, TOPIC)));
    let error = source.commit().await.unwrap_err();
    assert_eq!((error.kind(), error.recovery()), (SourceErrorKind::Commit, SourceRecovery::Continue));
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("consumer group"), "{error:?}");
    kafka.next_commit(CommitFault::Refuse(CommitAnswer::of_code(27, TOPIC)));
    source.commit().await.unwrap();
    assert_eq!(committed(&kafka, 0), 2, "repeated after a rebalance");

    let last = loop {
        match source.recv().await {
            Ok(message) => break message,
            Err(error) => assert_eq!(error.kind(), SourceErrorKind::Commit, "it is reported to the reader, too"),
        }
    };
    last.ack();
    kafka.next_commit(CommitFault::Lose);
    let error = source.commit().await.unwrap_err();
    assert!(error.message().contains("no answer"), "{error}");
    let report = source.close().await;
    assert!(!report.is_complete() || committed(&kafka, 0) == 3, "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_is_lost_is_reported_and_sent_again() {
    let kafka = filled(1, 1).await;
    let mut source = source(&kafka, config(CommitStrategy::Each)).await;
    kafka.next_commit(CommitFault::LoseAnswer);
    kafka.next_commit(CommitFault::Lose);
    next(&mut source).await.ack();
    for _ in 0..2 {
        let error = timeout(LONG, source.recv()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Commit);
        assert_eq!(error.partitions()[0].to_string(), "orders[0]");
    }
    assert!(timeout(LONG, source.recv()).await.is_err(), "then it has an answer");
    assert!(source.close().await.is_complete());
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_waits_for_a_message_in_hand_up_to_its_time() {
    for (held, expected) in [(Duration::from_secs(3), Acked::Counted), (Duration::from_secs(30), Acked::Stale)] {
        let kafka = filled(1, 2).await;
        let mut source = source(&kafka, config(CommitStrategy::Automatic)).await;
        let message = next(&mut source).await;
        let start = tokio::time::Instant::now();
        // From here on `recv` is not called.
        let handler = tokio::spawn(async move {
            sleep(held).await;
            message.ack()
        });
        let _other = other_member(&kafka).await;
        assert_eq!(start.elapsed(), held.min(Duration::from_secs(10)));
        assert_eq!(committed(&kafka, 0), i64::from(expected == Acked::Counted));
        assert_eq!(handler.await.unwrap(), expected);
        assert_eq!(committed(&kafka, 0), i64::from(expected == Acked::Counted), "a late one changes nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn two_sources_share_the_partitions_and_lose_nothing_when_one_closes() {
    let kafka = kafka(4);
    for partition in 0..4 {
        append(&kafka, partition, 0..5).await;
    }
    let mut first = source(&kafka, config(CommitStrategy::Automatic)).await;
    next(&mut first).await.ack();
    let mut second = source(&kafka, config(CommitStrategy::Automatic)).await;
    let mut count = 1;
    while let Ok(message) = timeout(Duration::from_secs(1), second.recv()).await {
        message.unwrap().ack();
        count += 1;
    }
    assert!((10..=11).contains(&count), "half of the partitions: {count}");
    assert!(second.close().await.is_complete());
    while let Ok(message) = timeout(Duration::from_secs(1), first.recv()).await {
        message.unwrap().ack();
        count += 1;
    }
    assert_eq!(count, 20, "each message once");
    assert!(first.close().await.is_complete());
    assert_eq!((0..4).map(|partition| committed(&kafka, partition)).collect::<Vec<_>>(), [5; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_for_messages_in_hand_and_reports_what_is_left() {
    let kafka = kafka(2);
    append(&kafka, 0, 0..3).await;
    let mut source = source(&kafka, config(CommitStrategy::Manual)).await;
    let messages = take(&mut source, 3).await;
    messages[0].ack();
    let closing = close_in_background(&source);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(messages[1].ack(), Acked::Counted, "while it closes");
    let report = closing.await.unwrap();
    assert_eq!((report.settled, report.unsettled.len(), report.left), (2, 1, true));
    let left = &report.unsettled[0];
    assert_eq!((left.at.to_string(), left.records, left.uncommitted), ("orders[0]".to_owned(), 1, false));
    assert_eq!(report.to_string(), "2 acknowledged, 0 skipped; orders[0]: 1 message not settled");
    assert!(!report.is_complete());
    assert_eq!((committed(&kafka, 0), messages[2].ack()), (2, Acked::Stale));
    assert_eq!(source.recv().await.unwrap_err().recovery(), SourceRecovery::Stop);
    assert!(source.next().await.is_none(), "the stream ends");
    assert_eq!(source.close().await, report, "a second call");
    assert_eq!(source.commit().await.map_err(|error| error.kind()), Ok(()), "nothing is due any more");
}

#[tokio::test(start_paused = true)]
async fn a_close_whose_commit_has_no_answer_says_so() {
    let kafka = filled(1, 1).await;
    let mut source = source(&kafka, config(CommitStrategy::Automatic)).await;
    next(&mut source).await.ack();
    kafka.next_commit(CommitFault::Lose);
    kafka.next_commit(CommitFault::Lose);
    let start = tokio::time::Instant::now();
    let report = source.close().await;
    assert_eq!(start.elapsed(), Duration::from_secs(5), "its time");
    assert!(report.unsettled[0].uncommitted && !report.is_complete(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_source_commits_and_leaves_in_the_background() {
    let kafka = filled(1, 1).await;
    let mut source = source(&kafka, config(CommitStrategy::Automatic)).await;
    next(&mut source).await.ack();
    drop(source);
    let _other = other_member(&kafka).await;
    assert_eq!(committed(&kafka, 0), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_partition_waits_and_others_go_on() {
    let kafka = kafka(2);
    append(&kafka, 0, 0..10).await;
    append(&kafka, 1, 0..10).await;
    let config = KafkaSourceConfig { max_unsettled: 3, ..config(CommitStrategy::Automatic) };
    let mut source = source(&kafka, config).await;
    let messages = take(&mut source, 6).await;
    assert!(timeout(LONG, source.recv()).await.is_err());
    let first = messages.iter().find(|message| message.partition() == 1).unwrap();
    first.ack();
    let more = next(&mut source).await;
    assert_eq!((more.partition(), more.offset()), (1, 3));
    assert!(timeout(LONG, source.recv()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn messages_are_handed_to_other_tasks_and_a_panic_gives_its_message_back() {
    let kafka = filled(1, 2).await;
    let mut source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let message = next(&mut source).await;
    let task = tokio::spawn(async move {
        let _message = message;
        sleep(MOMENT).await;
        panic!("planted");
    });
    assert!(task.await.is_err());
    assert_eq!(next(&mut source).await.attempt(), 2);
}

/// Waits, fails for 13, and panics for 14.
struct Own {
    lent: bool,
}

fn number(value: Option<&[u8]>) -> kafka_tower::Result<u32> {
    match std::str::from_utf8(value.unwrap()).unwrap().parse() {
        Ok(13) => Err(Error::new(ErrorKind::Serialization, "13 brings bad luck").without_record()),
        Ok(14) => panic!("planted"),
        number => Ok(number.unwrap()),
    }
}

#[async_trait]
impl MessageDeserializer<u32> for Own {
    async fn deserialize(&self, record: RawRecord) -> kafka_tower::Result<u32> {
        sleep(Duration::from_secs(1)).await;
        number(record.value.as_deref())
    }

    fn deserialize_now(&self, topic: &str, record: &RecordRef<'_>) -> Option<kafka_tower::Result<u32>> {
        assert_eq!(topic, TOPIC);
        self.lent.then(|| number(record.value))
    }
}

#[tokio::test(start_paused = true)]
async fn a_deserializer_may_wait_fail_and_panic() {
    for lent in [true, false] {
        let kafka = kafka(1);
        append(&kafka, 0, [1, 13, 14, 2]).await;
        let builder = KafkaSource::<u32>::builder(config(CommitStrategy::Each)).transport(kafka.clone());
        let mut source = builder.deserializer(Arc::new(Own { lent })).build().await.unwrap();
        // Cancelled while it waits.
        let first = loop {
            if let Ok(message) = timeout(Duration::from_millis(300), source.recv()).await {
                break message.unwrap();
            }
        };
        assert_eq!(first.value(), Some(&1));
        first.ack();
        for text in ["13 brings bad luck", "panicked"] {
            let error = source.recv().await.unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.contains(text), "{cause}");
            assert!(!error.to_string().contains("13"), "the text has no contents: {error}");
            error.skip();
        }
        let last = source.recv().await.unwrap();
        assert_eq!(last.value(), Some(&2));
        last.ack();
        let report = source.close().await;
        assert_eq!((report.settled, report.skipped, committed(&kafka, 0)), (2, 2, 4));
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_work_is_not_built() {
    let kafka = kafka(1);
    let unknown = KafkaSourceConfig { topics: vec!["unknown".into()], ..config(CommitStrategy::Automatic) };
    let error = KafkaSource::<u32>::builder(unknown).transport(kafka.clone()).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
    let error = KafkaSource::<u32>::builder(KafkaSourceConfig::default()).transport(kafka).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

/// The consumer leaves the group when its runtime ends. `recv` and `close`, on another runtime, say so.
#[test]
fn a_source_ends_with_its_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let kafka = kafka(1);
    let mut source = runtime.block_on(async {
        append(&kafka, 0, 0..1).await;
        source(&kafka, config(CommitStrategy::Automatic)).await
    });
    let message = runtime.block_on(next(&mut source));
    drop(runtime);
    assert_eq!(message.ack(), Acked::Stale);
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = other.block_on(source.recv()).unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Closed);
    let report = other.block_on(source.close());
    assert_eq!((report.settled, report.unsettled[0].records), (0, 1));
}
