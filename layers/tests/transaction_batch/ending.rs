use kafka_tower_core::TransactionEnd;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn flush_cuts_at_once_and_waits_for_the_commit() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.age(10 * SECOND)).await;
    kafka.script_transactions().on(TransactionCall::Commit).always().delay(5 * MS);
    let start = Instant::now();
    let mut futures = send_all(&service, ["a", "b"]);
    let control = service.control();
    control.flush().await.unwrap();
    assert_eq!((start.elapsed(), committed(&kafka).len()), (5 * MS, 2));
    assert!(futures.iter_mut().all(|future| poll(future).is_ready()));
    let mut later = send(&service, 0, "c");
    sleep(SECOND).await;
    assert!(poll(&mut later).is_pending(), "after the flush batches fill again");
}

#[tokio::test(start_paused = true)]
async fn flush_does_not_wait_for_records_called_later() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.records(1)).await;
    let control = service.control();
    let first = send(&service, 0, "a");
    let flush = control.flush();
    kafka.script_transactions().on(TransactionCall::Commit).after(1).always().lose_request();
    let _later = send(&service, 0, "b");
    flush.await.unwrap();
    assert!(first.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn close_commits_what_is_there() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.age(10 * SECOND)).await;
    let start = Instant::now();
    let futures = send_all(&service, ["a", "b"]);
    let report = service.control().close(SECOND).await.unwrap();
    assert_eq!((report.delivered, report.is_complete(), start.elapsed()), (2, true, Duration::ZERO));
    assert!(all(futures).await.iter().all(Result::is_ok));
    assert_eq!(committed(&kafka), ["a", "b"]);
    assert_eq!(facts(&send(&service, 0, "c").await), (ErrorKind::Closed, Recovery::Fatal, Persistence::NotPersisted));
    assert!(service.control().close(SECOND).await.unwrap().is_complete(), "again");
}

#[tokio::test(start_paused = true)]
async fn a_close_without_time_reports_what_was_not_committed() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.records(2).room(3, 1_000)).await;
    let _hold = kafka.script().hold();
    let futures = send_all(&service, ["a", "b", "c", "parked"]);
    let start = Instant::now();
    let report = service.control().close(4 * SECOND).await.unwrap();
    assert!(start.elapsed() <= 4 * SECOND, "{:?}", start.elapsed());
    assert_eq!((report.delivered, report.failed, report.unknown), (0, 4, 0));
    let undelivered: Vec<_> = report.undelivered.iter().map(|u| u.record.value.clone().unwrap()).collect();
    assert_eq!(undelivered.len(), 4);
    for outcome in all(futures).await {
        assert_eq!(facts(&outcome), (ErrorKind::Closed, Recovery::Fatal, Persistence::NotPersisted));
    }
    assert!(committed(&kafka).is_empty());
}

/// Its commit was called: the records may be visible, and here they are.
#[tokio::test(start_paused = true)]
async fn a_close_during_a_commit_does_not_claim_that_nothing_is_written() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.records(2)).await;
    kafka.script_transactions().on(TransactionCall::Commit).always().lose_answer();
    let futures = send_all(&service, ["a", "b", "c"]);
    let report = service.control().close(4 * SECOND).await.unwrap();
    assert_eq!((report.delivered, report.failed, report.unknown), (0, 1, 2));
    assert!(matches!(report.transaction, Some(TransactionEnd::Unknown(_))), "{report:?}");
    let outcomes = all(futures).await;
    let persistences: Vec<_> = outcomes.iter().map(|outcome| facts(outcome).2).collect();
    use Persistence::{NotPersisted, PossiblyPersisted};
    assert_eq!(persistences, [PossiblyPersisted, PossiblyPersisted, NotPersisted]);
    assert_eq!(committed(&kafka), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_commits_what_was_called() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.age(10 * SECOND)).await;
    drop(send(&service, 0, "a"));
    drop(service);
    settle().await;
    assert_eq!(committed(&kafka), ["a"]);
    let newer = kafka.transactional_transport("id");
    newer.control().transactions().unwrap().init(SECOND).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_awaited_future_keeps_the_layer_alive() {
    let kafka = kafka();
    let service = service(&kafka, plain).await;
    assert!(service.oneshot(to(0, "a")).await.is_ok());
    assert_eq!(committed(&kafka), ["a"]);
}

#[test]
fn the_end_of_the_runtime_is_told_by_what_had_happened() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (kafka, first, second) = (kafka(), runtime(), runtime());
    let (waiting, committing, service) = first.block_on(async {
        let service = service(&kafka, |layer| layer.records(2).age(10 * SECOND)).await;
        kafka.script_transactions().on(TransactionCall::Commit).always().lose_request();
        let committing = send_all(&service, ["a", "b"]);
        settle().await;
        (send(&service, 0, "c"), committing, service)
    });
    drop(first);
    second.block_on(async {
        for outcome in all(committing).await {
            assert_eq!(facts(&outcome), (ErrorKind::Closed, Recovery::Fatal, Persistence::PossiblyPersisted));
        }
        let not_sent = (ErrorKind::Closed, Recovery::Fatal, Persistence::NotPersisted);
        assert_eq!(facts(&waiting.await), not_sent);
        assert_eq!(facts(&send(&service, 0, "d").await), not_sent, "later calls do not wait for ever");
    });
}
