//! Services that are not ready while the breaker is open.

use super::support::*;

fn waiting(config: CircuitBreakerConfig) -> (Breaker, Backend, CircuitBreakerHandle) {
    let backend = Backend::default();
    let layer = CircuitBreakerLayer::new(config).wait_while_open(true);
    (layer.layer(backend.clone()), backend, layer.handle())
}

/// Clones with the counts of their wake-ups, each of which waits.
fn clones(service: &Breaker, number: usize) -> Vec<(Breaker, Arc<Count>)> {
    let mut clones: Vec<_> = (0..number).map(|_| (service.clone(), Arc::default())).collect();
    assert_eq!(polled(&mut clones), vec![false; number]);
    clones
}

/// Which of them are ready.
fn polled(clones: &mut [(Breaker, Arc<Count>)]) -> Vec<bool> {
    clones.iter_mut().map(|(clone, count)| poll_ready(clone, count).is_ready()).collect()
}

fn woken(clones: &[(Breaker, Arc<Count>)]) -> Vec<usize> {
    clones.iter().map(|(_, count)| count.get()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_not_ready_until_its_time_is_over() {
    let (mut service, backend, handle) = waiting(config());
    trip(&mut service).await;
    let (polls, start) = (backend.polls(), tokio::time::Instant::now());
    let wakes = Arc::default();
    assert!(poll_ready(&mut service, &wakes).is_pending());
    tokio::time::advance(9 * SECOND).await;
    assert_eq!((wakes.get(), backend.polls()), (0, polls), "the service below is not polled");
    soon(service.ready()).await.unwrap();
    assert_eq!((start.elapsed(), handle.state()), (10 * SECOND, CircuitState::HalfOpen));
    service.call(OK).await.unwrap();
    assert_eq!(handle.state(), CircuitState::Closed);
    send(&mut service, OK).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn as_many_clones_are_ready_as_may_probe() {
    let (mut service, backend, handle) = waiting(config().probes(2).probe_successes(2));
    trip(&mut service).await;
    let mut clones = clones(&service, 5);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(woken(&clones), [1; 5]);
    assert_eq!(polled(&mut clones), [true, true, false, false, false]);
    assert!(poll_ready(&mut clones[0].0.clone(), &Arc::default()).is_pending(), "a clone has no place of its own");
    // One that is dropped without a call, and a call that does not count, give their places back.
    let before = woken(&clones);
    drop(clones.remove(0));
    assert!(woken(&clones)[1..].iter().all(|count| *count > before[2]));
    assert_eq!(polled(&mut clones[1..]), [true, false, false]);
    let before = woken(&clones);
    let (mut probe, _) = clones.remove(0);
    drop(probe.call(WAIT));
    assert!(woken(&clones)[1..].iter().all(|count| *count > before[2]));
    assert_eq!(polled(&mut clones), [true, true, false]);
    let before = clones[2].1.get();
    for (clone, _) in &mut clones[..2] {
        assert_eq!(handle.state(), CircuitState::HalfOpen);
        clone.call(OK).await.unwrap();
    }
    assert_eq!((handle.state(), backend.calls()), (CircuitState::Closed, 6));
    assert!(clones[2].1.get() > before);
    assert!(poll_ready(&mut clones[2].0, &Arc::default()).is_ready());
}

/// They wait for the end of the probe's lease, which is later than the end of the next open time.
#[tokio::test(start_paused = true)]
async fn after_a_probe_that_failed_the_next_open_time_counts() {
    let (mut service, _, handle) = waiting(config().probe_lease(500 * SECOND));
    half_open(&mut service).await;
    let probe = start(&mut service, FAIL).await;
    let clones = clones(&service, 3);
    probe.await.unwrap_err();
    assert_eq!((handle.state(), woken(&clones)), (CircuitState::Open, vec![1; 3]));
    let start = tokio::time::Instant::now();
    let calls = clones.into_iter().map(|(mut clone, _)| tokio::spawn(async move { send(&mut clone, OK).await }));
    for call in calls.collect::<Vec<_>>() {
        soon(call).await.unwrap().unwrap();
    }
    assert_eq!((start.elapsed(), handle.state()), (10 * SECOND, CircuitState::Closed));
}

/// As a caller that has nothing to send when its handle becomes ready.
#[tokio::test(start_paused = true)]
async fn an_idle_handle_is_not_ready_any_more_when_the_breaker_opens_and_keeps_no_place_for_ever() {
    let (mut service, backend, handle) = waiting(config());
    let mut idle = service.clone();
    let wakes = Arc::default();
    assert!(poll_ready(&mut idle, &wakes).is_ready());
    trip(&mut service).await;
    assert!(poll_ready(&mut idle, &wakes).is_pending());
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(wakes.get(), 1);
    assert!(poll_ready(&mut idle, &wakes).is_ready());
    // It has the only place.
    tokio::time::advance(19 * SECOND).await;
    assert!(poll_ready(&mut idle, &wakes).is_ready() && poll_ready(&mut service, &wakes).is_pending());
    tokio::time::sleep(SECOND).await;
    assert!(poll_ready(&mut service, &wakes).is_ready() && poll_ready(&mut idle, &wakes).is_pending());
    // The lease of a probe begins with its call.
    tokio::time::advance(15 * SECOND).await;
    let probe = service.call(WAIT);
    tokio::time::advance(19 * SECOND).await;
    assert!(poll_ready(&mut idle, &wakes).is_pending());
    backend.answer(3, answer_of(OK));
    probe.await.unwrap();
    assert_eq!(handle.state(), CircuitState::Closed);
}

/// tower allows a call after readiness, whatever has happened since.
#[tokio::test(start_paused = true)]
async fn a_call_without_another_poll_is_passed_on_and_does_not_count() {
    let (mut service, backend, handle) = waiting(config());
    let mut idle = service.clone();
    assert!(poll_ready(&mut idle, &Arc::default()).is_ready());
    trip(&mut service).await;
    idle.call(FAIL).await.unwrap_err();
    assert_eq!((backend.calls(), handle.trips(), handle.state()), (4, 1, CircuitState::Open));
    assert_rejected(&idle.call(OK).await);
    assert_eq!(backend.calls(), 4, "it was not ready");
}

#[tokio::test(start_paused = true)]
async fn a_wait_below_is_given_up_when_the_breaker_opens() {
    let layer = CircuitBreakerLayer::new(config()).wait_while_open(true);
    let mut service = layer.layer(tower::limit::GlobalConcurrencyLimitLayer::new(1).layer(Backend::default()));
    let (mut first, mut second) = (service.clone(), service.clone());
    let count: Arc<Count> = Arc::default();
    let (noop, waker) = (Waker::noop(), Waker::from(Arc::clone(&count)));
    assert!(service.poll_ready(&mut Context::from_waker(noop)).is_ready());
    assert!(first.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    layer.handle().force_open();
    assert_eq!(count.get(), 1);
    assert!(first.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    assert!(service.poll_ready(&mut Context::from_waker(noop)).is_pending());
    layer.handle().reset();
    assert_eq!(count.get(), 2, "by hand");
    assert!(soon(second.ready()).await.is_ok(), "neither holds the one permit or a place in front of it");
}

#[tokio::test(start_paused = true)]
async fn a_late_delivery_ends_the_wait() {
    let (mut service, backend, handle) = waiting(config());
    let late = start(&mut service, WAIT).await;
    trip(&mut service).await;
    let mut clones = clones(&service, 2);
    backend.answer(0, answer_of(OK));
    late.await.unwrap();
    assert_eq!((handle.state(), woken(&clones)), (CircuitState::Open, vec![1; 2]));
    assert_eq!(polled(&mut clones), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_service_below_is_returned() {
    let (mut service, backend, _) = waiting(config());
    trip(&mut service).await;
    backend.state.lock().unwrap().broken = true;
    let start = tokio::time::Instant::now();
    assert_eq!(soon(service.ready()).await.err().unwrap().kind(), ErrorKind::Closed);
    assert_eq!(start.elapsed(), 10 * SECOND);
}

/// Tasks over a service that fails for a while: each call is made in the end, and none is rejected.
#[tokio::test(start_paused = true)]
async fn no_task_waits_for_ever() {
    for probes in [1, 3] {
        let (service, backend, handle) = waiting(config().probes(probes).probe_successes(probes));
        let down_until = tokio::time::Instant::now() + 45 * SECOND;
        let task = |task: u32| {
            let mut service = service.clone();
            tokio::spawn(async move {
                for call in 0..20 {
                    soon(service.ready()).await.unwrap();
                    let is_down = tokio::time::Instant::now() < down_until;
                    let future = service.call(if is_down { FAIL } else { OK });
                    if (task + call) % 7 == 0 {
                        continue; // and drops it
                    }
                    assert_eq!(
                        future.await.map_err(|error| error.kind()),
                        if is_down { Err(ErrorKind::Broker) } else { Ok(OK) }
                    );
                    tokio::task::yield_now().await;
                }
            })
        };
        for task in (0..50).map(task).collect::<Vec<_>>() {
            soon(task).await.unwrap();
        }
        assert_eq!((backend.calls(), handle.state()), (1_000, CircuitState::Closed));
    }
}
