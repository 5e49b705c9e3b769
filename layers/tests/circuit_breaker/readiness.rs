use super::support::*;

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_ready_without_polling_the_service() {
    let (mut service, backend, _) = breaker(config());
    trip(&mut service).await;
    backend.set_full(true);
    let polls = backend.polls();
    assert_rejected(&send(&mut service, OK).await);
    assert_rejected(&send(&mut service.clone(), OK).await);
    assert_eq!(backend.polls(), polls);
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_waits_for_room_is_woken_when_the_breaker_opens() {
    let (mut service, backend, handle) = breaker(config());
    let mut on_their_way = Vec::new();
    for _ in 0..3 {
        on_their_way.push(start(&mut service, WAIT).await);
    }
    backend.set_full(true);
    let (mut a, mut b) = (service.clone(), service.clone());
    let (wakes_a, wakes_b) = (Arc::default(), Arc::default());
    assert!(poll_ready(&mut a, &wakes_a).is_pending());
    assert!(poll_ready(&mut b, &Arc::default()).is_pending());
    assert!(poll_ready(&mut b, &wakes_b).is_pending(), "the last waker counts");
    for (call, future) in on_their_way.into_iter().enumerate() {
        assert_eq!((wakes_a.get(), wakes_b.get()), (0, 0));
        backend.answer(call, answer_of(FAIL));
        future.await.unwrap_err();
    }
    assert_eq!((handle.state(), wakes_a.get(), wakes_b.get()), (CircuitState::Open, 1, 1));
    assert!(poll_ready(&mut a, &wakes_a).is_ready());
    assert_rejected(&a.call(OK).await);
    drop(b);

    handle.reset();
    assert!(poll_ready(&mut a, &wakes_a).is_pending());
    handle.force_open();
    assert_eq!((wakes_a.get(), wakes_b.get()), (2, 1), "by hand too; who is gone is not woken");
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_waits_to_probe_is_woken_when_another_one_probes() {
    let (mut service, backend, _) = breaker(config());
    let mut other = service.clone();
    half_open(&mut service).await;
    other.ready().await.unwrap();
    backend.set_full(true);
    let wakes = Arc::default();
    assert!(poll_ready(&mut service, &wakes).is_pending());
    let probe = other.call(WAIT);
    assert_eq!(wakes.get(), 1);
    assert!(poll_ready(&mut service, &wakes).is_ready());
    assert_rejected(&service.call(OK).await);
    drop(probe);
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_waits_for_room_is_woken_by_room() {
    let (mut service, backend, _) = breaker(config());
    backend.set_full(true);
    let wakes = Arc::default();
    assert!(poll_ready(&mut service, &wakes).is_pending());
    backend.set_full(false);
    assert_eq!(wakes.get(), 1);
    assert!(poll_ready(&mut service, &wakes).is_ready());
    service.call(OK).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_was_ready_while_open_does_not_call_a_service_that_was_not() {
    let (mut service, backend, handle) = breaker(config());
    trip(&mut service).await;
    assert!(poll_ready(&mut service, &Arc::default()).is_ready());
    tokio::time::advance(10 * SECOND).await;
    let error = service.call(OK).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::CircuitOpen, Persistence::NotPersisted));
    assert_eq!(backend.calls(), 3);
    send(&mut service, OK).await.unwrap();
    assert_eq!(handle.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_was_ready_while_closed_is_rejected_and_reserves_nothing_below() {
    let limit = tower::limit::GlobalConcurrencyLimitLayer::new(1);
    let backend = Backend::default();
    let layer = CircuitBreakerLayer::new(config());
    let mut service = layer.layer(limit.layer(backend.clone()));
    let mut other = service.clone();

    service.ready().await.unwrap();
    layer.handle().force_open();
    assert_rejected(&service.call(OK).await);
    layer.handle().reset();
    assert!(soon(other.ready()).await.is_ok(), "the one permit came back");
    layer.handle().force_open();
    other.ready().await.unwrap();
    layer.handle().reset();
    soon(service.ready()).await.unwrap().call(OK).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_transport_that_is_down_does_not_hide_the_rejection() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let hold = kafka.script().always().hold_append();
    let layer = CircuitBreakerLayer::new(config().failure_threshold(1));
    let mut service = layer.layer(kafka.transport_with(Limits { records: 1, bytes: 1_000 }));
    let patience = std::time::Instant::now() + 5 * SECOND;
    let mut behind = service.clone();
    let first = service.ready().await.unwrap().call(Record::new("orders").with_expires_at(patience));
    let (first, behind) = tokio::join!(first, async {
        soon(behind.ready()).await.unwrap();
        behind.call(Record::new("orders")).await
    });
    assert_eq!(first.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(behind.unwrap_err().kind(), ErrorKind::CircuitOpen, "woken though the transport is still full");
    hold.release();
}

#[tokio::test(start_paused = true)]
async fn readiness_errors_pass_through() {
    let (mut service, backend, handle) = breaker(config());
    backend.state.lock().unwrap().broken = true;
    let error = service.ready().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(handle.state(), CircuitState::Closed);
}
