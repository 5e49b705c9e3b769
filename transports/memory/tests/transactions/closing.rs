//! How a close, and dropping the last handle, end a transaction in each of its states.

use futures_util::FutureExt;
use kafka_tower_core::{CloseReport, ErrorKind, Persistence, TransactionEnd};
use kafka_tower_memory::{MemoryKafka, TransactionCall};
use tokio::time::Instant;
use tower::Service;

use crate::support::*;

/// Whether `read_committed` consumers cannot see a record that is written now.
async fn is_held_back(kafka: &MemoryKafka) -> bool {
    let before = committed(kafka).len();
    kafka.transport().call(to(0, "behind")).await.unwrap();
    committed(kafka).len() == before
}

async fn close(producer: &Producer) -> CloseReport {
    producer.control.close(SECOND).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_open_or_failed_is_aborted() {
    for (failed, dropped) in [(false, false), (true, false), (false, true), (true, true)] {
        let kafka = orders();
        let mut producer = Producer::ready(&kafka).await;
        producer.begin(&[(0, "a")]).await;
        if failed {
            kafka.script().fail(kafka_tower_core::Error::new(ErrorKind::Rejected, "null key"));
            producer.send(0, "b").await.unwrap_err();
        }
        if dropped {
            drop(producer);
        } else {
            let report = close(&producer).await;
            assert!(matches!(report.transaction, Some(TransactionEnd::Aborted)) && report.is_complete(), "{report}");
            assert_eq!(facts(producer.txn().begin(SECOND).await).0, ErrorKind::Closed);
            let refused = facts(producer.txn().commit(SECOND).await);
            assert_eq!((refused.0, refused.2), (ErrorKind::Closed, Persistence::NotPersisted));
            assert!(close(&producer).await.transaction.is_none(), "it is reported once");
        }
        assert!(!is_held_back(&kafka).await);
        assert_eq!(committed(&kafka), ["behind"]);
    }
}

#[tokio::test(start_paused = true)]
async fn no_request_is_sent_if_no_transaction_is_open() {
    let kafka = orders();
    let mut producer = Producer::ready(&kafka).await;
    producer.begin(&[(0, "a")]).await;
    producer.txn().commit(SECOND).await.unwrap();
    let rule = kafka.script_transactions().always().lose_request();
    assert!(close(&producer).await.transaction.is_none());
    assert_eq!(facts(producer.txn().begin(SECOND).await).0, ErrorKind::Closed);
    drop(producer);
    assert_eq!(rule.used(), 0);
    assert_eq!(committed(&kafka), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_outcome_is_unknown_is_continued_and_never_aborted() {
    for (carried_out, dropped) in [(false, false), (true, false), (false, true), (true, true)] {
        let kafka = orders();
        let mut producer = Producer::ready(&kafka).await;
        producer.begin(&[(0, "a")]).await;
        let rule = kafka.script_transactions().on(TransactionCall::Commit).always();
        let outage = if carried_out { rule.lose_answer() } else { rule.lose_request() };
        producer.txn().commit(SECOND).await.unwrap_err();
        outage.cancel();
        if dropped {
            drop(producer);
        } else {
            let report = close(&producer).await;
            assert!(matches!(report.transaction, Some(TransactionEnd::Committed)), "{report}");
            producer.txn().commit(SECOND).await.expect("later calls have the answer of the close");
            assert_eq!(facts(producer.txn().abort(SECOND).await).0, ErrorKind::Closed);
        }
        assert!(!is_held_back(&kafka).await);
        assert_eq!(committed(&kafka), ["a", "behind"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_does_not_answer_makes_the_end_unknown_in_time() {
    for call in [TransactionCall::Abort, TransactionCall::Commit] {
        let kafka = orders();
        let mut producer = Producer::ready(&kafka).await;
        producer.begin(&[(0, "a")]).await;
        let _outage = kafka.script_transactions().on(call).always().lose_request();
        if call == TransactionCall::Commit {
            producer.txn().commit(SECOND).await.unwrap_err();
        }
        let start = Instant::now();
        let report = close(&producer).await;
        assert_eq!(start.elapsed(), SECOND);
        assert!(matches!(report.transaction, Some(TransactionEnd::Unknown(_))) && !report.is_complete(), "{report}");
        assert!(report.to_string().contains("it is unknown how the open transaction ended"), "{report}");
        assert!(is_held_back(&kafka).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_continues_an_abort_and_a_commit_under_way() {
    for commit in [false, true] {
        let kafka = orders();
        let mut producer = Producer::ready(&kafka).await;
        producer.txn().begin(SECOND).await.unwrap();
        let hold = kafka.script().hold_append();
        let send = producer.transport.call(to(0, "a"));
        let control = producer.control.clone();
        let transactions = control.transactions().unwrap();
        let mut end = if commit { transactions.commit(SECOND) } else { transactions.abort(SECOND) };
        assert!((&mut end).now_or_never().is_none());
        let closing = producer.control.close(SECOND);
        hold.release();
        let (ended, report) = tokio::join!(end, closing);
        ended.unwrap();
        let report = report.unwrap();
        let as_asked = match report.transaction {
            None => true, // the call came first
            Some(TransactionEnd::Committed) => commit,
            Some(TransactionEnd::Aborted) => !commit,
            _ => false,
        };
        assert!(as_asked, "{report}");
        send.await.unwrap();
        assert!(!is_held_back(&kafka).await);
        assert_eq!(committed(&kafka).len(), 1 + usize::from(commit));
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_lacks_a_record_at_the_end_of_the_close_is_aborted() {
    for dropped in [false, true] {
        let kafka = orders();
        let mut producer = Producer::ready(&kafka).await;
        producer.begin(&[(0, "a")]).await;
        let hold = kafka.script().hold_append();
        let send = producer.transport.call(to(0, "late"));
        producer.txn().commit(SECOND).await.unwrap_err();
        if dropped {
            drop(producer);
        } else {
            let report = close(&producer).await;
            assert!(matches!(report.transaction, Some(TransactionEnd::Aborted)), "{report}");
            assert_eq!((report.failed, report.unknown), (0, 1), "{report}");
        }
        hold.release(); // it reaches the broker too late
        send.await.unwrap_err();
        assert!(!is_held_back(&kafka).await);
        assert_eq!(committed(&kafka), ["behind"]);
    }
}

#[tokio::test(start_paused = true)]
async fn parked_records_fail_with_the_abort() {
    let kafka = orders();
    let limits = kafka_tower_core::gate::Limits { records: 1, bytes: 1_000 };
    let mut producer = Producer::new(kafka.producer().transactional("id").limits(limits).transport());
    producer.txn().init(SECOND).await.unwrap();
    producer.txn().begin(SECOND).await.unwrap();
    let hold = kafka.script().hold();
    let first = producer.transport.call(to(0, "first"));
    let parked = producer.transport.call(to(0, "parked"));
    let closing = producer.control.close(SECOND);
    let parked = facts(parked.now_or_never().expect("at once"));
    assert_eq!((parked.0, parked.2), (ErrorKind::Transaction, Persistence::NotPersisted));
    hold.release();
    let report = closing.await.unwrap();
    assert_eq!((report.delivered, report.failed, report.unknown), (1, 1, 0), "{report}");
    first.await.unwrap();
    assert!(committed(&kafka).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_was_fenced_has_nothing_left_to_end() {
    let kafka = orders();
    let mut old = Producer::ready(&kafka).await;
    old.begin(&[(0, "a")]).await;
    let _new = Producer::ready(&kafka).await;
    let report = close(&old).await;
    assert!(matches!(report.transaction, Some(TransactionEnd::Aborted)) && report.is_complete(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_handle_to_the_transactions_keeps_the_transport_alive() {
    let kafka = orders();
    let mut producer = Producer::ready(&kafka).await;
    producer.begin(&[(0, "a")]).await;
    let transactions = producer.txn();
    drop(producer);
    transactions.commit(SECOND).await.unwrap();
    assert_eq!(committed(&kafka), ["a"]);

    transactions.begin(SECOND).await.unwrap();
    drop(transactions);
    assert!(!is_held_back(&kafka).await);
}
