use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use super::*;

mod stress;

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

/// Transport that keeps the records it took.
struct Wire<P> {
    gate: Gate<P>,
    accepts: fn(&P) -> bool,
    sent: Mutex<Vec<(P, Permit)>>,
}

impl<P: Send + 'static> Wire<P> {
    fn new(records: usize, bytes: usize) -> Arc<Self> {
        Self::accepting(records, bytes, |_| true)
    }

    /// `accepts` says whether a record is accepted and not settled at once.
    fn accepting(records: usize, bytes: usize, accepts: fn(&P) -> bool) -> Arc<Self> {
        Arc::new(Self { gate: Gate::new(Limits { records, bytes }), accepts, sent: Mutex::default() })
    }

    /// Releases the room of the oldest record.
    fn release_first(self: &Arc<Self>) {
        let (_, permit) = self.sent.lock().unwrap().remove(0);
        self.release([permit]);
    }
}

impl Wire<u32> {
    fn items(&self) -> Vec<u32> {
        self.sent.lock().unwrap().iter().map(|(item, _)| *item).collect()
    }
}

impl<P: Send + 'static> Gated for Wire<P> {
    type Item = P;

    fn gate(&self) -> &Gate<P> {
        &self.gate
    }

    fn enqueue(self: &Arc<Self>, item: P, permit: Permit) -> Result<(), Permit> {
        if !(self.accepts)(&item) {
            return Err(permit);
        }
        self.sent.lock().unwrap().push((item, permit));
        Ok(())
    }
}

type Handle = GateHandle<Wire<u32>>;

fn call(handle: &mut Handle, item: u32, bytes: usize) {
    handle.call(item, bytes).expect("fits the limit");
}

#[test]
fn a_record_larger_than_the_limit_is_returned() {
    let wire = Wire::new(5, 10);
    let refused = wire.handle().call(7, 11);
    assert_eq!(refused, Err(Refused::TooLarge(7)));
    wire.gate.close();
    assert_eq!(wire.handle().call(8, 1), Err(Refused::Closed(8)));
}

#[test]
fn a_record_that_is_not_accepted_returns_its_room_and_hands_over_the_next() {
    let wire = Wire::accepting(1, 10, |item| *item != 2);
    let mut a = wire.handle();
    call(&mut a, 1, 1);
    call(&mut a, 2, 1);
    call(&mut a, 3, 1);
    wire.release_first();
    assert_eq!(wire.items(), [3]);
    assert_eq!(wire.gate.in_flight().records, 1);
}

#[test]
fn parked_records_take_their_own_way_even_if_a_call_hands_them_over() {
    struct Ways {
        gate: Gate<u32>,
        taken: Mutex<Vec<(u32, bool)>>,
    }
    impl Gated for Ways {
        type Item = u32;
        fn gate(&self) -> &Gate<u32> {
            &self.gate
        }
        fn enqueue(self: &Arc<Self>, item: u32, permit: Permit) -> Result<(), Permit> {
            if item == 1 {
                // While this call is under way another one is parked.
                self.handle().call(2, 10).unwrap();
            }
            self.taken.lock().unwrap().push((item, false));
            Err(permit)
        }
        fn enqueue_parked(self: &Arc<Self>, item: u32, permit: Permit) -> Result<(), Permit> {
            self.taken.lock().unwrap().push((item, true));
            Err(permit)
        }
    }
    let gate = Gate::new(Limits { records: 2, bytes: 10 });
    let ways = Arc::new(Ways { gate, taken: Mutex::default() });
    ways.handle().call(1, 1).unwrap();
    assert_eq!(*ways.taken.lock().unwrap(), [(1, false), (2, true)]);
}

#[test]
fn newcomers_queue_behind_waiting_handles() {
    let wire = Wire::new(1, 10);
    let mut a = wire.handle();
    call(&mut a, 1, 1);
    let (waiting, waker) = Count::new();
    let mut b = wire.handle();
    assert!(b.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    let mut extra = wire.handle();
    call(&mut extra, 2, 1);
    wire.release_first();
    assert_eq!(wire.items(), [2], "the parked record goes first");
    assert_eq!(waiting.get(), 0);
    wire.release_first();
    assert_eq!(waiting.get(), 1);
    assert!(b.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[test]
fn a_handle_that_is_woken_and_dropped_passes_its_turn_on() {
    let wire = Wire::new(2, 100);
    let mut a = wire.handle();
    call(&mut a, 1, 1);
    call(&mut a, 2, 1);
    let ((first, w1), (second, w2)) = (Count::new(), Count::new());
    let (mut b, mut c) = (wire.handle(), wire.handle());
    assert!(b.poll_ready(&mut Context::from_waker(&w1)).is_pending());
    assert!(c.poll_ready(&mut Context::from_waker(&w2)).is_pending());
    wire.release_first();
    assert_eq!((first.get(), second.get()), (1, 0));
    drop(b);
    assert_eq!(second.get(), 1);
}

#[test]
fn a_turn_that_ends_in_a_refusal_is_passed_on() {
    let wire = Wire::new(2, 100);
    let mut a = wire.handle();
    call(&mut a, 1, 1);
    call(&mut a, 2, 1);
    let ((_, w1), (second, w2)) = (Count::new(), Count::new());
    let (mut b, mut c) = (wire.handle(), wire.handle());
    assert!(b.poll_ready(&mut Context::from_waker(&w1)).is_pending());
    assert!(c.poll_ready(&mut Context::from_waker(&w2)).is_pending());
    wire.release_first();
    assert!(b.poll_ready(&mut Context::from_waker(&w1)).is_ready());
    assert_eq!(b.call(3, 101), Err(Refused::TooLarge(3)));
    drop(b);
    assert_eq!(second.get(), 1);
}

/// Two handles wait and one place becomes free: the first is woken for it and does not take it.
fn a_woken_handle_that_takes_no_room(decline: impl FnOnce(&mut Handle)) {
    let wire = Wire::new(2, 10);
    let (mut a, mut b) = (wire.handle(), wire.handle());
    let (first, second) = (Count::new(), Count::new());
    call(&mut wire.handle(), 1, 1);
    call(&mut wire.handle(), 2, 1);
    assert!(a.poll_ready(&mut Context::from_waker(&first.1)).is_pending());
    assert!(b.poll_ready(&mut Context::from_waker(&second.1)).is_pending());
    wire.release_first();
    assert_eq!((first.0.get(), second.0.get()), (1, 0));
    assert!(a.poll_ready(&mut Context::from_waker(&first.1)).is_ready());
    decline(&mut a);
    assert_eq!(second.0.get(), 1, "the next handle is woken for the free place");
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
        assert_eq!(handle.call(3, 11), Err(Refused::TooLarge(3)));
    });
}

#[test]
fn a_panic_during_the_hand_over_leaves_no_record_parked() {
    let wire = Wire::accepting(1, 100, |item| *item != 2 || panic!("planted"));
    let mut a = wire.handle();
    call(&mut a, 1, 1);
    call(&mut a, 2, 1);
    call(&mut a, 3, 1);
    let planted = std::panic::AssertUnwindSafe(|| wire.release_first());
    assert!(std::panic::catch_unwind(planted).is_err());
    // The room of the lost record stays lost; more room hands over the next record.
    wire.set_limits(Limits { records: 2, bytes: 100 });
    assert_eq!(wire.items(), [3]);
}

#[test]
fn a_flush_waits_only_for_records_called_before() {
    let wire = Wire::new(1, 10);
    let mut a = wire.handle();
    call(&mut a, 1, 1);
    call(&mut a, 2, 1);
    let (woken, waker) = Count::new();
    let mut cx = Context::from_waker(&waker);
    let mut flush = pin!(wire.flush());
    assert!(flush.as_mut().poll(&mut cx).is_pending());
    call(&mut a, 3, 1);
    wire.release_first();
    assert!(flush.as_mut().poll(&mut cx).is_pending(), "2 was parked before the flush");
    wire.release_first();
    assert_eq!(woken.get(), 1);
    assert!(flush.as_mut().poll(&mut cx).is_ready(), "3 came later");
    let mut idle = pin!(Wire::<u32>::new(1, 1).flush());
    assert!(idle.as_mut().poll(&mut cx).is_ready());
}

#[test]
fn withdrawn_records_are_settled_and_make_room_for_later_ones() {
    let wire = Wire::new(10, 10);
    let mut a = wire.handle();
    call(&mut a, 1, 6);
    call(&mut a, 2, 8);
    call(&mut a, 3, 2);
    let (_, waker) = Count::new();
    let mut withdrawn = Vec::new();
    let count = wire.withdraw(|item| *item == 2, |item| withdrawn.push(item));
    assert_eq!((count, withdrawn, wire.items()), (1, vec![2], vec![1, 3]));
    let mut flush = pin!(wire.flush());
    wire.release_first();
    wire.release_first();
    assert!(flush.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn closing_wakes_all_waiting_handles() {
    let wire = Wire::new(1, 10);
    let mut a = wire.handle();
    call(&mut a, 1, 1);
    let (woken, waker) = Count::new();
    let mut handles: Vec<_> = (0..3).map(|_| wire.handle()).collect();
    for handle in &mut handles {
        assert!(handle.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    }
    wire.gate.close();
    assert_eq!(woken.get(), 3);
}

/// Woken handles go first; a newcomer yields once and not for ever.
#[test]
fn a_newcomer_yields_once_to_woken_handles() {
    let wire = Wire::new(1, 100);
    let (mut first, mut second, mut late) = (wire.handle(), wire.handle(), wire.handle());
    call(&mut first, 1, 1);
    let ((woken, waker), (_, noop)) = (Count::new(), Count::new());
    assert!(second.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    wire.release_first();
    assert_eq!(woken.get(), 1);
    let (again, waker) = Count::new();
    assert!(late.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(again.get(), 1, "it wakes itself");
    assert!(late.poll_ready(&mut Context::from_waker(&waker)).is_ready(), "the second may never come");
    assert!(second.poll_ready(&mut Context::from_waker(&noop)).is_ready());
    drop((second, late));
    let mut newest = wire.handle();
    assert!(newest.poll_ready(&mut Context::from_waker(&noop)).is_ready(), "no other handle is woken any more");
}

#[test]
fn poll_ready_is_ready_after_close() {
    let wire = Wire::<u32>::new(1, 1);
    wire.gate.close();
    assert_eq!(wire.handle().poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(()));
}

#[test]
fn a_panicking_waker_loses_no_other_wake_up() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("planted");
        }
    }
    let wire = Wire::new(1, 10);
    let mut a = wire.handle();
    call(&mut a, 1, 1);
    let (woken, waker) = Count::new();
    let bomb = Waker::from(Arc::new(Bomb));
    let (mut b, mut c) = (wire.handle(), wire.handle());
    assert!(b.poll_ready(&mut Context::from_waker(&bomb)).is_pending());
    assert!(c.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    wire.release_first();
    assert_eq!(woken.get(), 1);
}

#[test]
fn a_record_that_is_being_withdrawn_is_in_flight_until_it_is_settled() {
    let wire = Wire::new(1, 100);
    let mut handle = wire.handle();
    for item in 0..3 {
        handle.call(item, 1).unwrap();
    }
    wire.withdraw(
        |_| true,
        |item| {
            if item == 1 {
                wire.release_first();
            }
            assert_eq!(wire.gate.in_flight().parked, 2, "item {item}");
        },
    );
    assert_eq!(wire.gate.in_flight(), crate::InFlight::default());
}
