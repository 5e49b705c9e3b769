//! Partitions that move in the middle of a transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kafka_tower::memory::TransactionCall;
use kafka_tower::{KafkaSourceConfig, SourceMessage};
use tokio::time::{Instant, sleep};

use super::support::{
    BILLS, assert_exactly_once, bills, ended, filled, finish, members, offsets, pass, settings, sink, until_idle,
};
use crate::support::{GROUP, LONG, SECOND, committed, other_member, source};

/// The heart: the member is current again after it has lost its partitions, and what it has read before is stale.
#[tokio::test(start_paused = true)]
async fn a_stale_epoch_aborts_although_the_metadata_are_current() {
    let kafka = filled(2, 10).await;
    let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let slow = kafka.script().on_topic(BILLS).delay(2 * SECOND);
    let run = tokio::spawn(source.transactional(sink, pass).until(until_idle(&kafka)).into_future());
    sleep(SECOND).await;
    assert_eq!((slow.used(), kafka.expel_members(GROUP)), (1, 1));
    sleep(SECOND / 2).await;
    // It has joined again, and has the partitions.
    drop(run.await.unwrap().unwrap());
    assert_exactly_once(&kafka, 10);
    assert!(!kafka.markers(BILLS, 0)[0].committed, "the first transaction was aborted");
}

/// While the group waits, the running batch is finished and committed.
#[tokio::test(start_paused = true)]
async fn a_revocation_waits_for_the_batch() {
    let kafka = filled(1, 10).await;
    let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let handler = |order: SourceMessage<u32>| async move {
        sleep(3 * SECOND).await;
        pass(order).await
    };
    let run = tokio::spawn(source.transactional(sink, handler).until(sleep(LONG)).into_future());
    sleep(SECOND).await;
    let start = Instant::now();
    let other = other_member(&kafka).await;
    assert_eq!(start.elapsed(), 2 * SECOND, "as long as the handlers take, without the age of a transaction");
    assert_exactly_once(&kafka, 10);
    drop(other);
    drop(run.await.unwrap().unwrap());
}

/// A handler that takes longer than the drain is cancelled, and the next owner handles its message.
#[tokio::test(start_paused = true)]
async fn after_the_drain_the_next_owner_handles_the_message() {
    let kafka = filled(1, 10).await;
    let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let (tried, cancelled) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let handler = {
        let (tried, cancelled) = (Arc::clone(&tried), Arc::clone(&cancelled));
        move |order: SourceMessage<u32>| {
            let is_stuck = order.offset() == 4 && tried.fetch_add(1, Ordering::Relaxed) == 0;
            let guard = is_stuck.then(|| CountsDrop(Arc::clone(&cancelled)));
            async move {
                if guard.is_some() {
                    std::future::pending::<()>().await;
                }
                pass(order).await
            }
        }
    };
    let run = tokio::spawn(source.transactional(sink, handler).until(until_idle(&kafka)).into_future());
    sleep(SECOND).await;
    assert_eq!(committed(&kafka, 0), 4);
    kafka.start_rebalance(GROUP);
    sleep(9 * SECOND).await;
    assert_eq!((tried.load(Ordering::Relaxed), cancelled.load(Ordering::Relaxed)), (1, 0), "it drains");
    sleep(2 * SECOND).await;
    assert_eq!((tried.load(Ordering::Relaxed), cancelled.load(Ordering::Relaxed)), (2, 1));
    drop(run.await.unwrap().unwrap());
    assert_exactly_once(&kafka, 10);
}

struct CountsDrop(Arc<AtomicUsize>);

impl Drop for CountsDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Between the check and the end: the next owner waits until the transaction has ended.
#[tokio::test(start_paused = true)]
async fn the_next_owner_waits_for_the_end_of_the_transaction() {
    for call in [TransactionCall::SendOffsets, TransactionCall::Commit] {
        for expels in [false, true] {
            let kafka = filled(1, 10).await;
            let settings = KafkaSourceConfig { drain_timeout_ms: 2_000, ..settings() };
            let first = source(&kafka, settings.clone()).await;
            let _ = kafka.script_transactions().on(call).delay(20 * SECOND);
            let run = first.transactional(sink(&kafka, "billing-1").await, pass).until(sleep(LONG));
            let run = tokio::spawn(run.into_future());
            sleep(SECOND).await;
            if expels {
                kafka.expel_members(GROUP);
            }
            drop(finish(&kafka, source(&kafka, settings).await, sink(&kafka, "billing-2").await).await.unwrap());
            drop(run.await.unwrap().unwrap());
            assert_exactly_once(&kafka, 10);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_sources_share_the_partitions_while_they_move() {
    let kafka = filled(4, 300).await;
    let mut runs = Vec::new();
    for id in ["billing-1", "billing-2"] {
        let handler = |order: SourceMessage<u32>| async move {
            sleep(Duration::from_millis(u64::from(*order.value().unwrap()) % 40)).await;
            pass(order).await
        };
        let run = members(&kafka).await.transactional(sink(&kafka, id).await, handler).max_records(17);
        runs.push(tokio::spawn(run.until(until_idle(&kafka)).into_future()));
        sleep(SECOND / 3).await;
    }
    for round in 0..10 {
        sleep(SECOND / 4).await;
        if round % 3 == 0 {
            kafka.expel_members(GROUP);
        } else {
            kafka.start_rebalance(GROUP);
        }
    }
    for run in runs {
        drop(ended(async { run.await.unwrap() }).await.unwrap());
    }
    assert_exactly_once(&kafka, 300);
}

/// The partitions are lost while a commit has no answer: the member goes on when it has one.
#[tokio::test(start_paused = true)]
async fn a_commit_without_an_answer_outlives_its_partitions() {
    for was_committed in [true, false] {
        let kafka = filled(2, 10).await;
        let rule = kafka.script_transactions().on(TransactionCall::Commit).times(450);
        let rule = if was_committed { rule.lose_answer() } else { rule.lose_request() };
        let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
        let run = source.transactional(sink, pass).until(sleep(3 * LONG)).into_future();
        let run = tokio::spawn(run);
        sleep(SECOND).await;
        kafka.expel_members(GROUP);
        let report = ended(async { run.await.unwrap() }).await.unwrap();
        assert!(report.left && rule.used() == 450, "{report}");
        assert_exactly_once(&kafka, 10);
    }
}

/// Nothing is committed outside of transactions, also not when partitions are given back.
#[tokio::test(start_paused = true)]
async fn nothing_is_committed_without_its_output() {
    let kafka = filled(2, 10).await;
    let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let rule = kafka.script_transactions().on(TransactionCall::SendOffsets).always().lose_request();
    let run = tokio::spawn(source.transactional(sink, pass).until(sleep(LONG)).into_future());
    for _ in 0..5 {
        sleep(SECOND).await;
        kafka.start_rebalance(GROUP);
    }
    assert_eq!(offsets(&kafka), [0, 0]);
    rule.cancel();
    let report = run.await.unwrap().unwrap();
    assert_eq!(report.settled as usize, bills(&kafka, 0).len() + bills(&kafka, 1).len());
}
