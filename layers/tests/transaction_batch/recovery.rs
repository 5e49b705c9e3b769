//! A lane whose last transaction has no clean end becomes usable again, and its records end once.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::*;

const UNKNOWN: (ErrorKind, Recovery, Persistence) =
    (ErrorKind::Transaction, Recovery::Reject, Persistence::PossiblyPersisted);

/// A service with one lane whose transport can be replaced, and the number of replacements.
async fn replaceable(
    kafka: &MemoryKafka,
    settings: impl FnOnce(TransactionBatchLayer) -> TransactionBatchLayer,
) -> (TransactionBatch, Arc<AtomicU32>) {
    let transport = kafka.transactional_transport("id");
    let layer = settings(TransactionBatchLayer::new(transport.control()));
    layer.init(SECOND).await.unwrap();
    let (kafka, count) = (kafka.clone(), Arc::new(AtomicU32::new(0)));
    let replaced = Arc::clone(&count);
    let service = layer.layer_lanes_with(vec![transport], move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let transport = kafka.transactional_transport("id");
        let control = transport.control();
        std::future::ready(Ok((transport, control)))
    });
    (service, replaced)
}

/// The brokers do not answer a commit for longer than the transaction may take, and then they do.
#[tokio::test(start_paused = true)]
async fn after_a_commit_without_an_answer_later_batches_go_on() {
    for carried_out in [true, false] {
        let kafka = kafka();
        let service = service(&kafka, |layer| layer.timeout(5 * SECOND)).await;
        let rule = kafka.script_transactions().on(TransactionCall::Commit).always();
        let rule = if carried_out { rule.lose_answer() } else { rule.lose_request() };
        let start = Instant::now();
        let outcomes = all(send_all(&service, ["a", "b"])).await;
        assert!(outcomes.iter().all(|outcome| facts(outcome) == UNKNOWN), "{outcomes:?}");
        assert!(start.elapsed() < 6 * SECOND, "{:?}", start.elapsed());
        let mut later = send(&service, 0, "c");
        sleep(20 * SECOND).await;
        assert!(poll(&mut later).is_pending());
        assert_eq!(kafka.len("orders"), 2, "nothing is sent meanwhile");
        rule.cancel();
        assert!(later.await.is_ok());
        assert!(send(&service, 0, "d").await.is_ok());
        // The commit was asked for again, and not aborted: nothing else is known.
        assert_eq!(committed(&kafka), ["a", "b", "c", "d"]);
    }
}

/// Their deadlines end the wait of the records behind it, and name the cause.
#[tokio::test(start_paused = true)]
async fn records_that_wait_behind_it_keep_their_deadlines() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.timeout(5 * SECOND)).await;
    let blocked = block_commits(&kafka);
    assert_eq!(facts(&send(&service, 0, "a").await), UNKNOWN);
    let start = Instant::now();
    let outcome = service.clone().call(to(0, "b").with_expires_at(start + SECOND)).await;
    assert_eq!(facts(&outcome), (ErrorKind::Timeout, Recovery::Wait, Persistence::NotPersisted));
    assert_eq!(start.elapsed(), SECOND);
    let error = outcome.unwrap_err();
    assert!(error.message().contains("its lane cannot begin a transaction"), "{error:#}");
    assert!(service.control().last_error().unwrap().contains("its lane"));
    blocked.cancel();
    assert!(send(&service, 0, "c").await.is_ok());
    assert_eq!(service.control().last_error(), None);
    assert_eq!(committed(&kafka), ["a", "c"]);
}

/// The coordinator has aborted the transaction by its time-out, and fenced the producer.
#[tokio::test(start_paused = true)]
async fn a_producer_that_ended_is_replaced() {
    let kafka = kafka();
    let (service, replaced) = replaceable(&kafka, |layer| layer.timeout(20 * SECOND)).await;
    let blocked = block_commits(&kafka);
    assert_eq!(facts(&send(&service, 0, "a").await), UNKNOWN);
    let later = send(&service, 0, "b");
    sleep(70 * SECOND).await;
    blocked.cancel();
    assert!(later.await.is_ok());
    assert_eq!((committed(&kafka), replaced.load(Ordering::SeqCst)), (vec!["b".to_owned()], 1));
    assert_eq!(service.control().generation(), 1);
    let report = service.control().close(SECOND).await.unwrap();
    assert!(report.is_complete(), "{report:?}");
}

/// It was fenced within its time-out: by another process, from which the id must not be taken back.
#[tokio::test(start_paused = true)]
async fn a_producer_that_was_taken_over_is_not_replaced() {
    let kafka = kafka();
    let (service, replaced) = replaceable(&kafka, plain).await;
    let blocked = block_commits(&kafka);
    let first = send(&service, 0, "a");
    sleep(SECOND).await;
    let newer = kafka.transactional_transport("id");
    newer.control().transactions().unwrap().init(SECOND).await.unwrap();
    blocked.cancel();
    assert_eq!(facts(&first.await), (ErrorKind::Transaction, Recovery::Fatal, Persistence::PossiblyPersisted));
    let later = send(&service, 0, "b").await;
    assert_eq!(facts(&later), (ErrorKind::Fatal, Recovery::Fatal, Persistence::NotPersisted));
    assert!(later.unwrap_err().message_with_causes().contains("took over"));
    assert_eq!(replaced.load(Ordering::SeqCst), 0);
    newer.control().transactions().unwrap().begin(SECOND).await.unwrap();
}

/// A transaction whose abort has no answer was not committed: its records are sent again.
#[tokio::test(start_paused = true)]
async fn after_an_abort_without_an_answer_the_batch_is_replayed() {
    let kafka = kafka();
    let service = service(&kafka, |layer| layer.timeout(5 * SECOND)).await;
    kafka.script_transactions().on(TransactionCall::Commit).fail(must_abort());
    let lost = kafka.script_transactions().on(TransactionCall::Abort).always().lose_request();
    let mut first = send(&service, 0, "a");
    sleep(12 * SECOND).await;
    let early = poll(&mut first);
    assert!(early.is_pending(), "{early:?}");
    lost.cancel();
    assert!(first.await.is_ok());
    assert_eq!((committed(&kafka), transactions(&kafka)), (vec!["a".to_owned()], (1, 1)));
}

/// A new transport cannot be made, or its id cannot be acquired, for a while.
#[tokio::test(start_paused = true)]
async fn the_producer_is_replaced_with_back_off_until_it_succeeds() {
    let kafka = kafka();
    let (service, replaced) = replaceable(&kafka, |layer| layer.timeout(SECOND)).await;
    let fatal = broken().with_recovery(Recovery::Fatal);
    kafka.script_transactions().on(TransactionCall::Commit).fail(fatal.clone());
    kafka.script_transactions().on(TransactionCall::Init).times(3).fail(fatal);
    let first = send(&service, 0, "a").await;
    assert_eq!(facts(&first).2, Persistence::PossiblyPersisted);
    let start = Instant::now();
    assert!(send(&service, 0, "b").await.is_ok());
    assert_eq!(replaced.load(Ordering::SeqCst), 4);
    assert!(start.elapsed() >= 700 * MS, "100, 200 and 400 ms: {:?}", start.elapsed());
    assert_eq!(committed(&kafka), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_a_lane_that_is_not_back() {
    for carried_out in [true, false] {
        let kafka = kafka();
        let (service, _) = replaceable(&kafka, |layer| layer.timeout(5 * SECOND)).await;
        let rule = kafka.script_transactions().on(TransactionCall::Commit).always();
        let _ = if carried_out { rule.lose_answer() } else { rule.lose_request() };
        assert_eq!(facts(&send(&service, 0, "a").await), UNKNOWN);
        let later = send(&service, 0, "b");
        sleep(SECOND).await;
        let start = Instant::now();
        let report = service.control().close(8 * SECOND).await.unwrap();
        assert!(start.elapsed() <= 8 * SECOND);
        assert_eq!((report.delivered, report.failed, report.unknown), (0, 1, 0), "{report:?}");
        assert!(!report.is_complete());
        assert_eq!(facts(&later.await), (ErrorKind::Closed, Recovery::Fatal, Persistence::NotPersisted));
        assert_eq!(kafka.len("orders"), 1);
    }
}
