//! Law 7: a refusal applies to a whole batch, and an isolated record gets its own outcome.

use futures_util::FutureExt;
use futures_util::future::join_all;
use kafka_tower_core::{Error, ErrorKind, Persistence, Record, Scope, Timestamp};
use kafka_tower_memory::{MemoryKafka, MemoryTransport};
use tokio::time::Instant;
use tower::Service;

use crate::support::*;

fn batching(records: usize) -> (MemoryKafka, MemoryTransport) {
    let kafka = MemoryKafka::new().with_topic("orders", 2);
    let transport = kafka.producer().batches(records, 5 * MS).transport();
    (kafka, transport)
}

fn refused(outcome: kafka_tower_core::Result<kafka_tower_core::Delivery>) -> (ErrorKind, Scope, Persistence) {
    let error: Error = outcome.unwrap_err();
    (error.kind(), error.scope(), error.persistence())
}

fn keyed(value: &str) -> Record {
    to(0, value).with_key("k")
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_sent_when_it_is_full_or_has_lingered() {
    let (kafka, mut transport) = batching(3);
    let start = Instant::now();
    let mut sends: Vec<_> = (0..2).map(|n| transport.call(to(0, n))).collect();
    assert!(kafka.is_empty());
    sends.push(transport.call(to(0, 2)));
    assert_eq!(kafka.len("orders"), 3, "it is full");
    assert!(join_all(sends).await.iter().all(Result::is_ok));
    assert!(start.elapsed().is_zero());
    let lingers = transport.call(to(0, 3));
    assert!(watched(lingers).await.is_ok());
    assert_eq!(start.elapsed(), 5 * MS);
    assert_eq!(values(&kafka, 0), ["0", "1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_flush_and_a_close_send_lingering_batches() {
    let (kafka, mut transport) = batching(10);
    let (control, start) = (transport.control(), Instant::now());
    let first = transport.call(to(0, "a"));
    watched(control.flush()).await.unwrap();
    assert!(first.now_or_never().expect("flushed").is_ok());
    let _second = transport.call(to(1, "b"));
    assert_eq!(watched(control.close(1_000 * MS)).await.unwrap().delivered, 1);
    assert!(start.elapsed().is_zero());
    assert_eq!(kafka.len("orders"), 2);
}

#[tokio::test(start_paused = true)]
async fn one_refused_record_fails_its_batch_and_no_other() {
    let (kafka, mut transport) = batching(3);
    kafka.set_compacted("orders");
    let batch = [keyed("a"), to(0, "no key"), keyed("c"), keyed("d")];
    let sends: Vec<_> = batch.into_iter().map(|record| transport.call(record)).collect();
    let other = transport.call(to(1, "x").with_key("k"));
    let mut outcomes = watched(join_all(sends)).await;
    assert!(outcomes.pop().unwrap().is_ok(), "the next batch");
    for outcome in outcomes {
        assert_eq!(refused(outcome), (ErrorKind::Rejected, Scope::Batch, Persistence::NotPersisted));
    }
    assert!(watched(other).await.is_ok(), "another partition");
    assert_eq!(values(&kafka, 0), ["d"]);
}

#[tokio::test(start_paused = true)]
async fn a_time_that_is_too_far_ahead_fails_its_batch() {
    let (kafka, mut transport) = batching(2);
    let ahead = |minutes: i64| Timestamp::from_millis(Timestamp::now().as_millis() + minutes * 60_000);
    let batch = [keyed("a"), keyed("b").with_timestamp(ahead(61)), keyed("c").with_timestamp(ahead(59)), keyed("d")];
    let sends: Vec<_> = batch.into_iter().map(|record| transport.call(record)).collect();
    let outcomes = watched(join_all(sends)).await;
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, false, true, true]);
    assert_eq!(refused(outcomes[0].clone()), (ErrorKind::Rejected, Scope::Batch, Persistence::NotPersisted));
    let mut alone = kafka.transport();
    let outcome = alone.call(keyed("e").with_timestamp(ahead(61))).await;
    assert_eq!(refused(outcome), (ErrorKind::Rejected, Scope::Record, Persistence::NotPersisted));
}

#[tokio::test(start_paused = true)]
async fn an_isolated_record_learns_its_own_fate() {
    let (kafka, mut transport) = batching(10);
    kafka.set_compacted("orders");
    let before = transport.call(keyed("before"));
    let alone = |mut record: Record| {
        record.isolated = true;
        record
    };
    let good = transport.call(alone(keyed("good")));
    assert_eq!(values(&kafka, 0), ["before", "good"], "it ends the batch before it and waits for nothing");
    assert!(before.await.is_ok() && good.await.is_ok());
    let bad = transport.call(alone(to(0, "bad")));
    let outcome = bad.now_or_never().expect("at once");
    assert_eq!(refused(outcome), (ErrorKind::Rejected, Scope::Record, Persistence::NotPersisted));
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_small_records_can_be_too_large() {
    let (kafka, mut transport) = batching(4);
    kafka.set_max_record_bytes("orders", 6);
    let sends: Vec<_> = (0..4).map(|n| transport.call(to(0, format!("00{n}")))).collect();
    for outcome in watched(join_all(sends)).await {
        assert_eq!(refused(outcome), (ErrorKind::RecordTooLarge, Scope::Batch, Persistence::NotPersisted));
    }
    let sends: Vec<_> = (0..2).map(|n| transport.call(to(0, format!("00{n}")))).collect();
    assert!(watched(join_all(sends)).await.iter().all(Result::is_ok));
}
