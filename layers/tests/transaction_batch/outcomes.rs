use crate::support::*;

const UNKNOWN: (ErrorKind, Recovery, Persistence) =
    (ErrorKind::Transaction, Recovery::Fatal, Persistence::PossiblyPersisted);
const FINISHED: (ErrorKind, Recovery, Persistence) = (ErrorKind::Fatal, Recovery::Fatal, Persistence::NotPersisted);

#[tokio::test(start_paused = true)]
async fn callers_share_a_transaction_and_get_their_offsets_in_call_order() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let outcomes = all(send_all(&service, 0..10)).await;
    assert_eq!(offsets(&outcomes), (0..10).map(Some).collect::<Vec<_>>());
    assert_eq!(committed(&kafka), (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(transactions(&kafka), (1, 0));
}

/// The negative control of the simulation's `LostAcknowledged`: `Ok` comes after the commit, not after the answer of the
/// record.
#[tokio::test(start_paused = true)]
async fn ok_comes_only_after_the_commit() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let commit = block_commits(&kafka);
    let mut future = send(&service, 0, "a");
    sleep(60 * MS).await;
    settle().await;
    assert_eq!((kafka.len("orders"), commit.used()), (1, 1), "it is written, and the commit is under way");
    assert!(poll(&mut future).is_pending());
    commit.cancel();
    assert_eq!(future.await.unwrap().offset, Some(0));
    assert_eq!(committed(&kafka), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn an_aborted_batch_is_replayed_in_order() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    kafka.script_transactions().on(TransactionCall::Commit).times(2).fail(must_abort());
    let outcomes = all(send_all(&service, ["a", "b", "c"])).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(committed(&kafka), ["a", "b", "c"]);
    assert_eq!(transactions(&kafka), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_replayed_when_a_record_failed() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    kafka.script().after(1).fail(broken());
    let outcomes = all(send_all(&service, ["a", "b", "c"])).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(committed(&kafka), ["a", "b", "c"]);
}

/// The answer is lost, so the record may be in the log: in the aborted transaction, where no reader sees it.
#[tokio::test(start_paused = true)]
async fn a_record_in_doubt_is_replayed_after_the_abort() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    kafka.script().after(1).lose_answer();
    let outcomes = all(send_all(&service, ["a", "b"])).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(committed(&kafka), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn replays_are_limited_and_the_error_names_the_cause() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.replays(2)).await;
    let refusing = kafka.script_transactions().on(TransactionCall::Commit).always().fail(must_abort());
    let outcomes = all(send_all(&service, ["a", "b"])).await;
    for outcome in &outcomes {
        assert_eq!(facts(outcome), (ErrorKind::Transaction, Recovery::Retry, Persistence::NotPersisted));
        let error = outcome.as_ref().unwrap_err();
        assert_eq!(error.message(), "not delivered to orders: its transaction was aborted 3 times");
        assert_eq!((error.message_with_causes().contains("planted"), error.attempts()), (true, 3));
    }
    assert_eq!(refusing.used(), 3);
    refusing.cancel();
    assert_eq!(send(&service, 0, "c").await.unwrap().offset, Some(9), "the layer goes on");
    assert_eq!(committed(&kafka), ["c"]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_without_an_answer_is_called_again() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let lost = kafka.script_transactions().on(TransactionCall::Commit).times(20).lose_answer();
    let retry = Error::new(ErrorKind::Timeout, "planted").with_recovery(Recovery::Retry);
    kafka.script_transactions().on(TransactionCall::Commit).after(20).fail(retry);
    assert!(send(&service, 0, "a").await.is_ok());
    assert_eq!((lost.used(), transactions(&kafka)), (20, (1, 0)));
}

/// Whether or not the commit was carried out: the records are never sent a second time.
#[tokio::test(start_paused = true)]
async fn an_unknown_commit_is_never_replayed() {
    for carried_out in [true, false] {
        let kafka = kafka();
        let service = service(&kafka, |layer| layer.timeout(5 * SECOND)).await;
        let rule = kafka.script_transactions().on(TransactionCall::Commit).always();
        let _ = if carried_out { rule.lose_answer() } else { rule.lose_request() };
        let outcomes = all(send_all(&service, ["a", "b"])).await;
        let unknown = (ErrorKind::Transaction, Recovery::Reject, Persistence::PossiblyPersisted);
        assert!(outcomes.iter().all(|outcome| facts(outcome) == unknown), "{outcomes:?}");
        sleep(30 * SECOND).await;
        assert_eq!(kafka.len("orders"), 2);
    }
}

/// A refusal of a repeated commit says nothing about the first one.
#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_lost_answer_is_unknown() {
    for refusal in [must_abort(), broken().with_recovery(Recovery::Fatal)] {
        let kafka = kafka();
        let service = service(&kafka, plain).await;
        kafka
            .script_transactions()
            .on(TransactionCall::Commit)
            .fail(Error::new(ErrorKind::Timeout, "planted").with_recovery(Recovery::Retry));
        kafka.script_transactions().on(TransactionCall::Commit).after(1).fail(refusal);
        let outcomes = all(send_all(&service, ["a", "b"])).await;
        assert!(outcomes.iter().all(|outcome| facts(outcome) == UNKNOWN), "{outcomes:?}");
        assert_eq!(kafka.len("orders"), 2, "nothing was replayed");
    }
}

#[tokio::test(start_paused = true)]
async fn another_owner_of_the_id_ends_the_layer() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let newer = kafka.transactional_transport("id");
    newer.control().transactions().unwrap().init(SECOND).await.unwrap();
    let outcome = send(&service, 0, "a").await;
    assert_eq!(facts(&outcome), FINISHED);
    assert!(outcome.unwrap_err().message_with_causes().contains("took over"));
    assert_eq!(facts(&send(&service, 0, "b").await), FINISHED);
    assert!(committed(&kafka).is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_init_nothing_is_sent_and_the_error_says_so() {
    let kafka = kafka();
    let transport = kafka.transactional_transport("id");
    let layer = TransactionBatchLayer::new(transport.control());
    let service = layer.layer(transport);
    let outcome = send(&service, 0, "a").await;
    assert_eq!(facts(&outcome).2, Persistence::NotPersisted);
    assert!(outcome.unwrap_err().message().contains("init"));
    layer.init(SECOND).await.unwrap();
    assert!(send(&service, 0, "b").await.is_ok(), "the layer goes on");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_caller_tears_nothing() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let first = send(&service, 0, "a");
    drop(send(&service, 0, "b"));
    let third = send(&service, 0, "c");
    let mut polled = send(&service, 0, "d");
    assert!(poll(&mut polled).is_pending());
    drop(polled);
    assert!(first.await.is_ok() && third.await.is_ok());
    assert_eq!(committed(&kafka), ["a", "b", "c", "d"]);
    assert_eq!(service.control().in_flight().records, 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_before_the_cut_takes_the_record_out() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let start = Instant::now();
    let late = service.clone().call(to(0, "late").with_expires_at(start + 10 * MS));
    let other = send(&service, 0, "other");
    assert_eq!(facts(&late.await), (ErrorKind::Timeout, Recovery::Wait, Persistence::NotPersisted));
    assert_eq!(start.elapsed(), 10 * MS);
    assert!(other.await.is_ok());
    assert_eq!(committed(&kafka), ["other"]);
}

/// The transaction goes on: its other records do not pay for the caller's deadline.
#[tokio::test(start_paused = true)]
async fn a_deadline_during_the_commit_is_possibly_persisted() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let start = Instant::now();
    kafka.script_transactions().on(TransactionCall::Commit).delay(SECOND);
    let late = service.clone().call(to(0, "late").with_expires_at(start + 100 * MS));
    let other = send(&service, 0, "other");
    assert_eq!(facts(&late.await), (ErrorKind::Timeout, Recovery::Wait, Persistence::PossiblyPersisted));
    assert_eq!(start.elapsed(), 100 * MS);
    assert!(other.await.is_ok());
    assert_eq!(committed(&kafka), ["late", "other"]);
}

/// A transaction that is not answered in time is aborted and replayed.
#[tokio::test(start_paused = true)]
async fn a_record_without_an_answer_does_not_hold_its_batch_for_ever() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.timeout(2 * SECOND)).await;
    kafka.script().delay(3 * SECOND);
    let outcomes = all(send_all(&service, ["a", "b"])).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(committed(&kafka), ["a", "b"]);
}

/// The aborted attempt is in no log, and no later one may send the record.
#[tokio::test(start_paused = true)]
async fn a_deadline_between_two_attempts_is_certain() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    kafka.script_transactions().on(TransactionCall::Commit).times(1).fail(must_abort());
    let start = Instant::now();
    let late = service.clone().call(to(0, "late").with_expires_at(start + 100 * MS));
    let other = send(&service, 0, "other");
    assert_eq!(facts(&late.await), (ErrorKind::Timeout, Recovery::Wait, Persistence::NotPersisted));
    assert_eq!(start.elapsed(), 100 * MS, "the replay starts after 150 ms");
    assert!(other.await.is_ok());
    assert_eq!(committed(&kafka), ["other"]);
}

/// The transport does not get the caller's deadline: it would give the record up, and the transaction would be aborted.
#[tokio::test(start_paused = true)]
async fn a_deadline_before_the_records_answer_aborts_no_transaction() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let start = Instant::now();
    kafka.script().delay(SECOND);
    let late = service.clone().call(to(0, "late").with_expires_at(start + 100 * MS));
    let other = send(&service, 0, "other");
    assert_eq!(facts(&late.await), (ErrorKind::Timeout, Recovery::Wait, Persistence::PossiblyPersisted));
    assert!(other.await.is_ok());
    assert_eq!((committed(&kafka).len(), transactions(&kafka)), (2, (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_caller_got_its_time_out_is_not_replayed() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    let start = Instant::now();
    kafka.script().delay(SECOND);
    kafka.script_transactions().on(TransactionCall::Commit).fail(must_abort());
    let late = service.clone().call(to(0, "late").with_expires_at(start + 100 * MS));
    let other = send(&service, 0, "other");
    assert_eq!(facts(&late.await), (ErrorKind::Timeout, Recovery::Wait, Persistence::PossiblyPersisted));
    assert!(other.await.is_ok());
    assert_eq!(committed(&kafka), ["other"]);
}
