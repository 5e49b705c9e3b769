use super::support::*;

#[tokio::test(start_paused = true)]
async fn backs_off_twice_as_long_each_time() {
    let (inner, begun) = (Scripted::new(many(4)), Instant::now());
    send(&mut retry(policy(), &inner), record()).await.unwrap();
    assert_eq!(inner.times(begun), [0, 100, 300, 700, 1_500]);
}

#[tokio::test(start_paused = true)]
async fn gives_up_with_the_number_of_attempts_and_their_time() {
    let (inner, begun) = (Scripted::new(many(9).map(|error| error.with_elapsed(50 * MS))), Instant::now());
    let error = send(&mut retry(policy().max_retries(3), &inner), record()).await.unwrap_err();
    assert_eq!(inner.times(begun), [0, 100, 300, 700]);
    // The first attempt began before its failure, by the duration in its error; the clock measures the others.
    assert_eq!((error.attempts(), error.elapsed()), (4, Some(750 * MS)));
    assert!(error.to_string().starts_with("planted after 4 attempts (not written) [help: "), "{error}");
}

/// `elapsed` is `None` if the first attempt's duration is unknown: neither a partial sum nor the last attempt's own
/// duration.
#[tokio::test(start_paused = true)]
async fn elapsed_is_none_if_the_first_attempt_has_none() {
    for (retries, later) in [(0, None), (3, None), (3, Some(50 * MS))] {
        let failures = many(9).enumerate().map(|(n, error)| match later {
            Some(took) if n > 0 => error.with_elapsed(took),
            _ => error,
        });
        let inner = Scripted::new(failures);
        let error = send(&mut retry(policy().max_retries(retries), &inner), record()).await.unwrap_err();
        assert_eq!((error.attempts(), error.elapsed()), (retries + 1, None));
    }
}

#[tokio::test(start_paused = true)]
async fn the_duration_of_a_single_attempt_is_kept() {
    for guarantee in [DeliveryGuarantee::AtLeastOnce, DeliveryGuarantee::ExactlyOnce] {
        let inner = Scripted::new([not_written().with_elapsed(50 * MS)]);
        let error = send(&mut retry(policy().delivery_guarantee(guarantee).max_retries(0), &inner), record())
            .await
            .unwrap_err();
        assert_eq!((error.attempts(), error.elapsed()), (1, Some(50 * MS)));
    }
}

#[tokio::test(start_paused = true)]
async fn waits_longer_if_a_lower_rate_is_requested() {
    let throttled = error(ErrorKind::Throttled, Persistence::NotPersisted);
    let (inner, begun) = (Scripted::new([throttled.clone(), throttled.clone(), throttled]), Instant::now());
    send(&mut retry(policy().max_backoff(Duration::from_secs(2)), &inner), record()).await.unwrap();
    assert_eq!(inner.times(begun), [0, 800, 2_400, 4_400]);
}

#[tokio::test(start_paused = true)]
async fn never_backs_off_past_the_deadline() {
    let (inner, begun) = (Scripted::new(many(9).map(|error| error.with_elapsed(Duration::ZERO))), Instant::now());
    let error = send(&mut retry(policy(), &inner), patient(700 * MS)).await.unwrap_err();
    assert_eq!(inner.times(begun), [0, 100, 300], "the next one would be at the deadline");
    assert_eq!((error.kind(), error.attempts(), error.elapsed()), (ErrorKind::Broker, 3, Some(300 * MS)));
}

#[tokio::test(start_paused = true)]
async fn makes_no_attempt_past_the_deadline_though_the_timer_is_late() {
    let inner = Scripted::new(many(9));
    let mut future = retry(policy(), &inner).ready_oneshot().await.unwrap().call(patient(150 * MS));
    assert!(poll(&mut future).is_pending());
    tokio::time::advance(200 * MS).await;
    assert_eq!(future.await.unwrap_err().attempts(), 1);
    assert_eq!(inner.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn waits_for_readiness_no_longer_than_the_deadline() {
    let (inner, begun) = (Scripted::new([not_written().with_elapsed(50 * MS)]), Instant::now());
    let mut service = retry(policy(), &inner);
    let future = service.ready().await.unwrap().call(patient(250 * MS));
    inner.set_full(true);
    let error = tokio::time::timeout(1_000 * MS, future).await.expect("waits past the deadline").unwrap_err();
    assert_eq!(begun.elapsed(), 250 * MS);
    assert_eq!((error.kind(), error.attempts(), error.elapsed()), (ErrorKind::Broker, 1, Some(300 * MS)));
}

#[tokio::test(start_paused = true)]
async fn a_retry_continues_when_there_is_room_again() {
    let (inner, begun) = (Scripted::new([not_written()]), Instant::now());
    let future = retry(policy(), &inner).ready_oneshot().await.unwrap().call(record());
    inner.set_full(true);
    let waits = tokio::spawn(future);
    tokio::time::sleep(500 * MS).await;
    inner.set_full(false);
    waits.await.unwrap().unwrap();
    assert_eq!(inner.times(begun), [0, 500]);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_is_not_retried() {
    for persistence in [Persistence::NotPersisted, Persistence::PossiblyPersisted] {
        let inner = Scripted::new([error(ErrorKind::Timeout, persistence)]);
        let error = send(&mut retry(policy().allow_duplicates(true), &inner), record()).await.unwrap_err();
        assert_eq!((error.kind(), error.persistence(), inner.calls()), (ErrorKind::Timeout, persistence, 1));
    }
}

async fn delays(layer: RetryLayer, inner: Scripted) -> Vec<Duration> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let mut service = layer.on_retry(move |event| log.lock().unwrap().push(event.delay)).layer(inner);
    let mut futures = Vec::new();
    for _ in 0..50 {
        futures.push(tokio::spawn(service.ready().await.unwrap().call(record())));
    }
    for future in futures {
        future.await.unwrap().unwrap();
    }
    told.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn retries_of_a_failed_batch_are_spread_over_time() {
    let run = |seed| {
        delays(RetryLayer::new(RetryPolicy::new().jitter(Jitter::Full)).jitter_seed(seed), Scripted::new(many(50)))
    };
    let first = run(1).await;
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 50);
    assert_eq!(run(1).await, first, "a seed repeats a run");
    assert_ne!(run(2).await, first);
    let unseeded = || delays(RetryLayer::new(RetryPolicy::new()), Scripted::new(many(50)));
    assert_ne!(unseeded().await, unseeded().await);
}
