//! What `serve` does with messages and with what their service answers.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kafka_tower::memory::{ConsumerEvent, MemoryKafka};
use kafka_tower::source::{
    Acked, FailurePolicy, Order, Receipt, Settlement, SourceCloseReport, SourceErrorKind, SourceRecovery,
};
use kafka_tower::{BoxError, CommitStrategy, KafkaSourceConfig, SourceError, SourceMessage};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tower::{Service, service_fn};

use crate::support::{GROUP, LONG, TOPIC, append, append_keyed, append_text, committed, config, kafka, next, source};

type Ended = Result<SourceCloseReport, SourceError>;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// What handlers have done, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<(i32, i64, u32)>>>);

impl Log {
    pub(crate) fn note(&self, message: &SourceMessage<u32>) {
        self.0.lock().unwrap().push((message.partition(), message.offset(), message.attempt()));
    }

    /// Offset and attempt of each call.
    fn calls(&self) -> Vec<(i64, u32)> {
        self.0.lock().unwrap().iter().map(|(_, offset, attempt)| (*offset, *attempt)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.calls().len()
    }

    fn offsets(&self) -> Vec<i64> {
        self.calls().into_iter().map(|(offset, _)| offset).collect()
    }
}

/// Serves until the returned sender is used or dropped.
async fn start<S>(
    kafka: &MemoryKafka,
    service: S,
    order: Order,
    concurrency: usize,
) -> (oneshot::Sender<()>, JoinHandle<Ended>)
where
    S: Service<SourceMessage<u32>> + Send + 'static,
    S::Response: Into<Settlement>,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let (stop, stopped) = oneshot::channel();
    let source = source(kafka, config(CommitStrategy::Automatic)).await;
    let serve = source.serve(service).order(order).concurrency(concurrency);
    (stop, tokio::spawn(serve.until(stopped)))
}

async fn stop((stop, ended): (oneshot::Sender<()>, JoinHandle<Ended>)) -> SourceCloseReport {
    drop(stop);
    ended.await.unwrap().unwrap_or_else(|error| panic!("{error}"))
}

async fn ends(serve: impl Future<Output = Ended>) -> SourceError {
    timeout(LONG, serve).await.expect("it ends").expect_err("it fails")
}

#[tokio::test(start_paused = true)]
async fn an_answer_acknowledges_and_the_end_is_complete() {
    let kafka = kafka(3);
    for partition in 0..3 {
        append(&kafka, partition, 0..200).await;
    }
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let service = service_fn(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, BoxError>(()) }
    });
    let serve = start(&kafka, service, Order::Key, 8).await;
    sleep(LONG).await;
    let report = stop(serve).await;
    assert_eq!((report.settled, report.is_complete(), handled.load(Ordering::Relaxed)), (600, true, 600), "{report}");
    assert_eq!((0..3).map(|partition| committed(&kafka, partition)).collect::<Vec<_>>(), [200; 3]);
}

/// Which messages run side by side, and in which order those of a lane begin.
#[tokio::test(start_paused = true)]
async fn each_order_bounds_what_runs_side_by_side() {
    // Of two partitions, with three keys and records without a key; 5 of each.
    for (order, concurrency, most) in [
        (Order::Partition, 64, 2),
        (Order::Key, 64, 2 * (3 + 5)),
        (Order::None, 64, 40),
        (Order::Partition, 1, 1),
        (Order::Key, 7, 7),
        (Order::None, 7, 7),
    ] {
        let kafka = kafka(2);
        for partition in 0..2 {
            for value in 0..5 {
                append_keyed(&kafka, partition, [("a", value), ("b", value), ("c", value)]).await;
                append(&kafka, partition, [value]).await;
            }
        }
        let running = Arc::new(Mutex::new((0, 0, BTreeMap::<_, (i64, bool)>::new())));
        let seen = Arc::clone(&running);
        let service = service_fn(move |message: SourceMessage<u32>| {
            let seen = Arc::clone(&seen);
            let lane = (message.partition(), message.key().cloned());
            let ordered = match order {
                Order::Partition => Some((lane.0, None)),
                Order::Key => lane.1.is_some().then_some(lane),
                _ => None,
            };
            async move {
                {
                    let (now, most, lanes) = &mut *seen.lock().unwrap();
                    *now += 1;
                    *most = (*most).max(*now);
                    if let Some(lane) = &ordered {
                        let last = lanes.insert(lane.clone(), (message.offset(), true)).unwrap_or((-1, false));
                        assert!(last.0 < message.offset() && !last.1, "{order:?} {lane:?}: {last:?}");
                    }
                }
                sleep(SECOND).await;
                let (now, _, lanes) = &mut *seen.lock().unwrap();
                *now -= 1;
                ordered.into_iter().for_each(|lane| lanes.get_mut(&lane).unwrap().1 = false);
                Ok::<_, BoxError>(())
            }
        });
        let serve = start(&kafka, service, order, concurrency).await;
        sleep(LONG).await;
        let report = stop(serve).await;
        assert_eq!((report.settled, report.is_complete()), (40, true), "{order:?}: {report}");
        assert_eq!(running.lock().unwrap().1, most, "{order:?}, {concurrency}");
    }
}

/// A service that counts its readiness as tower's contract asks, and can be closed and opened.
struct Gate {
    open: Arc<Semaphore>,
    permit: Option<tokio::sync::OwnedSemaphorePermit>,
    acquiring: Option<BoxFuture<'static, Option<tokio::sync::OwnedSemaphorePermit>>>,
    log: Log,
}

impl Service<SourceMessage<u32>> for Gate {
    type Response = ();
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<(), BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.permit.is_some() {
            return Poll::Ready(Ok(()));
        }
        let open = Arc::clone(&self.open);
        let acquiring = self.acquiring.get_or_insert_with(|| Box::pin(async { open.acquire_owned().await.ok() }));
        let Poll::Ready(permit) = acquiring.as_mut().poll(cx) else { return Poll::Pending };
        (self.acquiring, self.permit) = (None, permit);
        Poll::Ready(if self.permit.is_some() { Ok(()) } else { Err("the gate was closed for good".into()) })
    }

    fn call(&mut self, message: SourceMessage<u32>) -> Self::Future {
        self.permit.take().expect("it was ready").forget();
        self.log.note(&message);
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_while_the_service_is_not_ready_and_the_membership_stays() {
    let kafka = kafka(1);
    append(&kafka, 0, 0..10).await;
    let (open, log) = (Arc::new(Semaphore::new(0)), Log::default());
    let gate = Gate { open: Arc::clone(&open), permit: None, acquiring: None, log: log.clone() };
    let serve = start(&kafka, gate, Order::Key, 4).await;
    sleep(10 * LONG).await;
    assert_eq!(log.offsets(), [0; 0]);
    // A rebalance does not wait for a service that is not ready: no message was taken.
    let mut other = kafka.consumer(GROUP, [TOPIC]);
    let begin = Instant::now();
    while !matches!(other.next().await, ConsumerEvent::Assigned(_)) {}
    assert!(begin.elapsed() < SECOND, "the member gives its partition back at once");
    drop(other);
    open.add_permits(3);
    sleep(LONG).await;
    assert_eq!(log.offsets(), [0, 1, 2], "so many as it was ready for");
    open.close();
    let error = timeout(LONG, serve.1).await.unwrap().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.recovery(), error.place()), (SourceErrorKind::Service, SourceRecovery::Stop, None));
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the gate was closed for good");
    let report = error.close_report().unwrap();
    assert!(report.settled == 3 && report.is_complete(), "what was taken and not begun was put back: {report}");
    assert_eq!(committed(&kafka, 0), 3);
}

/// Fails, by offset and attempt.
fn fails(
    log: &Log,
    fails: impl Fn(i64, u32) -> bool + Send + 'static,
) -> impl Service<SourceMessage<u32>, Response = (), Error = BoxError, Future = BoxFuture<'static, Result<(), BoxError>>>
+ Send
+ 'static {
    let log = log.clone();
    service_fn(move |message: SourceMessage<u32>| {
        log.note(&message);
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
    let kafka = kafka(1);
    append(&kafka, 0, 0..10).await;
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
        let kafka = kafka(1);
        append(&kafka, 0, 0..3).await;
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
    let noted = log.clone();
    let service = service_fn(move |message: SourceMessage<u32>| {
        noted.note(&message);
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
    let kafka = kafka(1);
    append(&kafka, 0, 0..4).await;
    let log = Log::default();
    let noted = log.clone();
    let service = service_fn(move |message: SourceMessage<u32>| {
        noted.note(&message);
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
        let kafka = kafka(1);
        append(&kafka, 0, 0..6).await;
        let log = Log::default();
        let noted = log.clone();
        let service = service_fn(move |message: SourceMessage<u32>| {
            noted.note(&message);
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
    let kafka = kafka(1);
    append(&kafka, 0, 0..4).await;
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

/// What waits is put back at once, what runs may end, and neither is handled twice without need.
#[tokio::test(start_paused = true)]
async fn a_rebalance_waits_only_for_what_is_handled() {
    for (handling, settled) in [(3 * SECOND, 2), (30 * SECOND, 0)] {
        let kafka = kafka(2);
        append_keyed(&kafka, 1, [("a", 0), ("b", 1), ("a", 2), ("a", 3), ("b", 4)]).await;
        let log = Log::default();
        let noted = log.clone();
        let service = service_fn(move |message: SourceMessage<u32>| {
            noted.note(&message);
            async move {
                sleep(handling).await;
                drop(message);
                Ok::<_, BoxError>(())
            }
        });
        let serve = start(&kafka, service, Order::Key, 8).await;
        sleep(SECOND).await;
        assert_eq!(log.offsets(), [0, 1]);
        let begin = Instant::now();
        let mut other = kafka.consumer(GROUP, [TOPIC]); // gets the second partition
        while !matches!(other.next().await, ConsumerEvent::Assigned(_)) {}
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
        let mut other = kafka.consumer(GROUP, [TOPIC]); // gets the second partition
        while !matches!(other.next().await, ConsumerEvent::Assigned(_)) {}
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
    let mut other = kafka.consumer(GROUP, [TOPIC]); // gets the second partition
    while !matches!(other.next().await, ConsumerEvent::Assigned(_)) {}
    sleep(LONG).await;
    assert!(stop(serve).await.is_complete());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_handlers_up_to_the_drain_time() {
    for (handling, complete) in [(5 * SECOND, true), (LONG, false)] {
        let kafka = kafka(1);
        append(&kafka, 0, 0..10).await;
        let log = Log::default();
        let noted = log.clone();
        let service = service_fn(move |message: SourceMessage<u32>| {
            noted.note(&message);
            async move {
                sleep(handling).await;
                drop(message);
                Ok::<_, BoxError>(())
            }
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

/// A key whose messages take long does not fill the memory, and other partitions go on.
#[tokio::test(start_paused = true)]
async fn a_hot_key_holds_a_bounded_number_of_messages() {
    let kafka = kafka(2);
    append_keyed(&kafka, 0, (0..500).map(|value| ("hot", value))).await;
    append(&kafka, 1, 0..500).await;
    let service = service_fn(|message: SourceMessage<u32>| async move {
        if message.partition() == 0 {
            pending::<()>().await;
        }
        Ok::<_, BoxError>(())
    });
    let serve = start(&kafka, service, Order::Key, 2).await;
    sleep(SECOND).await;
    let mut other = kafka.consumer(GROUP, [TOPIC]);
    while !matches!(other.next().await, ConsumerEvent::Assigned(_)) {}
    assert_eq!((committed(&kafka, 0), committed(&kafka, 1)), (0, 500));
    drop(serve);
}

#[tokio::test(start_paused = true)]
async fn max_unsettled_bounds_what_serve_takes() {
    let kafka = kafka(1);
    append(&kafka, 0, 0..30).await;
    let log = Log::default();
    let noted = log.clone();
    let service = service_fn(move |message: SourceMessage<u32>| {
        noted.note(&message);
        async move {
            if message.offset() == 0 {
                sleep(60 * SECOND).await;
            }
            Ok::<_, BoxError>(())
        }
    });
    let config = KafkaSourceConfig { max_unsettled: 5, ..config(CommitStrategy::Automatic) };
    let serve = tokio::spawn(source(&kafka, config).await.serve(service).until(sleep(LONG)));
    sleep(30 * SECOND).await;
    assert_eq!(log.offsets(), [0, 1, 2, 3, 4]);
    assert!(serve.await.unwrap().unwrap().is_complete());
    assert_eq!((log.offsets().len(), committed(&kafka, 0)), (30, 30));
}

/// Otherwise a service that answers at once, and a policy that repeats at once, would never let other tasks run.
#[tokio::test]
async fn it_lets_other_tasks_run() {
    let kafka = kafka(1);
    append(&kafka, 0, 0..1).await;
    let service = service_fn(|_| async { Ok::<_, BoxError>(Settlement::Retry(Duration::ZERO)) });
    let serve = source(&kafka, config(CommitStrategy::Automatic)).await.serve(service);
    let (stop, stopped) = oneshot::channel::<()>();
    let serve = tokio::spawn(serve.until(stopped));
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    drop(stop);
    assert!(serve.await.unwrap().unwrap().left);
}
