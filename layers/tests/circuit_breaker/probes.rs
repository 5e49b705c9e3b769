use super::support::*;

#[tokio::test(start_paused = true)]
async fn no_more_probes_than_allowed_are_admitted() {
    let (mut service, backend, handle) = breaker(config().probes(3).probe_successes(2));
    half_open(&mut service).await;
    let mut clones: Vec<_> = (0..8).map(|_| service.clone()).collect();
    let mut futures = Vec::new();
    for clone in &mut clones {
        futures.push(start(clone, WAIT).await);
    }
    assert_eq!(backend.calls(), 3 + 3);
    for rejected in futures.drain(3..) {
        let error = rejected.await.unwrap_err();
        assert_eq!(
            error.message(),
            "the circuit breaker is half-open and its probes are in flight; last failure: no leader"
        );
    }
    for (probe, state) in [CircuitState::HalfOpen, CircuitState::Closed].into_iter().enumerate() {
        backend.answer(3 + probe, answer_of(OK));
        futures.remove(0).await.unwrap();
        assert_eq!(handle.state(), state);
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_without_a_verdict_frees_its_place() {
    let (mut service, _, handle) = breaker(config());
    half_open(&mut service).await;

    drop(start(&mut service, WAIT).await);
    let mut polled = start(&mut service, WAIT).await;
    assert!(poll(&mut polled).is_pending());
    assert_rejected(&send(&mut service, OK).await);
    drop(polled);
    send(&mut service, NEUTRAL).await.unwrap_err();
    let mut panics = start(&mut service, PANIC).await;
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut panics))).is_err());
    assert_rejected(&send(&mut service, OK).await);
    drop(panics);

    assert_eq!(handle.state(), CircuitState::HalfOpen);
    send(&mut service, OK).await.unwrap();
    assert_eq!((handle.state(), handle.trips()), (CircuitState::Closed, 1));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_call_or_in_the_classifier_gives_the_place_back() {
    let layer = CircuitBreakerLayer::new(config().failure_threshold(1));
    let handle = layer.handle();
    let fails = tower::service_fn(|request: u32| {
        assert_ne!(request, PANIC, "planted");
        std::future::ready(answer_of(request))
    });
    let layer = layer.classifier(|result: &Result<u32>| match result {
        Ok(_) => Outcome::Success,
        Err(error) if error.kind() == ErrorKind::InvalidRecord => panic!("planted"),
        Err(_) => Outcome::Failure,
    });
    let mut service = layer.layer(fails);
    service.ready().await.unwrap().call(FAIL).await.unwrap_err();
    tokio::time::advance(10 * SECOND).await;

    service.ready().await.unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(service.call(PANIC)))).is_err());
    let mut judged = Box::pin(service.ready().await.unwrap().call(NEUTRAL));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(catch_unwind(AssertUnwindSafe(|| judged.as_mut().poll(&mut cx))).is_err());

    service.ready().await.unwrap().call(OK).await.unwrap();
    assert_eq!(handle.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_probe_does_not_keep_the_breaker_half_open() {
    let (mut service, backend, handle) = breaker(config());
    half_open(&mut service).await;
    let stuck = start(&mut service, WAIT).await;
    tokio::time::advance(19 * SECOND).await;
    assert_rejected(&send(&mut service, OK).await);
    tokio::time::advance(SECOND).await;
    send(&mut service, OK).await.unwrap();
    assert_eq!(handle.state(), CircuitState::Closed);

    backend.answer(3, answer_of(FAIL));
    stuck.await.unwrap_err();
    for _ in 0..2 {
        send(&mut service, FAIL).await.unwrap_err();
    }
    assert_eq!(handle.state(), CircuitState::Closed, "the stuck one's failure is of an older period");
}

#[tokio::test(start_paused = true)]
async fn a_drop_at_any_point_frees_the_probes_place() {
    let (mut service, backend, handle) = breaker(config());
    half_open(&mut service).await;
    // Drop before `poll_ready`, while it is pending, after it was ready, after the call, in flight, and after the
    // result.
    drop(service.clone());
    let mut waits = service.clone();
    backend.set_full(true);
    assert!(poll_ready(&mut waits, &Arc::default()).is_pending());
    drop(waits);
    backend.set_full(false);
    let mut ready = service.clone();
    assert!(poll_ready(&mut ready, &Arc::default()).is_ready());
    drop(ready);
    let future = start(&mut service.clone(), WAIT).await;
    drop(future);
    let mut future = start(&mut service.clone(), WAIT).await;
    assert!(poll(&mut future).is_pending());
    drop(future);
    let mut future = start(&mut service.clone(), NEUTRAL).await;
    assert!(poll(&mut future).is_ready());
    drop(future);
    assert_eq!(handle.state(), CircuitState::HalfOpen);
    send(&mut service, OK).await.unwrap();
    assert_eq!(handle.state(), CircuitState::Closed);
}
