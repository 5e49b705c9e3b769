use super::support::*;

#[tokio::test(start_paused = true)]
async fn opens_rejects_probes_and_closes() {
    let (mut service, backend, handle) = breaker(config());
    trip(&mut service).await;
    assert_eq!((handle.state(), handle.trips(), backend.calls()), (CircuitState::Open, 1, 3));

    tokio::time::advance(Duration::from_millis(2_700)).await;
    let error = send(&mut service, OK).await.unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "the circuit breaker is open after 3 failures; half-open in 7.3 s; last failure: no leader (not written) \
         [help: wait for the circuit breaker to close]"
    );
    assert_eq!(backend.calls(), 3);

    tokio::time::advance(Duration::from_millis(7_299)).await;
    assert_rejected(&send(&mut service, OK).await);
    tokio::time::advance(Duration::from_millis(1)).await;
    send(&mut service, FAIL).await.unwrap_err();
    assert_eq!((handle.state(), handle.trips()), (CircuitState::Open, 2));
    let error = send(&mut service, OK).await.unwrap_err();
    assert!(error.message().starts_with("the circuit breaker is open again after a probe failed; half-open in 10.0 s"));

    tokio::time::advance(10 * SECOND).await;
    assert_eq!(send(&mut service, OK).await.unwrap(), OK);
    assert_eq!((handle.state(), handle.trips()), (CircuitState::Closed, 2));
}

#[tokio::test(start_paused = true)]
async fn the_specifications_settings_are_the_default() {
    let (mut service, _, handle) = breaker(CircuitBreakerConfig::default());
    for _ in 0..4 {
        send(&mut service, FAIL).await.unwrap_err();
    }
    assert_eq!(handle.state(), CircuitState::Closed);
    send(&mut service, FAIL).await.unwrap_err();
    tokio::time::advance(60 * SECOND - Duration::from_millis(1)).await;
    assert_rejected(&send(&mut service, OK).await);
    tokio::time::advance(Duration::from_millis(1)).await;
    send(&mut service, OK).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn successes_reset_and_neutral_results_do_nothing() {
    let (mut service, _, handle) = breaker(config());
    for _ in 0..5 {
        for request in [FAIL, FAIL, OK] {
            let _ = send(&mut service, request).await;
        }
    }
    for _ in 0..50 {
        send(&mut service, NEUTRAL).await.unwrap_err();
    }
    assert_eq!(handle.state(), CircuitState::Closed);
    for request in [FAIL, NEUTRAL, FAIL, NEUTRAL, FAIL] {
        send(&mut service, request).await.unwrap_err();
    }
    assert_eq!(handle.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_result_of_an_older_period_changes_nothing() {
    let (mut service, backend, handle) = breaker(config());
    let late_success = start(&mut service, WAIT).await;
    let late_failures =
        [start(&mut service, WAIT).await, start(&mut service, WAIT).await, start(&mut service, WAIT).await];
    half_open(&mut service).await;
    let probe = start(&mut service, WAIT).await;

    backend.answer(0, answer_of(OK));
    late_success.await.unwrap();
    assert_eq!(handle.state(), CircuitState::HalfOpen, "the success was asked for before the trip");
    assert_rejected(&send(&mut service, OK).await);

    backend.answer(backend.calls() - 1, answer_of(OK));
    probe.await.unwrap();
    for (call, future) in late_failures.into_iter().enumerate() {
        backend.answer(1 + call, answer_of(FAIL));
        future.await.unwrap_err();
    }
    assert_eq!((handle.state(), handle.trips()), (CircuitState::Closed, 1));
}

#[cfg(feature = "retry")]
#[tokio::test(start_paused = true)]
async fn over_retry_a_send_counts_once_whatever_its_attempts() {
    use kafka_tower_layers::retry::{RetryLayer, RetryPolicy};
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let down = Error::new(ErrorKind::Broker, "no leader").with_persistence(Persistence::NotPersisted);
    let script = kafka.script().always().fail(down);
    let layer = CircuitBreakerLayer::new(config());
    let mut service = layer.layer(RetryLayer::new(RetryPolicy::new().max_retries(2)).layer(kafka.transport()));
    for sends in 1..=3 {
        assert_eq!(layer.handle().state(), CircuitState::Closed);
        let error = service.ready().await.unwrap().call(Record::new("orders")).await.unwrap_err();
        assert_eq!((error.attempts(), script.used()), (3, 3 * sends));
    }
    let error = service.ready().await.unwrap().call(Record::new("orders")).await.unwrap_err();
    assert_eq!((error.kind(), script.used()), (ErrorKind::CircuitOpen, 9));
}

#[tokio::test(start_paused = true)]
async fn works_over_foreign_errors_and_any_request() {
    let layer = CircuitBreakerLayer::new(config().failure_threshold(1));
    let mut service = layer.layer(tower::service_fn(|text: String| async move {
        if text.is_empty() { Err::<String, BoxError>("empty".into()) } else { Ok(text) }
    }));
    assert_eq!(service.ready().await.unwrap().call("a".to_owned()).await.unwrap(), "a");
    let error = service.ready().await.unwrap().call(String::new()).await.unwrap_err();
    assert_eq!(error.persistence(), Persistence::PossiblyPersisted);
    assert_eq!(layer.handle().state(), CircuitState::Open);
}
