//! What `serve` does about messages that fail.

use futures_util::future::BoxFuture;
use kafka_tower::source::{Acked, Receipt};

use super::*;
use crate::support::append_text;

/// Fails, by offset and attempt.
fn fails(
    log: &Log,
    fails: impl Fn(i64, u32) -> bool + Send + 'static,
) -> impl Service<SourceMessage<u32>, Response = (), Error = BoxError, Future = BoxFuture<'static, Result<(), BoxError>>>
+ Send
+ 'static {
    noting(log, move |message| {
        assert_eq!(message.value(), Some(&(message.offset() as u32)), "the same message");
        let failed = fails(message.offset(), message.attempt());
        let answer: BoxFuture<'static, Result<(), BoxError>> = Box::pin(async move {
            sleep(SECOND).await;
            if failed { Err(format!("no luck with {}", message.offset()).into()) } else { Ok(()) }
        });
        answer
    })
}

#[tokio::test(start_paused = true)]
async fn a_failure_ends_serve_and_what_was_handled_is_committed() {
    let kafka = filled(1, 10).await;
    let log = Log::default();
    let source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let error = ends(source.serve(fails(&log, |offset, _| offset == 2)).concurrency(4)).await;
    assert_eq!((error.kind(), error.recovery()), (SourceErrorKind::Handler, SourceRecovery::Stop));
    let (at, offset) = error.place().unwrap();
    assert_eq!((at.to_string(), offset, error.record().is_some()), ("orders[0]".to_owned(), 2, false));
    assert_eq!(error.message(), "the message at offset 2 of orders[0] was not handled: the service failed (attempt 1)");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no luck with 2");
    let report = error.close_report().unwrap();
    assert_eq!((report.unsettled.len(), report.unsettled[0].records, report.left), (1, 1, true), "{report}");
    assert_eq!((committed(&kafka, 0), log.offsets()), (2, vec![0, 1, 2, 3]), "the others may end");
}

#[tokio::test(start_paused = true)]
async fn a_retry_keeps_the_message_and_the_order_of_its_key_and_frees_its_place() {
    let kafka = kafka(1);
    append_keyed(&kafka, 0, [("a", 0), ("a", 1), ("b", 2), ("a", 3), ("c", 4)]).await;
    let log = Log::default();
    let (_stop, stopped) = oneshot::channel::<()>();
    let source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let control = source.control();
    let policy = FailurePolicy::retry(2).backoff(10 * SECOND, 20 * SECOND);
    let serve = source.serve(fails(&log, |offset, attempt| offset == 0 && attempt < 3)).concurrency(1);
    let serve = tokio::spawn(serve.on_failure(policy).until(stopped));
    sleep(LONG).await;
    assert_eq!(log.calls(), [(0, 1), (2, 1), (4, 1), (0, 2), (0, 3), (1, 1), (3, 1)]);
    assert_eq!(committed(&kafka, 0), 5);
    assert!(control.close().await.is_complete());
    assert_eq!(serve.await.unwrap().unwrap().settled, 5, "closed from elsewhere");
}

#[tokio::test(start_paused = true)]
async fn retries_end_by_the_policy() {
    for skips in [true, false] {
        let kafka = filled(1, 3).await;
        let log = Log::default();
        let policy = FailurePolicy::retry(2);
        let policy = if skips { policy.then_skip() } else { policy };
        let source = source(&kafka, config(CommitStrategy::Each)).await;
        let serve = source.serve(fails(&log, |offset, _| offset == 1)).order(Order::Partition).on_failure(policy);
        let ended = timeout(LONG, serve.until(sleep(60 * SECOND))).await.unwrap();
        let calls = vec![(0, 1), (1, 1), (1, 2), (1, 3)];
        if skips {
            let report = ended.unwrap();
            assert_eq!((report.settled, report.skipped, report.is_complete()), (2, 1, true), "{report}");
            assert_eq!((log.calls(), committed(&kafka, 0)), ([calls, vec![(2, 1)]].concat(), 3));
        } else {
            let error = ended.unwrap_err();
            assert!(error.message().ends_with("(attempt 3)"), "{error}");
            assert_eq!((log.calls(), committed(&kafka, 0)), (calls, 1));
        }
    }
}

/// Then the message is read again from the log, and nothing behind it with the same key overtakes it.
#[tokio::test(start_paused = true)]
async fn a_message_whose_value_was_taken_is_read_again() {
    let kafka = kafka(1);
    append_keyed(&kafka, 0, [("a", 0), ("b", 1), ("b", 2), ("a", 3), ("c", 4)]).await;
    let log = Log::default();
    let service = noting(&log, move |message| {
        let (offset, attempt) = (message.offset(), message.attempt());
        async move {
            sleep(SECOND).await;
            let (_, kept): (_, Receipt) = message.into_parts();
            if offset == 1 && attempt < 3 {
                return Err("no luck");
            }
            assert_eq!(kept.ack(), Acked::Counted);
            Ok(())
        }
    });
    let source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let serve = source.serve(service).concurrency(2).on_failure(FailurePolicy::retry(2));
    let report = timeout(LONG, serve.until(sleep(60 * SECOND))).await.unwrap().unwrap();
    assert!(report.is_complete(), "{report}");
    let calls = log.calls();
    let first = |offset| calls.iter().position(|call| call.0 == offset).unwrap();
    let done = calls.iter().position(|call| *call == (1, 3)).unwrap();
    assert!(first(2) > done, "the next one of its key waited: {calls:?}");
    assert_eq!((calls.iter().filter(|call| call.0 == 1).count(), committed(&kafka, 0)), (3, 5), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_may_settle_by_itself() {
    let kafka = filled(1, 4).await;
    let log = Log::default();
    let service = noting(&log, move |message| {
        let settlement = match (message.offset(), message.attempt()) {
            (1, _) => Settlement::Skip("too old".into()),
            (2, 1..=3) => Settlement::Retry(10 * SECOND),
            _ => Settlement::Ack,
        };
        async move { Ok::<_, BoxError>(settlement) }
    });
    let serve = start(&kafka, service, Order::Partition, 64).await;
    sleep(29 * SECOND).await;
    assert_eq!(log.calls(), [(0, 1), (1, 1), (2, 1), (2, 2), (2, 3)], "whatever the policy");
    sleep(2 * SECOND).await;
    let report = stop(serve).await;
    assert_eq!((report.settled, report.skipped, report.is_complete()), (3, 1, true), "{report}");
    assert_eq!(log.calls()[5..], [(2, 4), (3, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_and_ends_nothing_else() {
    // In the call, in the first poll, later, and when the future is dropped.
    for place in 0..4 {
        let kafka = filled(1, 6).await;
        let log = Log::default();
        let service = noting(&log, move |message| {
            let bad = message.offset() == 2 && message.attempt() == 1;
            assert!(place != 0 || !bad, "planted");
            async move {
                assert!(place != 1 || !bad, "planted");
                let bomb = (place == 3 && bad).then(|| Bomb);
                sleep(SECOND).await;
                assert!(place != 2 || !bad, "planted");
                if bomb.is_some() {
                    pending::<()>().await;
                }
                drop((message, bomb));
                Ok::<_, BoxError>(())
            }
        });
        let source = source(&kafka, config(CommitStrategy::Automatic)).await;
        let serve = source.serve(service).record_timeout(5 * SECOND).on_failure(FailurePolicy::retry(1));
        let report = timeout(LONG, serve.until(sleep(60 * SECOND))).await.unwrap().unwrap();
        assert_eq!((report.settled, report.is_complete(), committed(&kafka, 0)), (6, true, 6), "{place}: {report}");
        assert_eq!(log.calls().last(), Some(&(2, 2)), "{place}");
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("planted");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_takes_too_long_has_failed() {
    let kafka = filled(1, 4).await;
    let begin = Instant::now();
    let service = service_fn(|message: SourceMessage<u32>| async move {
        match message.offset() {
            1 => pending().await,
            2 => sleep(3 * SECOND).await,
            _ => {}
        }
        Ok::<_, BoxError>(())
    });
    let source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let error = ends(source.serve(service).record_timeout(4 * SECOND)).await;
    assert_eq!((error.kind(), error.place().unwrap().1), (SourceErrorKind::Timeout, 1));
    assert!(error.message().contains("it took more than 4s (attempt 1)"), "{error}");
    assert_eq!((begin.elapsed(), committed(&kafka, 0)), (4 * SECOND, 1));
    assert_eq!(error.close_report().unwrap().settled, 3);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_decoded_ends_serve_with_the_record() {
    let kafka = kafka(2);
    append(&kafka, 0, 0..2).await;
    append_text(&kafka, 0, "no number").await;
    append(&kafka, 0, 3..5).await;
    let log = Log::default();
    let source = source(&kafka, config(CommitStrategy::Automatic)).await;
    let error = ends(source.serve(fails(&log, |_, _| false))).await;
    assert_eq!((error.kind(), error.recovery()), (SourceErrorKind::Decode, SourceRecovery::Stop));
    assert_eq!(error.record().unwrap().value.as_deref(), Some(&b"no number"[..]));
    assert_eq!((error.place().unwrap().1, committed(&kafka, 0)), (2, 2), "what was before it was handled");
    let (_, acked) = error.skip().unwrap();
    assert_eq!(acked, Acked::Stale, "the source was closed: it is read again");
}
