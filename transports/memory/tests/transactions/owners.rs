//! Ownership of transactional ids: fencing and time-outs.

use std::time::Duration;

use kafka_tower_core::{ErrorKind, Persistence, Recovery};
use tokio::time::sleep;

use crate::support::*;

const FENCED: (ErrorKind, Recovery, Persistence) = (ErrorKind::Fenced, Recovery::Fatal, Persistence::NotPersisted);

#[tokio::test(start_paused = true)]
async fn a_new_owner_aborts_the_open_transaction_and_fences_the_old_owner() {
    let kafka = orders();
    let mut old = Producer::ready(&kafka).await;
    old.begin(&[(0, "old")]).await;
    let mut new = Producer::ready(&kafka).await;
    assert_eq!(kafka.last_stable_offset("orders", 0), kafka.high_watermark("orders", 0), "nothing is open");
    assert_eq!(facts(old.send(0, "zombie").await), FENCED);
    assert_eq!(facts(old.txn().commit(SECOND).await), FENCED);
    assert_eq!(facts(old.txn().begin(SECOND).await), FENCED);
    assert_eq!(facts(old.send(0, "zombie").await), FENCED);
    new.begin(&[(0, "new")]).await;
    new.txn().commit(SECOND).await.unwrap();
    assert_eq!(committed(&kafka), ["new"]);
}

#[tokio::test(start_paused = true)]
async fn commit_and_abort_of_a_fenced_producer_fail() {
    for commit in [true, false] {
        let kafka = orders();
        let mut old = Producer::ready(&kafka).await;
        old.begin(&[(0, "old")]).await;
        let _new = Producer::ready(&kafka).await;
        let ended = if commit { old.txn().commit(SECOND).await } else { old.txn().abort(SECOND).await };
        assert_eq!(facts(ended), FENCED);
        assert!(committed(&kafka).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn other_ids_are_not_fenced() {
    let kafka = orders();
    let mut first = Producer::ready(&kafka).await;
    let mut second = Producer::new(kafka.transactional_transport("other"));
    second.txn().init(SECOND).await.unwrap();
    first.begin(&[(0, "a")]).await;
    second.begin(&[(0, "b")]).await;
    first.txn().commit(SECOND).await.unwrap();
    assert_eq!(committed(&kafka), ["a"], "the second one is open");
    second.txn().commit(SECOND).await.unwrap();
    assert_eq!(committed(&kafka), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn the_broker_aborts_a_transaction_that_is_open_too_long() {
    let kafka = orders();
    let timeout = Duration::from_secs(10);
    let mut producer = Producer::new(kafka.producer().transactional("id").transaction_timeout(timeout).transport());
    producer.txn().init(SECOND).await.unwrap();
    sleep(20 * SECOND).await;
    producer.begin(&[(0, "a")]).await;
    sleep(9 * SECOND).await;
    assert_eq!(kafka.last_stable_offset("orders", 0), Some(0));
    sleep(SECOND).await;
    assert_eq!(kafka.last_stable_offset("orders", 0), Some(2));
    assert_eq!(facts(producer.txn().commit(SECOND).await), FENCED);
    assert!(committed(&kafka).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_operator_can_abort_a_transaction() {
    let kafka = orders();
    assert!(!kafka.abort_transaction("id"));
    let mut producer = Producer::ready(&kafka).await;
    producer.begin(&[(0, "a")]).await;
    assert!(kafka.abort_transaction("id"));
    assert!(!kafka.abort_transaction("id"), "nothing is open");
    assert_eq!(facts(producer.send(0, "b").await), FENCED);
}
