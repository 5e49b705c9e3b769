//! Rebalances, and the end of `serve`, while messages are handled.

use super::*;

/// What waits is put back at once, what runs may end, and neither is handled twice without need.
#[tokio::test(start_paused = true)]
async fn a_rebalance_waits_only_for_what_is_handled() {
    for (handling, settled) in [(3 * SECOND, 2), (30 * SECOND, 0)] {
        let kafka = kafka(2);
        append_keyed(&kafka, 1, [("a", 0), ("b", 1), ("a", 2), ("a", 3), ("b", 4)]).await;
        let log = Log::default();
        let service = noting(&log, move |message| async move {
            sleep(handling).await;
            drop(message);
            Ok::<_, BoxError>(())
        });
        let serve = start(&kafka, service, Order::Key, 8).await;
        sleep(SECOND).await;
        assert_eq!(log.offsets(), [0, 1]);
        let begin = Instant::now();
        let _other = other_member(&kafka).await; // gets the second partition
        assert_eq!(begin.elapsed(), (handling - SECOND).min(10 * SECOND));
        assert_eq!((committed(&kafka, 1), log.offsets().len()), (settled, 2));
        sleep(LONG).await;
        assert_eq!((committed(&kafka, 1), log.offsets().len()), (settled, 2), "late answers have no effect");
        let report = stop(serve).await;
        assert_eq!(report.settled, settled as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_cancels_late_handlers_if_it_is_asked_to() {
    for cancels in [false, true] {
        let kafka = kafka(2);
        append(&kafka, 1, 0..3).await;
        let ended = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ended);
        let service = service_fn(move |_| {
            let count = Arc::clone(&count);
            async move {
                sleep(30 * SECOND).await;
                count.fetch_add(1, Ordering::Relaxed);
                Ok::<_, BoxError>(())
            }
        });
        let source = source(&kafka, config(CommitStrategy::Automatic)).await;
        let serve = source.serve(service).cancel_on_revoke(cancels).record_timeout(LONG);
        let serve = tokio::spawn(serve.until(sleep(2 * LONG)));
        sleep(SECOND).await;
        let other = other_member(&kafka).await; // gets the second partition
        sleep(LONG).await;
        assert_eq!(ended.load(Ordering::Relaxed), if cancels { 0 } else { 3 });
        drop(other);
        let report = serve.await.unwrap().unwrap();
        assert!(report.left, "{report}");
    }
}

/// A failure of a message that belongs to another member by now is that one's.
#[tokio::test(start_paused = true)]
async fn a_late_failure_after_a_revocation_does_not_end_serve() {
    let kafka = kafka(2);
    append(&kafka, 1, 0..1).await;
    let service = service_fn(|_| async {
        sleep(30 * SECOND).await;
        Err::<(), BoxError>("too late to matter".into())
    });
    let serve = start(&kafka, service, Order::Key, 8).await;
    sleep(SECOND).await;
    let _other = other_member(&kafka).await; // gets the second partition
    sleep(LONG).await;
    assert!(stop(serve).await.is_complete());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_handlers_up_to_the_drain_time() {
    for (handling, complete) in [(5 * SECOND, true), (LONG, false)] {
        let kafka = filled(1, 10).await;
        let log = Log::default();
        let service = noting(&log, move |message| async move {
            sleep(handling).await;
            drop(message);
            Ok::<_, BoxError>(())
        });
        let serve = start(&kafka, service, Order::Key, 4).await;
        sleep(SECOND).await;
        let begin = Instant::now();
        let report = stop(serve).await;
        assert_eq!(begin.elapsed(), (handling - SECOND).min(10 * SECOND));
        assert_eq!((report.is_complete(), log.offsets()), (complete, vec![0, 1, 2, 3]), "{report}");
        assert_eq!(committed(&kafka, 0), if complete { 4 } else { 0 });
        let left = report.unsettled.first().map(|left| left.records);
        assert_eq!(left, (!complete).then_some(4), "those that were not begun do not count");
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_serve_acknowledges_nothing_and_drops_the_handlers() {
    let kafka = kafka(1);
    append_keyed(&kafka, 0, [("a", 0), ("b", 1), ("a", 2), ("b", 3)]).await;
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let service = service_fn(move |message: SourceMessage<u32>| {
        let held = Arc::clone(&held);
        async move {
            if message.offset() != 0 {
                sleep(LONG).await;
            }
            drop((message, held));
            Ok::<_, BoxError>(())
        }
    });
    let mut serve = Box::pin(source(&kafka, config(CommitStrategy::Automatic)).await.serve(service));
    assert!(timeout(SECOND, &mut serve).await.is_err());
    assert_eq!(Arc::strong_count(&alive), 4, "1 and 2 are handled, and the service");
    drop(serve);
    assert_eq!(Arc::strong_count(&alive), 1);
    let mut again = source(&kafka, config(CommitStrategy::Automatic)).await;
    assert_eq!(next(&mut again).await.offset(), 1, "the first one was acknowledged");
    assert_eq!(committed(&kafka, 0), 1);
}
