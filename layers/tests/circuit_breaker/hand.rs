use super::support::*;

#[tokio::test(start_paused = true)]
async fn the_handle_forces_the_state() {
    let (mut service, backend, handle) = breaker(config());
    handle.force_open();
    let error = send(&mut service, OK).await.unwrap_err();
    assert_eq!(error.message(), "the circuit breaker was forced open");
    tokio::time::advance(1_000 * SECOND).await;
    assert_rejected(&send(&mut service, OK).await);
    assert_eq!((handle.state(), backend.calls()), (CircuitState::ForcedOpen, 0));

    handle.force_closed();
    for _ in 0..20 {
        send(&mut service, FAIL).await.unwrap_err();
    }
    assert_eq!((handle.state(), handle.trips(), backend.calls()), (CircuitState::ForcedClosed, 0, 20));

    handle.reset();
    trip(&mut service).await;
    assert_eq!((handle.state(), handle.trips()), (CircuitState::Open, 1));
    handle.reset();
    send(&mut service, OK).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn transitions_are_reported_in_order_even_if_a_hook_causes_one() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, layer) = (Arc::clone(&seen), CircuitBreakerLayer::new(config()));
    let handle = layer.handle();
    let layer = layer.on_transition({
        let handle = handle.clone();
        move |transition| {
            log.lock().unwrap().push((transition.from, transition.to, transition.is_trip()));
            if transition.to == CircuitState::ForcedOpen {
                handle.reset();
            }
        }
    });
    let mut watched = handle.subscribe();
    let mut service = layer.layer(Backend::default());
    assert_eq!(*watched.borrow_and_update(), CircuitState::Closed);
    trip(&mut service).await;
    watched.changed().await.unwrap();
    assert_eq!(*watched.borrow_and_update(), CircuitState::Open);
    tokio::time::advance(10 * SECOND).await;
    send(&mut service, OK).await.unwrap();
    handle.force_open();
    assert_eq!(*watched.borrow_and_update(), CircuitState::Closed);
    use CircuitState::{Closed, ForcedOpen, HalfOpen, Open};
    assert_eq!(
        *seen.lock().unwrap(),
        [
            (Closed, Open, true),
            (Open, HalfOpen, false),
            (HalfOpen, Closed, false),
            (Closed, ForcedOpen, false),
            (ForcedOpen, Closed, false)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_silences_no_later_one() {
    let seen = Arc::new(AtomicUsize::new(0));
    let (count, (mut service, _, handle)) = (Arc::clone(&seen), breaker(config()));
    handle.on_transition(move |_| assert!(count.fetch_add(1, Ordering::SeqCst) > 0, "planted"));
    assert!(catch_unwind(AssertUnwindSafe(|| handle.force_open())).is_err());
    handle.reset();
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    send(&mut service, OK).await.unwrap();
}
