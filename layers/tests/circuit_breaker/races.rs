use super::support::*;

#[test]
fn each_trip_is_counted_once_between_threads() {
    let trips = Arc::new(AtomicUsize::new(0));
    let layer = CircuitBreakerLayer::new(config().open_for(Duration::ZERO).probes(2).probe_successes(2));
    let (count, handle) = (Arc::clone(&trips), layer.handle());
    handle.on_transition(move |transition| {
        count.fetch_add(usize::from(transition.is_trip()), Ordering::SeqCst);
    });
    let service = layer.layer(tower::service_fn(|request: u32| std::future::ready(answer_of(request))));
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let mut service = service.clone();
            scope.spawn(move || {
                let mut cx = Context::from_waker(Waker::noop());
                for n in 0..5_000_u32 {
                    assert!(Service::<u32>::poll_ready(&mut service, &mut cx).is_ready());
                    let request = if (n / 16 + thread) % 3 == 0 { FAIL } else { 1 + n % 3 };
                    let mut future = Box::pin(service.call(request));
                    if n % 5 != 0 {
                        assert!(future.as_mut().poll(&mut cx).is_ready());
                    }
                }
            });
        }
    });
    assert!(handle.trips() > 0);
    assert_eq!(handle.trips(), trips.load(Ordering::SeqCst) as u64);
    // Whatever state the threads left, the breaker closes.
    let mut service = service;
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..2 {
        assert!(Service::<u32>::poll_ready(&mut service, &mut cx).is_ready());
        assert!(Box::pin(service.call(OK)).as_mut().poll(&mut cx).is_ready());
    }
    assert_eq!(handle.state(), CircuitState::Closed);
}

#[derive(Clone, Debug)]
enum Op {
    Ready(usize),
    Call(usize, u32),
    Answer(usize, u32),
    Drop(usize),
    Clone(usize, usize),
    Full(bool),
    Advance(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let handle = || 0..16_usize;
    let op = prop_oneof![
        8 => handle().prop_map(Op::Ready),
        8 => (handle(), prop::sample::select(vec![WAIT, WAIT, OK, FAIL, FAIL, NEUTRAL])).prop_map(|(h, r)| Op::Call(h, r)),
        8 => (any::<usize>(), prop::sample::select(vec![OK, FAIL, FAIL, NEUTRAL])).prop_map(|(n, r)| Op::Answer(n, r)),
        3 => any::<usize>().prop_map(Op::Drop),
        1 => (handle(), handle()).prop_map(|(a, b)| Op::Clone(a, b)),
        1 => any::<bool>().prop_map(Op::Full),
        3 => prop::sample::select(vec![100, 5_000, 10_000, 20_000]).prop_map(Op::Advance),
    ];
    prop::collection::vec(op, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// 16 handles in any order: a service that is not ready is never called, no wait is hidden, nothing leaks, and
    /// the breaker closes again.
    #[test]
    fn sixteen_handles_in_any_order_lose_no_wake_up(ops in ops(), probes in 1..4_u32) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let (service, backend, handle) = breaker(config().probes(probes).probe_successes(probes));
            let mut handles: Vec<_> = (0..16).map(|_| (service.clone(), Arc::<Count>::default(), false, 0_usize)).collect();
            let mut out: Vec<(usize, Pin<Box<Call>>)> = Vec::new();
            let mut cx = Context::from_waker(Waker::noop());
            for op in ops {
                match op {
                    Op::Ready(h) => {
                        let (service, count, waits, seen) = &mut handles[h];
                        *waits = poll_ready(service, count).is_pending();
                        *seen = count.get();
                    }
                    Op::Call(h, request) => {
                        let (service, count, waits, _) = &mut handles[h];
                        *waits = poll_ready(service, count).is_pending();
                        if !*waits {
                            let calls = backend.calls();
                            let mut future = Box::pin(service.call(request));
                            if future.as_mut().poll(&mut cx).is_pending() {
                                assert_eq!(backend.calls(), calls + 1);
                                out.push((calls, future));
                            }
                        }
                    }
                    Op::Answer(n, request) if !out.is_empty() => {
                        let (call, mut future) = out.swap_remove(n % out.len());
                        backend.answer(call, answer_of(request));
                        assert!(future.as_mut().poll(&mut cx).is_ready());
                    }
                    Op::Drop(n) if !out.is_empty() => drop(out.swap_remove(n % out.len())),
                    Op::Answer(..) | Op::Drop(_) => {}
                    Op::Clone(a, b) => handles[b] = (handles[a].0.clone(), Arc::default(), false, 0),
                    Op::Full(full) => backend.set_full(full),
                    Op::Advance(ms) => tokio::time::advance(Duration::from_millis(ms)).await,
                }
                // A handle that waits was woken, or may call as soon as there is room.
                let mut probe = service.clone();
                let rejects = poll_ready(&mut probe, &Arc::default()).is_ready() && backend.state.lock().unwrap().full;
                for (_, count, waits, seen) in &handles {
                    assert!(!(rejects && *waits) || count.get() > *seen, "one waits for room and would be rejected");
                }
            }
            backend.set_full(false);
            drop(out);
            tokio::time::advance(10 * SECOND).await;
            let mut service = service;
            for _ in 0..probes {
                send(&mut service, OK).await.unwrap();
            }
            assert_eq!(handle.state(), CircuitState::Closed);
            assert!(handle.trips() <= backend.calls() as u64);
        });
    }
}
