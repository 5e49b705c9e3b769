//! Commit, abort, and what consumers see of them.

use futures_util::FutureExt;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::{ConsumerGroup, Error, ErrorKind, Persistence, Recovery, TopicOffset};
use tower::Service;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn readers_see_all_of_a_committed_transaction_and_nothing_of_an_aborted_one() {
    let kafka = orders();
    let mut producer = Producer::ready(&kafka).await;
    producer.begin(&[(0, "a"), (1, "b"), (0, "c")]).await;
    assert_eq!(committed(&kafka), [""; 0]);
    assert_eq!((kafka.len("orders"), kafka.last_stable_offset("orders", 0)), (3, Some(0)));
    producer.txn().commit(SECOND).await.unwrap();
    assert_eq!(committed(&kafka), ["a", "c", "b"]);

    producer.begin(&[(0, "d"), (1, "e")]).await;
    producer.txn().abort(SECOND).await.unwrap();
    producer.begin(&[(0, "f")]).await;
    producer.txn().commit(SECOND).await.unwrap();
    assert_eq!(committed(&kafka), ["a", "c", "f", "b"]);
    assert_eq!(values(&kafka.partition("orders", 0)), ["a", "c", "d", "f"], "read_uncommitted");

    let offsets: Vec<_> = kafka.partition("orders", 0).iter().map(|r| r.offset).collect();
    assert_eq!(offsets, [0, 1, 3, 5], "markers take offsets");
    let markers: Vec<_> = kafka.markers("orders", 0).iter().map(|m| (m.offset, m.committed)).collect();
    assert_eq!(markers, [(2, true), (4, false), (6, true)]);
    assert_eq!(kafka.high_watermark("orders", 0), Some(7));
}

#[tokio::test(start_paused = true)]
async fn an_open_transaction_holds_readers_back() {
    let kafka = orders();
    let mut producer = Producer::ready(&kafka).await;
    let mut plain = kafka.transport();
    producer.begin(&[(0, "open")]).await;
    assert!(plain.call(to(0, "behind")).await.is_ok());
    assert!(plain.call(to(1, "beside")).await.is_ok());
    assert_eq!(committed(&kafka), ["beside"]);
    producer.txn().abort(SECOND).await.unwrap();
    assert_eq!(committed(&kafka), ["behind", "beside"]);
}

#[tokio::test(start_paused = true)]
async fn calls_in_the_wrong_order_are_typed_and_change_nothing() {
    let kafka = orders();
    let mut producer = Producer::new(kafka.transactional_transport("id"));
    let misuse = (ErrorKind::Transaction, Recovery::Reject, Persistence::NotPersisted);
    let too_early = producer.txn().begin(SECOND).await.unwrap_err();
    assert!(!too_early.to_string().contains("written"), "it concerns no record: {too_early}");
    assert_eq!(facts::<()>(Err(too_early)), misuse);
    assert_eq!(facts(producer.send(0, "early").await), misuse);
    producer.txn().init(SECOND).await.unwrap();
    assert_eq!(facts(producer.txn().init(SECOND).await), misuse);
    assert_eq!(facts(producer.txn().commit(SECOND).await), misuse);
    assert_eq!(facts(producer.txn().abort(SECOND).await), misuse);
    assert_eq!(facts(producer.send(0, "outside").await), misuse);
    producer.begin(&[(0, "a")]).await;
    assert_eq!(facts(producer.txn().begin(SECOND).await), misuse);
    producer.txn().commit(SECOND).await.unwrap();
    assert_eq!(facts(producer.send(0, "late").await), misuse);
    assert_eq!(committed(&kafka), ["a"]);
    assert!(kafka.transport().control().transactions().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_empty_transaction_ends_without_the_broker() {
    let kafka = orders();
    let producer = Producer::ready(&kafka).await;
    let rule = kafka.script_transactions().always().lose_request();
    producer.txn().begin(SECOND).await.unwrap();
    producer.txn().commit(SECOND).await.unwrap();
    producer.txn().begin(SECOND).await.unwrap();
    producer.txn().abort(SECOND).await.unwrap();
    assert_eq!(rule.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_commit_waits_for_the_reports_and_refuses_later_records() {
    let kafka = orders();
    let mut producer = Producer::ready(&kafka).await;
    producer.txn().begin(SECOND).await.unwrap();
    let hold = kafka.script().hold_append();
    let send = producer.transport.call(to(0, "a"));
    let (mut late, control) = (producer.transport.clone(), producer.control.clone());
    let transactions = control.transactions().unwrap();
    let mut commit = transactions.commit(SECOND);
    assert!((&mut commit).now_or_never().is_none());
    assert_eq!(facts(late.call(to(0, "late")).await).0, ErrorKind::Transaction);
    hold.release();
    commit.await.unwrap();
    assert!(send.await.is_ok());
    assert_eq!(committed(&kafka), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_records_are_late_continues_with_the_same_call() {
    let kafka = orders();
    let mut producer = Producer::ready(&kafka).await;
    producer.txn().begin(SECOND).await.unwrap();
    let hold = kafka.script().hold_append();
    let _send = producer.transport.call(to(0, "a"));
    let timeout = facts(producer.txn().commit(SECOND).await);
    assert_eq!(timeout, (ErrorKind::Timeout, Recovery::Retry, Persistence::PossiblyPersisted));
    assert_eq!(facts(producer.txn().abort(SECOND).await).0, ErrorKind::Transaction, "only the same call may follow");
    hold.release();
    producer.txn().commit(SECOND).await.unwrap();
    assert_eq!(committed(&kafka), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_record_forces_the_abort() {
    let kafka = orders();
    let mut producer = Producer::ready(&kafka).await;
    producer.begin(&[(0, "a")]).await;
    kafka.script().fail(Error::new(ErrorKind::Rejected, "null key"));
    assert_eq!(facts(producer.send(0, "b").await).0, ErrorKind::Rejected);
    let must_abort = (ErrorKind::Transaction, Recovery::AbortTransaction, Persistence::NotPersisted);
    assert_eq!(facts(producer.send(0, "c").await), must_abort);
    assert_eq!(facts(producer.txn().commit(SECOND).await), must_abort);
    producer.txn().abort(SECOND).await.unwrap();
    producer.begin(&[(0, "d")]).await;
    producer.txn().commit(SECOND).await.unwrap();
    assert_eq!(committed(&kafka), ["d"]);
}

#[tokio::test(start_paused = true)]
async fn an_abort_takes_parked_records_back_and_waits_for_the_others() {
    let kafka = orders();
    let limits = Limits { records: 1, bytes: 1_000 };
    let mut producer = Producer::new(kafka.producer().transactional("id").limits(limits).transport());
    producer.txn().init(SECOND).await.unwrap();
    producer.txn().begin(SECOND).await.unwrap();
    let hold = kafka.script().hold();
    let first = producer.transport.call(to(0, "first"));
    let parked = producer.transport.call(to(0, "parked"));
    let transactions = producer.txn();
    let mut abort = transactions.abort(SECOND);
    assert_eq!(facts(parked.await), (ErrorKind::Transaction, Recovery::Reject, Persistence::NotPersisted));
    assert!((&mut abort).now_or_never().is_none());
    hold.release();
    abort.await.unwrap();
    assert!(first.await.is_ok());
    assert_eq!((committed(&kafka).len(), kafka.len("orders")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn offsets_count_with_the_commit_and_only_from_the_present_generation() {
    let kafka = orders();
    let producer = Producer::ready(&kafka).await;
    let offset = |offset| vec![TopicOffset { topic: "in".into(), partition: 0, offset }];
    let group = ConsumerGroup { group_id: "g".into(), generation: -1, member_id: "".into(), group_instance_id: None };
    producer.txn().begin(SECOND).await.unwrap();
    producer.txn().send_offsets(offset(7), group.clone(), SECOND).await.unwrap();
    assert_eq!(kafka.committed_offset("g", "in", 0), None);
    producer.txn().commit(SECOND).await.unwrap();
    assert_eq!(kafka.committed_offset("g", "in", 0), Some(7));

    producer.txn().begin(SECOND).await.unwrap();
    producer.txn().send_offsets(offset(9), group, SECOND).await.unwrap();
    producer.txn().abort(SECOND).await.unwrap();
    assert_eq!(kafka.committed_offset("g", "in", 0), Some(7));

    let stale = kafka.rebalance("g");
    let fresh = kafka.rebalance("g");
    producer.txn().begin(SECOND).await.unwrap();
    let refused = producer.txn().send_offsets(offset(11), stale, SECOND).await.unwrap_err();
    assert_eq!((refused.error_type(), refused.recovery()), ("ILLEGAL_GENERATION", Recovery::AbortTransaction));
    producer.txn().abort(SECOND).await.unwrap();
    producer.txn().begin(SECOND).await.unwrap();
    producer.txn().send_offsets(offset(11), fresh, SECOND).await.unwrap();
    producer.txn().commit(SECOND).await.unwrap();
    assert_eq!(kafka.committed_offset("g", "in", 0), Some(11));
}
