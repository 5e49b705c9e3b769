//! Producers with their own retries; the behaviour was measured on Apache Kafka 4.3.1 with librdkafka.

use std::time::Duration;

use futures_util::future::join_all;
use kafka_tower_core::{ErrorKind, Persistence};
use kafka_tower_memory::{FaultKind, Faults, MemoryKafka};
use tokio::time::Instant;
use tower::Service;

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

fn kafka() -> MemoryKafka {
    MemoryKafka::new().with_topic("orders", 1)
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_producer_writes_once_after_any_loss() {
    let kafka = kafka();
    let mut transport = kafka.producer().retries(10).transport();
    kafka.script().times(2).lose_answer();
    kafka.script().lose_request();
    kafka.script().fail(FaultKind::Refuse.error());
    let start = Instant::now();
    let sends: Vec<_> = (0..6).map(|n| transport.call(to(0, n))).collect();
    let outcomes = watched(join_all(sends)).await;
    let offsets: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap().offset.unwrap()).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5]);
    assert_eq!(values(&kafka, 0), ["0", "1", "2", "3", "4", "5"], "once and in order");
    assert_eq!(start.elapsed(), 200 * MS);
}

/// A broker remembers five batches, whatever the number of records in them.
#[tokio::test(start_paused = true)]
async fn a_retried_batch_is_recognized_by_all_of_its_records() {
    let kafka = kafka();
    let mut transport = kafka.producer().retries(10).batches(20, 5 * MS).transport();
    kafka.script().times(20).lose_answer();
    let sends: Vec<_> = (0..20).map(|n| transport.call(to(0, n))).collect();
    let outcomes = watched(join_all(sends)).await;
    let offsets: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap().offset).collect();
    assert_eq!(offsets, (0..20).map(Some).collect::<Vec<_>>());
    assert_eq!(kafka.len("orders"), 20);
}

#[tokio::test(start_paused = true)]
async fn without_idempotence_a_lost_answer_is_written_twice_and_behind_later_ones() {
    let kafka = kafka();
    let mut transport = kafka.producer().retries(10).idempotence(false).transport();
    kafka.script().lose_answer();
    let sends: Vec<_> = (0..3).map(|n| transport.call(to(0, n))).collect();
    assert!(watched(join_all(sends)).await.iter().all(Result::is_ok));
    assert_eq!(values(&kafka, 0), ["0", "1", "2", "0"]);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_of_its_own_makes_an_idempotent_producer_write_others_twice() {
    let kafka = kafka();
    let mut transport = kafka.producer().retries(100).delivery_timeout(SECOND).transport();
    let outage = kafka.script().always().lose_answer();
    let first = transport.call(to(0, "a"));
    tokio::time::sleep(SECOND / 2).await;
    let second = transport.call(to(0, "b"));
    let third = transport.call(to(0, "c"));
    assert_eq!(facts(watched(first).await), (ErrorKind::Timeout, Persistence::PossiblyPersisted));
    outage.cancel();
    assert!(watched(second).await.is_ok() && watched(third).await.is_ok());
    assert_eq!(values(&kafka, 0), ["a", "b", "c", "b", "c"], "told Ok, and there twice");
    assert!(transport.call(to(0, "d")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_permanent_refusal_is_not_retried_and_leaves_no_gap() {
    let kafka = kafka();
    let mut transport = kafka.producer().retries(3).transport();
    kafka.script().fail(FaultKind::Reject.error());
    assert_eq!(facts(transport.call(to(0, "a")).await), (ErrorKind::Rejected, Persistence::NotPersisted));
    assert!(transport.call(to(0, "b")).await.is_ok());
    kafka.script().times(4).fail(FaultKind::Refuse.error());
    let error = watched(transport.call(to(0, "c"))).await.unwrap_err();
    assert_eq!((error.attempts(), error.persistence()), (4, Persistence::NotPersisted));
    assert!(transport.call(to(0, "d")).await.is_ok());
    assert_eq!(values(&kafka, 0), ["b", "d"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_after_an_unanswered_attempt_is_possibly_persisted() {
    let kafka = kafka();
    let mut transport = kafka.producer().retries(1).transport();
    kafka.script().lose_answer();
    kafka.script().fail(FaultKind::Refuse.error());
    let error = watched(transport.call(to(0, "a"))).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::Broker, Persistence::PossiblyPersisted));
}

#[tokio::test(start_paused = true)]
async fn a_lost_refusal_is_repeated_and_leaves_the_record_in_doubt() {
    let kafka = kafka();
    kafka.set_compacted("orders");
    let mut transport = kafka.producer().retries(10).transport();
    kafka.script().lose_answer();
    let error = watched(transport.call(to(0, "no key"))).await.unwrap_err();
    let facts = (error.kind(), error.persistence(), error.attempts());
    assert_eq!(facts, (ErrorKind::Rejected, Persistence::PossiblyPersisted, 2), "as librdkafka says");
    assert!(transport.call(to(0, "a").with_key("k")).await.is_ok());
}

/// Under seeded faults: no record is lost, no record is written twice, and the order is kept.
#[tokio::test(start_paused = true)]
async fn an_idempotent_producer_keeps_all_under_seeded_faults() {
    for seed in 0..30 {
        let kafka = kafka();
        let mut transport = kafka.producer().retries(1_000).transport();
        kafka.seed_faults(seed, Faults::default().with(FaultKind::Reject, 0.0));
        let sends: Vec<_> = (0..200).map(|n| transport.call(to(0, n))).collect();
        assert!(watched(join_all(sends)).await.iter().all(Result::is_ok), "seed {seed}");
        let expected: Vec<_> = (0..200).map(|n| n.to_string()).collect();
        assert_eq!(values(&kafka, 0), expected, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn leader_changes_and_outages_cost_time_and_no_record() {
    let kafka = kafka();
    let mut transport = kafka.producer().retries(100).transport();
    assert_eq!((kafka.leader_epoch("orders", 0), kafka.move_leader("orders", 0)), (Some(0), 1));
    let outage = kafka.outage();
    let sends: Vec<_> = (0..3).map(|n| transport.call(to(0, n))).collect();
    let all = tokio::spawn(join_all(sends));
    tokio::time::sleep(SECOND).await;
    assert!(kafka.is_empty() && outage.lost() > 5);
    drop(outage);
    let offsets: Vec<_> = watched(all).await.unwrap().into_iter().map(|o| o.unwrap().offset.unwrap()).collect();
    assert_eq!((offsets, kafka.leader_epoch("orders", 0)), (vec![0, 1, 2], Some(1)));
}

#[test]
fn without_a_runtime_retries_come_to_an_end() {
    use futures_util::FutureExt;
    let kafka = kafka();
    let mut transport = kafka.producer().retries(u32::MAX).transport();
    kafka.script().always().lose_answer();
    let send = transport.call(to(0, "a"));
    assert_eq!(facts(send.now_or_never().expect("settled")).1, Persistence::PossiblyPersisted);
}
