//! What an application learns when partitions go before everything of them is committed.

use kafka_tower::memory::CommitFault;
use kafka_tower::source::{Acked, SourceErrorKind, SourceRecovery};
use kafka_tower::{CommitStrategy, KafkaSourceConfig};
use kafka_tower_core::CommitAnswer;
use tokio::time::{sleep, timeout};

use crate::support::{GROUP, LONG, SECOND, TOPIC, close_in_background, committed, config, filled, next, source, take};

#[tokio::test(start_paused = true)]
async fn lost_partitions_are_reported_and_read_again_after_joining_again() {
    let kafka = filled(1, 2).await;
    let mut source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let message = next(&mut source).await;
    assert_eq!(kafka.expel_members(GROUP), 1);
    // What was read before may come first.
    let error = loop {
        if let Err(error) = timeout(LONG, source.recv()).await.unwrap() {
            break error;
        }
    };
    assert_eq!((error.kind(), error.recovery()), (SourceErrorKind::PartitionsLost, SourceRecovery::Continue));
    assert_eq!(message.ack(), Acked::Stale);
    assert_eq!(next(&mut source).await.offset(), 0);
}

/// Otherwise an application that acknowledges and then commits believes that its work is recorded.
#[tokio::test(start_paused = true)]
async fn a_commit_after_the_partition_has_gone_says_so() {
    for lost in [true, false] {
        let kafka = filled(1, 2).await;
        let config = KafkaSourceConfig { commit_on_revoke: false, ..config(CommitStrategy::Manual) };
        let mut source = source(&kafka, config).await;
        assert_eq!(next(&mut source).await.ack(), Acked::Counted);
        if lost {
            kafka.expel_members(GROUP);
        } else {
            kafka.start_rebalance(GROUP);
        }
        sleep(SECOND).await;
        let error = source.commit().await.unwrap_err();
        assert_eq!((error.kind(), error.recovery()), (SourceErrorKind::PartitionsLost, SourceRecovery::Continue));
        assert_eq!((error.partitions()[0].to_string(), committed(&kafka, 0)), ("orders[0]".to_owned(), 0));
        source.commit().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_after_an_incomplete_close_says_so() {
    let kafka = filled(1, 1).await;
    let mut source = source(&kafka, config(CommitStrategy::Automatic)).await;
    next(&mut source).await.ack();
    kafka.next_commit(CommitFault::Lose);
    kafka.next_commit(CommitFault::Lose);
    let report = source.close().await;
    assert!(report.unsettled[0].uncommitted, "{report}");
    assert_eq!(source.commit().await.unwrap_err().kind(), SourceErrorKind::PartitionsLost);
}

#[tokio::test(start_paused = true)]
async fn a_close_during_which_partitions_are_lost_is_not_complete() {
    let kafka = filled(1, 3).await;
    let mut source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let messages = take(&mut source, 2).await;
    messages[0].ack();
    let closing = close_in_background(&source);
    sleep(SECOND).await;
    kafka.expel_members(GROUP);
    let report = closing.await.unwrap();
    assert_eq!((report.is_complete(), report.unsettled.len(), committed(&kafka, 0)), (false, 1, 0), "{report}");
    assert_eq!((report.unsettled[0].records, report.unsettled[0].uncommitted), (1, true));
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_again_and_again_is_reported_with_its_cause() {
    let kafka = filled(1, 1).await;
    let mut source = source(&kafka, config(CommitStrategy::Each)).await;
    next(&mut source).await.ack();
    for _ in 0..20 {
        kafka.next_commit(CommitFault::Refuse(CommitAnswer::of_code(14, TOPIC)));
    }
    let cause = |error: &kafka_tower::SourceError| std::error::Error::source(error).unwrap().to_string();
    let error = timeout(LONG, source.recv()).await.expect("it is reported").unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Commit);
    assert!(cause(&error).contains("COORDINATOR_LOAD_IN_PROGRESS"), "{}", cause(&error));
    let error = source.commit().await.unwrap_err();
    assert!(cause(&error).contains("COORDINATOR_LOAD_IN_PROGRESS"), "{}", cause(&error));
}
