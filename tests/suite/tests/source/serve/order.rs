//! What `serve` takes, what runs side by side, and in which order.

use std::collections::BTreeMap;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::*;

#[tokio::test(start_paused = true)]
async fn an_answer_acknowledges_and_the_end_is_complete() {
    let kafka = filled(3, 200).await;
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
    let kafka = filled(1, 10).await;
    let (open, log) = (Arc::new(Semaphore::new(0)), Log::default());
    let gate = Gate { open: Arc::clone(&open), permit: None, acquiring: None, log: log.clone() };
    let serve = start(&kafka, gate, Order::Key, 4).await;
    sleep(10 * LONG).await;
    assert_eq!(log.offsets(), [0; 0]);
    // A rebalance does not wait for a service that is not ready: no message was taken.
    let begin = Instant::now();
    let other = other_member(&kafka).await;
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
    let _other = other_member(&kafka).await;
    assert_eq!((committed(&kafka, 0), committed(&kafka, 1)), (0, 500));
    drop(serve);
}

#[tokio::test(start_paused = true)]
async fn max_unsettled_bounds_what_serve_takes() {
    let kafka = filled(1, 30).await;
    let log = Log::default();
    let service = noting(&log, move |message| async move {
        if message.offset() == 0 {
            sleep(60 * SECOND).await;
        }
        Ok::<_, BoxError>(())
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
    let kafka = filled(1, 1).await;
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
