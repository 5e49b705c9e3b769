use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn new() -> (Arc<Self>, Waker) {
        let count = Arc::new(Self::default());
        (Arc::clone(&count), Waker::from(count))
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

type Sent = Vec<(u32, Permit)>;

fn call(handle: &mut GateHandle<u32>, item: u32, bytes: usize, sent: &mut Sent) {
    handle
        .call(item, bytes, |item, permit| {
            sent.push((item, permit));
            Ok(())
        })
        .expect("fits the limit");
}

fn release(gate: &Gate<u32>, permit: Permit, sent: &mut Sent) {
    gate.release([permit], |item, permit| {
        sent.push((item, permit));
        Ok(())
    });
}

fn items(sent: &Sent) -> Vec<u32> {
    sent.iter().map(|(item, _)| *item).collect()
}

#[test]
fn a_record_larger_than_the_limit_is_returned() {
    let gate = Gate::new(Limits { records: 5, bytes: 10 });
    let refused = gate.handle().call(7, 11, |_, _| Ok(()));
    assert_eq!(refused, Err(Refused::TooLarge(7)));
    gate.close();
    assert_eq!(gate.handle().call(8, 1, |_, _| Ok(())), Err(Refused::Closed(8)));
}

#[test]
fn a_record_that_is_not_accepted_returns_its_room_and_hands_over_the_next() {
    let gate = Gate::new(Limits { records: 1, bytes: 10 });
    let (mut a, mut sent) = (gate.handle(), Vec::new());
    call(&mut a, 1, 1, &mut sent);
    call(&mut a, 2, 1, &mut sent);
    call(&mut a, 3, 1, &mut sent);
    let (_, permit) = sent.remove(0);
    gate.release([permit], |item, permit| {
        if item == 2 {
            return Err(permit);
        }
        sent.push((item, permit));
        Ok(())
    });
    assert_eq!(items(&sent), [3]);
    assert_eq!(gate.in_flight().records, 1);
}

#[test]
fn newcomers_queue_behind_waiting_handles() {
    let gate = Gate::new(Limits { records: 1, bytes: 10 });
    let (mut a, mut sent) = (gate.handle(), Vec::new());
    call(&mut a, 1, 1, &mut sent);
    let (waiting, waker) = Count::new();
    let mut b = gate.handle();
    assert!(b.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    let mut extra = gate.handle();
    call(&mut extra, 2, 1, &mut sent);
    release(&gate, sent.remove(0).1, &mut sent);
    assert_eq!(items(&sent), [2], "the parked record goes first");
    assert_eq!(waiting.get(), 0);
    release(&gate, sent.remove(0).1, &mut sent);
    assert_eq!(waiting.get(), 1);
    assert!(b.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[test]
fn a_handle_that_is_woken_and_dropped_passes_its_turn_on() {
    let gate = Gate::new(Limits { records: 2, bytes: 100 });
    let (mut a, mut sent) = (gate.handle(), Vec::new());
    call(&mut a, 1, 1, &mut sent);
    call(&mut a, 2, 1, &mut sent);
    let ((first, w1), (second, w2)) = (Count::new(), Count::new());
    let (mut b, mut c) = (gate.handle(), gate.handle());
    assert!(b.poll_ready(&mut Context::from_waker(&w1)).is_pending());
    assert!(c.poll_ready(&mut Context::from_waker(&w2)).is_pending());
    release(&gate, sent.remove(0).1, &mut sent);
    assert_eq!((first.get(), second.get()), (1, 0));
    drop(b);
    assert_eq!(second.get(), 1);
}

#[test]
fn a_turn_that_ends_in_a_refusal_is_passed_on() {
    let gate = Gate::new(Limits { records: 2, bytes: 100 });
    let (mut a, mut sent) = (gate.handle(), Vec::new());
    call(&mut a, 1, 1, &mut sent);
    call(&mut a, 2, 1, &mut sent);
    let ((_, w1), (second, w2)) = (Count::new(), Count::new());
    let (mut b, mut c) = (gate.handle(), gate.handle());
    assert!(b.poll_ready(&mut Context::from_waker(&w1)).is_pending());
    assert!(c.poll_ready(&mut Context::from_waker(&w2)).is_pending());
    release(&gate, sent.remove(0).1, &mut sent);
    assert!(b.poll_ready(&mut Context::from_waker(&w1)).is_ready());
    assert_eq!(b.call(3, 101, |_, _| Ok(())), Err(Refused::TooLarge(3)));
    drop(b);
    assert_eq!(second.get(), 1);
}

/// Two handles wait and one place becomes free: the first is woken for it and does not take it.
fn a_woken_handle_that_takes_no_room(decline: impl FnOnce(&mut GateHandle<u32>)) {
    let gate = Gate::new(Limits { records: 2, bytes: 10 });
    let (mut a, mut b, mut sent) = (gate.handle(), gate.handle(), Vec::new());
    let (first, second) = (Count::new(), Count::new());
    call(&mut gate.handle(), 1, 1, &mut sent);
    call(&mut gate.handle(), 2, 1, &mut sent);
    assert!(a.poll_ready(&mut Context::from_waker(&first.1)).is_pending());
    assert!(b.poll_ready(&mut Context::from_waker(&second.1)).is_pending());
    let (_, permit) = sent.remove(0);
    release(&gate, permit, &mut sent);
    assert_eq!((first.0.get(), second.0.get()), (1, 0));
    assert!(a.poll_ready(&mut Context::from_waker(&first.1)).is_ready());
    decline(&mut a);
    assert_eq!(second.0.get(), 1, "the place is free and nobody else knows it");
    assert!(b.poll_ready(&mut Context::from_waker(&second.1)).is_ready());
    drop(a);
    assert_eq!((first.0.get(), second.0.get()), (1, 1), "passed on once");
}

#[test]
fn a_handle_passes_its_wake_up_on_without_a_call() {
    a_woken_handle_that_takes_no_room(GateHandle::pass_on);
}

#[test]
fn a_refused_call_passes_the_wake_up_on_although_its_handle_lives() {
    a_woken_handle_that_takes_no_room(|handle| {
        assert_eq!(handle.call(3, 11, |_, _| Ok(())), Err(Refused::TooLarge(3)));
    });
}

#[test]
fn a_panic_during_the_hand_over_parks_no_record_for_ever() {
    let gate = Gate::new(Limits { records: 1, bytes: 100 });
    let (mut a, mut sent) = (gate.handle(), Vec::new());
    call(&mut a, 1, 1, &mut sent);
    call(&mut a, 2, 1, &mut sent);
    call(&mut a, 3, 1, &mut sent);
    let permit = sent.remove(0).1;
    let planted = std::panic::AssertUnwindSafe(|| gate.release([permit], |_, _| panic!("planted")));
    assert!(std::panic::catch_unwind(planted).is_err());
    // The room of the lost record stays lost; more room hands over the next record.
    gate.set_limits(Limits { records: 2, bytes: 100 }, |item, permit| {
        sent.push((item, permit));
        Ok(())
    });
    assert_eq!(items(&sent), [3]);
}

#[test]
fn a_flush_waits_only_for_records_called_before() {
    let gate = Gate::new(Limits { records: 1, bytes: 10 });
    let (mut a, mut sent) = (gate.handle(), Vec::new());
    call(&mut a, 1, 1, &mut sent);
    call(&mut a, 2, 1, &mut sent);
    let (woken, waker) = Count::new();
    let mut cx = Context::from_waker(&waker);
    let mut flush = pin!(gate.flush());
    assert!(flush.as_mut().poll(&mut cx).is_pending());
    call(&mut a, 3, 1, &mut sent);
    release(&gate, sent.remove(0).1, &mut sent);
    assert!(flush.as_mut().poll(&mut cx).is_pending(), "2 was parked before the flush");
    release(&gate, sent.remove(0).1, &mut sent);
    assert_eq!(woken.get(), 1);
    assert!(flush.as_mut().poll(&mut cx).is_ready(), "3 came later");
    let mut idle = pin!(Gate::<u32>::new(Limits { records: 1, bytes: 1 }).flush());
    assert!(idle.as_mut().poll(&mut cx).is_ready());
}

#[test]
fn withdrawn_records_are_settled_and_make_room_for_later_ones() {
    let gate = Gate::new(Limits { records: 10, bytes: 10 });
    let (mut a, mut sent) = (gate.handle(), Vec::new());
    call(&mut a, 1, 6, &mut sent);
    call(&mut a, 2, 8, &mut sent);
    call(&mut a, 3, 2, &mut sent);
    let (_, waker) = Count::new();
    let mut withdrawn = Vec::new();
    let count = gate.withdraw(
        |item| *item == 2,
        |item| withdrawn.push(item),
        |item, permit| {
            sent.push((item, permit));
            Ok(())
        },
    );
    assert_eq!((count, withdrawn, items(&sent)), (1, vec![2], vec![1, 3]));
    let mut flush = pin!(gate.flush());
    for (_, permit) in std::mem::take(&mut sent) {
        release(&gate, permit, &mut sent);
    }
    assert!(flush.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn closing_wakes_all_waiting_handles() {
    let gate = Gate::new(Limits { records: 1, bytes: 10 });
    let (mut a, mut sent) = (gate.handle(), Vec::new());
    call(&mut a, 1, 1, &mut sent);
    let (woken, waker) = Count::new();
    let mut handles: Vec<_> = (0..3).map(|_| gate.handle()).collect();
    for handle in &mut handles {
        assert!(handle.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    }
    gate.close();
    assert_eq!(woken.get(), 3);
}

#[derive(Clone, Debug)]
enum Op {
    Poll(usize),
    Call(usize, usize),
    Release(usize),
    Clone(usize),
    Withdraw(u32),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (0..6usize).prop_map(Op::Poll),
        4 => (0..6usize, 0..60usize).prop_map(|(h, b)| Op::Call(h, b)),
        4 => any::<usize>().prop_map(Op::Release),
        1 => (0..6usize).prop_map(Op::Clone),
        1 => (0..3u32).prop_map(Op::Withdraw),
    ];
    prop::collection::vec(op, 1..200)
}

proptest! {
    /// For any sequence of operations: the limits hold, no record is lost, each handle's order is kept, and no handle
    /// waits for ever.
    #[test]
    fn the_gate_keeps_its_rules(ops in ops(), records in 1..5usize) {
        let limits = Limits { records, bytes: 100 };
        let gate = Gate::new(limits);
        let mut handles: Vec<_> = (0..6).map(|_| { let (c, w) = Count::new(); (gate.handle(), c, w, false, 0) }).collect();
        let (mut open, mut log, mut called, mut next) = (Vec::new(), Vec::new(), 0usize, 0u32);
        let mut withdrawn_total = 0;
        macro_rules! enqueue { () => { |(handle, n): (usize, u32), permit| { log.push((handle, n)); open.push(permit); Ok(()) } } }
        for op in ops {
            match op {
                Op::Poll(h) => {
                    let (handle, count, waker, pending, seen) = &mut handles[h];
                    *seen = count.get(); // read first: the handle may wake itself
                    *pending = handle.poll_ready(&mut Context::from_waker(waker)).is_pending();
                }
                Op::Call(h, bytes) => {
                    next += 1;
                    called += 1;
                    handles[h].0.call((h, next), bytes, enqueue!()).expect("fits");
                }
                Op::Release(which) if !open.is_empty() => {
                    let permit = open.swap_remove(which % open.len());
                    gate.release([permit], enqueue!());
                }
                Op::Release(_) => {}
                Op::Clone(h) => { let fresh = handles[h].0.clone(); let (c, w) = Count::new(); handles[h] = (fresh, c, w, false, 0); }
                Op::Withdraw(n) => withdrawn_total += gate.withdraw(|(_, item)| item % 3 == n, drop, enqueue!()),
            }
            let now = gate.in_flight();
            prop_assert!(now.records <= limits.records && now.bytes <= limits.bytes);
            prop_assert_eq!(now.records, open.len());
            prop_assert_eq!(log.len() + now.parked + withdrawn_total, called);
            if now.records == 0 {
                prop_assert_eq!(now.parked, 0);
                for (_, count, _, pending, seen) in &handles {
                    prop_assert!(!pending || count.get() > *seen, "one waits while nothing is in flight");
                }
            }
        }
        let mut last = [0; 6];
        for (h, n) in log {
            prop_assert!(last[h] < n, "handle {h}: {n} after {}", last[h]);
            last[h] = n;
        }
    }
}

/// Woken handles go first; a newcomer yields once and not for ever.
#[test]
fn a_newcomer_yields_once_to_woken_handles() {
    let gate = Gate::<()>::new(Limits { records: 1, bytes: 100 });
    let mut permits = Vec::new();
    let mut enqueue = |(), permit| {
        permits.push(permit);
        Ok(())
    };
    let (mut first, mut second, mut late) = (gate.handle(), gate.handle(), gate.handle());
    first.call((), 1, &mut enqueue).unwrap();
    let ((woken, waker), (_, noop)) = (Count::new(), Count::new());
    assert!(second.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    gate.release(permits.pop(), |(), _| Ok(()));
    assert_eq!(woken.get(), 1);
    let (again, waker) = Count::new();
    assert!(late.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(again.get(), 1, "it wakes itself");
    assert!(late.poll_ready(&mut Context::from_waker(&waker)).is_ready(), "the second may never come");
    assert!(second.poll_ready(&mut Context::from_waker(&noop)).is_ready());
    drop((second, late));
    let mut newest = gate.handle();
    assert!(newest.poll_ready(&mut Context::from_waker(&noop)).is_ready(), "nobody is called up any more");
}

/// Law 3 at full size: 64 threads, 10 records and 4,000 bytes, 100 idle ready handles, a third of the futures
/// dropped.
#[test]
fn sixty_four_threads_never_exceed_the_limits_and_always_finish() {
    const THREADS: usize = 64;
    const EACH: usize = 160;
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    type Done = Arc<(Mutex<bool>, Condvar)>;
    struct Item {
        handle: usize,
        seq: usize,
        done: Done,
    }
    let limits = Limits { records: 10, bytes: 4_000 };
    let gate = Gate::new(limits);
    let (wire, broker) = mpsc::channel::<(Item, Permit)>();
    let enqueue = move |item, permit| wire.send((item, permit)).map_err(|lost| lost.0.1);
    let log = thread::scope(|scope| {
        let broker_gate = Arc::clone(&gate);
        let broker_enqueue = enqueue.clone();
        let log = scope.spawn(move || {
            let mut log = Vec::new();
            for _ in 0..THREADS * EACH {
                let (item, permit) = broker.recv().expect("a record");
                let now = broker_gate.in_flight();
                assert!(now.records <= limits.records && now.bytes <= limits.bytes, "{now:?}");
                broker_gate.release([permit], &broker_enqueue);
                *item.done.0.lock().unwrap() = true;
                item.done.1.notify_all();
                log.push((item.handle, item.seq));
            }
            log
        });
        let mut idle: Vec<_> = (0..100).map(|_| gate.handle()).collect();
        for handle in &mut idle {
            assert!(handle.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
        }
        for handle in 0..THREADS {
            let (gate, enqueue) = (Arc::clone(&gate), enqueue.clone());
            scope.spawn(move || {
                let waker = Waker::from(Arc::new(Unpark(thread::current())));
                let mut cx = Context::from_waker(&waker);
                let mut own = gate.handle();
                let mut kept: VecDeque<Done> = VecDeque::new();
                for seq in 0..EACH {
                    if (seq * 7 + handle) % 13 == 0 {
                        let _given_up = gate.handle().poll_ready(&mut cx);
                    }
                    while own.poll_ready(&mut cx).is_pending() {
                        thread::park();
                    }
                    let done = Done::default();
                    let item = Item { handle, seq, done: Arc::clone(&done) };
                    let bytes = 1 + (seq * 37 + handle * 11) % 1_500;
                    assert!(own.call(item, bytes, &enqueue).is_ok());
                    if seq % 3 != 0 {
                        kept.push_back(done);
                    }
                }
                for done in kept {
                    let settled = done.1.wait_while(done.0.lock().unwrap(), |done| !*done).unwrap();
                    assert!(*settled);
                }
            });
        }
        log.join().expect("the broker's thread")
    });
    assert_eq!(gate.in_flight(), crate::InFlight::default());
    let mut next = [0; THREADS];
    for (handle, seq) in log {
        assert_eq!(seq, next[handle], "order of handle {handle}");
        next[handle] += 1;
    }
}

#[test]
fn poll_ready_is_ready_after_close() {
    let gate = Gate::<u32>::new(Limits { records: 1, bytes: 1 });
    gate.close();
    assert_eq!(gate.handle().poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(()));
}

#[test]
fn a_panicking_waker_loses_no_other_wake_up() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("planted");
        }
    }
    let gate = Gate::new(Limits { records: 1, bytes: 10 });
    let (mut a, mut sent) = (gate.handle(), Vec::new());
    call(&mut a, 1, 1, &mut sent);
    let (woken, waker) = Count::new();
    let bomb = Waker::from(Arc::new(Bomb));
    let (mut b, mut c) = (gate.handle(), gate.handle());
    assert!(b.poll_ready(&mut Context::from_waker(&bomb)).is_pending());
    assert!(c.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    let (_, permit) = sent.remove(0);
    let release = std::panic::AssertUnwindSafe(|| gate.release([permit], |_, permit| Err(permit)));
    assert!(std::panic::catch_unwind(release).is_err());
    assert_eq!(woken.get(), 1);
}
