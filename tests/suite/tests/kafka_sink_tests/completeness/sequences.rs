//! Sequences of transactions, and calls from several tasks.

use kafka_tower::DeliveryGuarantee;
use kafka_tower::memory::TransactionCall;
use tokio::sync::mpsc;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_send_of_an_aborted_transaction_joins_no_other() {
    let stage = Stage::new(true, 8).await;
    let (mut late, dropped, mut batch) = (stage.call(2).await, stage.call(3).await, stage.sink.send_batch([4]));
    assert!(once(&mut late).is_pending() && once(&mut batch).is_pending());
    stage.sink.abort_transaction().await.unwrap();
    stage.begin().await;
    let error = late.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.persistence()),
        (ErrorKind::Transaction, Persistence::PossiblyPersisted),
        "{error:#}"
    );
    assert!(batch.await.unwrap()[0].is_err());
    drop(dropped);
    stage.assert_whole(&[1]).await;
}

/// An abort does not hide the reason for which the send was refused.
#[tokio::test(start_paused = true)]
async fn a_send_that_was_never_called_keeps_its_error() {
    let stage = Stage::new(false, 8).await;
    let mut faulty = stage.sink.clone().with_delivery_guarantee(DeliveryGuarantee::AtMostOnce);
    let refused = faulty.ready().await.unwrap().call(SinkMessage::new(2));
    stage.sink.abort_transaction().await.unwrap();
    stage.begin().await;
    assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::Config);
    stage.assert_whole(&[1]).await;
}

/// Errors of an aborted transaction that are returned during the next one do not make its commit fail.
#[tokio::test(start_paused = true)]
async fn errors_of_an_aborted_transaction_are_not_the_next_ones() {
    // Errors of the transport.
    let stage = Stage::new(false, 8).await;
    let broken = Error::new(ErrorKind::Broker, "planted").with_persistence(Persistence::NotPersisted);
    stage.kafka.script().times(2).late_by(Duration::from_millis(10)).fail(broken);
    let mut sends = stage.sink.send_stream(stream::iter([2, 3]));
    assert!(once(&mut sends.next()).is_pending());
    stage.sink.abort_transaction().await.unwrap();
    stage.begin().await;
    assert!(sends.next().await.unwrap().is_err());
    drop(sends);
    stage.assert_whole(&[1]).await;

    // Errors above the transport.
    let stage = Stage::new(true, 8).await;
    let mut batch = stage.sink.send_batch([NEVER, 2]);
    assert!(once(&mut batch).is_pending());
    stage.sink.abort_transaction().await.unwrap();
    stage.begin().await;
    assert!(once(&mut batch).is_pending());
    stage.assert_whole(&[1]).await;
    assert!(batch.await.unwrap().iter().all(Result::is_err));
}

/// Errors of an aborted transaction do not hide errors of the next one.
#[tokio::test(start_paused = true)]
async fn errors_of_the_next_transaction_are_its_own() {
    let stage = Stage::new(false, 8).await;
    let hold = stage.kafka.script().hold();
    let (messages, mut coming) = mpsc::unbounded_channel();
    let mut sends = stage.sink.send_stream(stream::poll_fn(move |cx| coming.poll_recv(cx)));
    messages.send(2).unwrap();
    messages.send(BAD).unwrap();
    assert!(once(&mut sends.next()).is_pending());
    hold.release();
    stage.sink.abort_transaction().await.unwrap();
    stage.begin().await;
    messages.send(BAD).unwrap();
    assert!(sends.next().await.unwrap().is_ok(), "the first one");
    drop(sends);
    stage.assert_refused().await;
}

/// The transport refuses the commit, so there is nothing to wait for.
#[tokio::test(start_paused = true)]
async fn a_commit_does_not_wait_if_an_accepted_record_was_lost() {
    let stage = Stage::new(false, 8).await;
    let broken = Error::new(ErrorKind::Broker, "planted").with_persistence(Persistence::NotPersisted);
    stage.kafka.script().after(1).fail(broken);
    let mut sends = stage.sink.send_stream(stream::iter([2, 3]));
    assert!(sends.next().await.unwrap().is_ok());
    let begun = Instant::now();
    let error = stage.sink.commit_transaction().await.unwrap_err();
    let facts = (error.kind(), error.recovery(), begun.elapsed());
    assert_eq!(facts, (ErrorKind::Transaction, Recovery::AbortTransaction, Duration::ZERO), "{error:#}");
}

/// This also holds if sends were left out afterwards.
#[tokio::test(start_paused = true)]
async fn a_commit_with_an_unknown_result_stays_possibly_persisted() {
    let stage = Stage::new(false, 8).await;
    let unknown = Error::new(ErrorKind::Transaction, "planted")
        .with_recovery(Recovery::Fatal)
        .with_persistence(Persistence::PossiblyPersisted);
    stage.kafka.script_transactions().on(TransactionCall::Commit).lose_answer_with(unknown);
    for _ in 0..2 {
        let error = stage.sink.commit_transaction().await.unwrap_err();
        assert_eq!(error.persistence(), Persistence::PossiblyPersisted, "{error:#}");
        drop(stage.call(BAD).await);
    }
    assert_eq!(stage.committed(), [1]);
}

/// A waiting commit belongs to the transaction in which it was called.
#[tokio::test(start_paused = true)]
async fn a_commit_that_waits_does_not_end_the_next_transaction() {
    let stage = Stage::new(true, 8).await;
    let waits = stage.call(NEVER).await;
    let sink = stage.sink.clone();
    let mut commit = Box::pin(sink.commit_transaction());
    assert!(once(&mut commit).is_pending());
    stage.sink.abort_transaction().await.unwrap();
    stage.begin().await;
    let error = commit.await.unwrap_err();
    let facts = (error.kind(), error.recovery(), error.persistence());
    let expected = (ErrorKind::Transaction, Recovery::Reject, Persistence::PossiblyPersisted);
    assert_eq!(facts, expected, "{error:#}");
    assert!(stage.committed().is_empty());
    stage.sink.send(3).await.unwrap();
    drop(waits);
    stage.assert_whole(&[1, 3]).await;
}

#[tokio::test(start_paused = true)]
async fn a_waiting_commit_ends_at_an_abort() {
    let stage = Stage::new(true, 8).await;
    let waits = stage.call(NEVER).await;
    let begun = Instant::now();
    let abort = async {
        sleep(Duration::from_millis(100)).await;
        stage.sink.abort_transaction().await.unwrap();
    };
    let (committed, ()) = tokio::join!(stage.sink.commit_transaction(), abort);
    assert_eq!((committed.unwrap_err().kind(), begun.elapsed().as_millis()), (ErrorKind::Transaction, 100));
    drop(waits);
}
