//! Lost, delayed and refused transaction requests.

use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery};
use kafka_tower_memory::TransactionCall;
use tokio::time::Instant;

use crate::support::*;

const UNKNOWN: (ErrorKind, Recovery, Persistence) =
    (ErrorKind::Timeout, Recovery::Retry, Persistence::PossiblyPersisted);

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again() {
    let kafka = orders();
    kafka.script_transactions().on(TransactionCall::Init).lose_answer();
    let mut producer = Producer::ready(&kafka).await;
    let start = Instant::now();
    producer.begin(&[(0, "a")]).await;
    kafka.script_transactions().on(TransactionCall::Commit).lose_answer();
    kafka.script_transactions().on(TransactionCall::Commit).lose_request();
    producer.txn().commit(SECOND).await.unwrap();
    assert_eq!(start.elapsed().as_millis(), 200);
    assert_eq!(committed(&kafka), ["a"]);
    producer.begin(&[(0, "b")]).await;
    kafka.script_transactions().of_id("id").times(2).lose_answer();
    producer.txn().abort(SECOND).await.unwrap();
    assert_eq!(committed(&kafka), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_without_an_answer_is_unknown_and_the_same_call_continues_it() {
    for carried_out in [true, false] {
        let kafka = orders();
        let mut producer = Producer::ready(&kafka).await;
        producer.begin(&[(0, "a")]).await;
        let rule = kafka.script_transactions().on(TransactionCall::Commit).always();
        let outage = if carried_out { rule.lose_answer() } else { rule.lose_request() };
        let start = Instant::now();
        assert_eq!(facts(producer.txn().commit(SECOND).await), UNKNOWN);
        assert_eq!(start.elapsed(), SECOND);
        assert_eq!(committed(&kafka).len(), usize::from(carried_out));
        assert_eq!(facts(producer.txn().abort(SECOND).await).0, ErrorKind::Transaction);
        assert_eq!(facts(producer.txn().begin(SECOND).await).0, ErrorKind::Transaction);
        outage.cancel();
        producer.txn().commit(SECOND).await.unwrap();
        assert_eq!(committed(&kafka), ["a"]);
        producer.begin(&[(0, "b")]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fence_after_an_unanswered_commit_is_possibly_persisted() {
    for carried_out in [true, false] {
        let kafka = orders();
        let mut old = Producer::ready(&kafka).await;
        old.begin(&[(0, "a")]).await;
        let rule = kafka.script_transactions().on(TransactionCall::Commit).times(11);
        let _ = if carried_out { rule.lose_answer() } else { rule.lose_request() };
        assert_eq!(facts(old.txn().commit(SECOND).await), UNKNOWN);
        let _new = Producer::ready(&kafka).await;
        let fenced = (ErrorKind::Fenced, Recovery::Fatal, Persistence::PossiblyPersisted);
        assert_eq!(facts(old.txn().commit(SECOND).await), fenced);
        assert_eq!(committed(&kafka).len(), usize::from(carried_out), "either is true");
    }
}

#[tokio::test(start_paused = true)]
async fn each_error_can_be_handled_as_its_recovery_says() {
    let kafka = orders();
    let mut producer = Producer::ready(&kafka).await;
    let broker = |recovery| {
        let error = Error::new(ErrorKind::Broker, "coordinator").with_persistence(Persistence::NotPersisted);
        error.with_recovery(recovery)
    };
    producer.begin(&[(0, "a")]).await;
    let _ = kafka.script_transactions().fail(broker(Recovery::Retry));
    assert_eq!(facts(producer.txn().commit(SECOND).await).1, Recovery::Retry);
    producer.txn().commit(SECOND).await.unwrap();
    producer.begin(&[(0, "b")]).await;
    let _ = kafka.script_transactions().fail(broker(Recovery::AbortTransaction));
    assert_eq!(facts(producer.txn().commit(SECOND).await).2, Persistence::NotPersisted);
    producer.txn().abort(SECOND).await.unwrap();
    producer.begin(&[(0, "c")]).await;
    let _ = kafka.script_transactions().fail(broker(Recovery::Fatal));
    assert!(producer.txn().abort(SECOND).await.is_err());
    // A new producer takes its place, whose init aborts what was left open.
    producer.begin(&[(0, "d")]).await;
    producer.txn().commit(SECOND).await.unwrap();
    assert_eq!(committed(&kafka), ["a", "d"]);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_waited_for() {
    let kafka = orders();
    let mut producer = Producer::ready(&kafka).await;
    producer.begin(&[(0, "a")]).await;
    kafka.script_transactions().delay(SECOND / 2);
    kafka.script_transactions().after(1).delay(2 * SECOND);
    let start = Instant::now();
    producer.txn().commit(SECOND).await.unwrap();
    assert_eq!(start.elapsed(), SECOND / 2);
    producer.begin(&[(0, "b")]).await;
    assert_eq!(facts(producer.txn().commit(SECOND).await), UNKNOWN);
    assert_eq!(start.elapsed(), SECOND * 3 / 2);
    producer.txn().commit(SECOND).await.unwrap();
}

/// KAFKA-17754, as measured on Kafka 4.3.1 with librdkafka: a late commit makes an aborted record visible.
#[tokio::test(start_paused = true)]
async fn a_stale_commit_ends_the_next_transaction() {
    let kafka = orders();
    let mut producer = Producer::ready(&kafka).await;
    producer.begin(&[(0, "a")]).await;
    let stale = kafka.script_transactions().on(TransactionCall::Commit).hold();
    producer.txn().commit(SECOND).await.expect("asked again");
    producer.begin(&[(0, "b1")]).await;
    assert_eq!(stale.held(), 1);
    stale.release();
    producer.send(1, "b2").await.expect("in a transaction that the broker opens anew");
    producer.txn().abort(SECOND).await.expect("all calls say Ok");
    assert_eq!(committed(&kafka), ["a", "b1"], "torn: b1 was aborted and is visible");
}

#[tokio::test(start_paused = true)]
async fn a_stale_abort_loses_a_part_of_the_next_transaction() {
    let kafka = orders();
    let mut producer = Producer::ready(&kafka).await;
    producer.begin(&[(0, "a")]).await;
    let stale = kafka.script_transactions().on(TransactionCall::Abort).hold();
    producer.txn().abort(SECOND).await.unwrap();
    producer.begin(&[(0, "b1")]).await;
    stale.release();
    producer.send(1, "b2").await.unwrap();
    producer.txn().commit(SECOND).await.expect("all calls say Ok");
    assert_eq!(committed(&kafka), ["b2"], "torn: b1 was committed and is gone");
}

#[tokio::test(start_paused = true)]
async fn a_stale_end_is_noticed_where_the_next_transaction_has_no_other_partition() {
    let kafka = orders();
    let mut producer = Producer::ready(&kafka).await;
    producer.begin(&[(0, "a")]).await;
    let stale = kafka.script_transactions().on(TransactionCall::Commit).hold();
    producer.txn().commit(SECOND).await.unwrap();
    producer.begin(&[(0, "b")]).await;
    stale.release();
    let error = producer.txn().abort(SECOND).await.unwrap_err();
    assert_eq!((error.kind(), error.error_type()), (ErrorKind::Transaction, "INVALID_TXN_STATE"));
}

#[tokio::test(start_paused = true)]
async fn a_new_instance_before_the_next_transaction_makes_a_stale_end_harmless() {
    let kafka = orders();
    let mut producer = Producer::ready(&kafka).await;
    producer.begin(&[(0, "a")]).await;
    let stale = kafka.script_transactions().on(TransactionCall::Commit).hold();
    producer.txn().commit(SECOND).await.unwrap();
    let mut next = Producer::ready(&kafka).await;
    next.begin(&[(0, "b1")]).await;
    stale.release();
    next.send(1, "b2").await.unwrap();
    next.txn().abort(SECOND).await.unwrap();
    assert_eq!(committed(&kafka), ["a"]);
}
