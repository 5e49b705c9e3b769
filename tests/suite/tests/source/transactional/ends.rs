//! How transactions end: each row of the table of `KafkaSource::transactional` that the sink decides.

use std::time::Duration;

use kafka_tower::memory::{MemoryKafka, TransactionCall};
use kafka_tower::source::{SourceErrorKind, SourceRecovery};
use kafka_tower::{Error, ErrorKind, Persistence, Recovery, SourceMessage};
use kafka_tower_core::codes;

use super::support::{BILLS, assert_exactly_once, bill, bills, ended, filled, finish, members, pass, sink, until_idle};
use crate::support::{SECOND, committed};

fn failed(recovery: Recovery, persistence: Persistence) -> Error {
    let error = Error::new(ErrorKind::Fatal, "planted: the coordinator answers").with_recovery(recovery);
    error.with_persistence(persistence)
}

async fn finishes(kafka: &MemoryKafka, records: u32) {
    drop(finish(kafka, members(kafka).await, sink(kafka, "billing-1").await).await.unwrap());
    assert_exactly_once(kafka, records);
}

#[tokio::test(start_paused = true)]
async fn an_aborted_transaction_is_repeated() {
    use TransactionCall::{Commit, SendOffsets};
    let abort = || failed(Recovery::AbortTransaction, Persistence::NotPersisted);
    let stale = |code| codes::error(code, Persistence::NotPersisted, "planted: another generation");
    for (call, error) in [
        (Commit, abort()),
        (SendOffsets, abort()),
        (SendOffsets, stale(22)),
        (SendOffsets, stale(25)),
        (SendOffsets, stale(113)),
    ] {
        let kafka = filled(2, 10).await;
        let rule = kafka.script_transactions().on(call).times(4).fail(error);
        finishes(&kafka, 10).await;
        assert_eq!(rule.used(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_not_sent_aborts_its_transaction() {
    let kafka = filled(2, 10).await;
    let error = || Error::new(ErrorKind::Connection, "planted").with_persistence(Persistence::NotPersisted);
    let _ = kafka.script().on_topic(BILLS).after(3).times(5).fail(error());
    finishes(&kafka, 10).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_or_late_end_is_waited_for() {
    for lost in 0..4 {
        let kafka = filled(2, 10).await;
        let rule = kafka.script_transactions().on(TransactionCall::Commit);
        let rule = match lost {
            0 => rule.lose_request(),
            1 => rule.lose_answer(),
            // Longer than one call waits.
            2 => rule.times(500).lose_request(),
            _ => rule.delay(45 * SECOND),
        };
        finishes(&kafka, 10).await;
        assert!(rule.used() > 0);
    }
}

/// The committed offsets decide, and not the answer.
#[tokio::test(start_paused = true)]
async fn after_an_unknown_end_the_group_is_asked() {
    let unknown = || failed(Recovery::Fatal, Persistence::PossiblyPersisted);
    for was_committed in [true, false] {
        let kafka = filled(2, 10).await;
        let rule = kafka.script_transactions().on(TransactionCall::Commit);
        let rule = if was_committed { rule.lose_answer_with(unknown()) } else { rule.fail(unknown()) };
        finishes(&kafka, 10).await;
        assert_eq!(rule.used(), 1);
        let markers = kafka.markers(BILLS, 0);
        assert_eq!(markers.len(), if was_committed { 1 } else { 2 }, "{markers:?}");
    }
}

/// A request that arrives late may end the transaction that the new producer has fenced.
#[tokio::test(start_paused = true)]
async fn a_late_end_does_not_commit_twice() {
    let kafka = filled(1, 10).await;
    let hold = kafka.script_transactions().on(TransactionCall::Commit).hold();
    let _ = kafka
        .script_transactions()
        .on(TransactionCall::Commit)
        .fail(failed(Recovery::Fatal, Persistence::PossiblyPersisted));
    finishes(&kafka, 10).await;
    hold.release();
    assert_exactly_once(&kafka, 10);
}

/// So that the abort comes before the brokers' own.
#[tokio::test(start_paused = true)]
async fn outputs_and_offsets_have_one_time_out_together() {
    let kafka = filled(1, 10).await;
    let _ = kafka.script().on_topic(BILLS).delay(20 * SECOND);
    let lost = kafka.script_transactions().on(TransactionCall::SendOffsets).always().lose_request();
    let aborts = async {
        tokio::time::sleep(40 * SECOND).await;
        assert_eq!(kafka.markers(BILLS, 0).len(), 1, "`send_timeout_ms` is 30 s");
        lost.cancel();
    };
    tokio::join!(finishes(&kafka, 10), aborts);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_refused_is_found_and_ends_it() {
    let kafka = filled(2, 20).await;
    kafka.set_max_record_bytes(BILLS, 100);
    let (source, sink) = (members(&kafka).await, super::support::texts(&kafka, "billing-1").await);
    let handler = |order: SourceMessage<u32>| async move {
        let is_bad = (order.partition(), order.offset()) == (1, 7);
        let text = if is_bad { "x".repeat(1_000) } else { order.value().unwrap().to_string() };
        Ok::<_, Error>([kafka_tower::SinkMessage::new(text).with_partition(order.partition())])
    };
    let error = ended(source.transactional(sink, handler).until(until_idle(&kafka)).into_future()).await.unwrap_err();
    assert_eq!((error.kind(), error.recovery()), (SourceErrorKind::Transaction, SourceRecovery::Stop));
    assert_eq!(error.partitions()[0].to_string(), "orders[1]");
    assert_eq!(committed(&kafka, 1), 7, "what comes before is committed");
    assert_eq!(kafka.committed_partition(BILLS, 1).len(), 7);
    assert_eq!(kafka.committed_partition(BILLS, 0).len() as i64, committed(&kafka, 0));
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_was_fenced_ends_it() {
    let kafka = filled(1, 10).await;
    let (source, sink) = (members(&kafka).await, sink(&kafka, "billing-1").await);
    let fence = kafka.clone();
    let handler = move |order: SourceMessage<u32>| {
        let kafka = fence.clone();
        async move {
            if order.offset() == 5 {
                let other = kafka.transactional_transport("billing-1");
                other.control().transactions().unwrap().init(SECOND).await.unwrap();
            }
            Ok::<_, Error>(vec![bill(&order)])
        }
    };
    let error = ended(source.transactional(sink, handler).into_future()).await.unwrap_err();
    assert_eq!((error.kind(), error.recovery()), (SourceErrorKind::Fenced, SourceRecovery::Stop));
    assert_eq!((bills(&kafka, 0).len(), committed(&kafka, 0)), (0, 0));
}

/// Without transactions, or with transactions of its own.
#[tokio::test(start_paused = true)]
async fn a_sink_that_cannot_begin_ends_it() {
    let kafka = filled(1, 10).await;
    let config = kafka_tower::KafkaSinkConfig { topic: BILLS.into(), ..Default::default() };
    let plain = kafka_tower::KafkaSink::<u32>::builder(config).transport(kafka.transport()).build().await.unwrap();
    let error = ended(members(&kafka).await.transactional(plain, pass).into_future()).await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Transaction);
    let closed = sink(&kafka, "billing-1").await;
    let _ = closed.close().await;
    let error = ended(members(&kafka).await.transactional(closed, pass).into_future()).await.unwrap_err();
    assert_eq!((error.kind(), committed(&kafka, 0)), (SourceErrorKind::Transaction, 0));
}

/// The broker aborts a transaction that is open for too long.
#[tokio::test(start_paused = true)]
async fn outputs_that_take_too_long_abort_their_transaction() {
    let kafka = filled(1, 10).await;
    let slow = kafka.script().on_topic(BILLS).times(10).delay(Duration::from_secs(40));
    finishes(&kafka, 10).await;
    assert!(slow.used() > 0);
}
