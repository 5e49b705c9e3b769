//! The gate's rules under random operations, and under many threads.

use std::collections::VecDeque;
use std::sync::{Condvar, mpsc};
use std::thread;

use proptest::prelude::*;

use super::*;

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
        let wire = Wire::<(usize, u32)>::new(records, 100);
        let mut handles: Vec<_> = (0..6).map(|_| { let (c, w) = Count::new(); (wire.handle(), c, w, false, 0) }).collect();
        let (mut open, mut log, mut called, mut next) = (Vec::new(), Vec::new(), 0usize, 0u32);
        let mut withdrawn_total = 0;
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
                    handles[h].0.call((h, next), bytes).expect("fits");
                }
                Op::Release(which) if !open.is_empty() => {
                    let permit = open.swap_remove(which % open.len());
                    wire.release([permit]);
                }
                Op::Release(_) => {}
                Op::Clone(h) => { let fresh = handles[h].0.clone(); let (c, w) = Count::new(); handles[h] = (fresh, c, w, false, 0); }
                Op::Withdraw(n) => withdrawn_total += wire.withdraw(|(_, item)| item % 3 == n, drop),
            }
            for (item, permit) in wire.sent.lock().unwrap().drain(..) {
                log.push(item);
                open.push(permit);
            }
            let now = wire.gate.in_flight();
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
    struct Socket {
        gate: Gate<Item>,
        socket: mpsc::Sender<(Item, Permit)>,
    }
    impl Gated for Socket {
        type Item = Item;
        fn gate(&self) -> &Gate<Item> {
            &self.gate
        }
        fn enqueue(self: &Arc<Self>, item: Item, permit: Permit) -> Result<(), Permit> {
            self.socket.send((item, permit)).map_err(|lost| lost.0.1)
        }
    }
    let limits = Limits { records: 10, bytes: 4_000 };
    let (socket, broker) = mpsc::channel::<(Item, Permit)>();
    let wire = Arc::new(Socket { gate: Gate::new(limits), socket });
    let log = thread::scope(|scope| {
        let broker_wire = Arc::clone(&wire);
        let log = scope.spawn(move || {
            let mut log = Vec::new();
            for _ in 0..THREADS * EACH {
                let (item, permit) = broker.recv().expect("a record");
                let now = broker_wire.gate.in_flight();
                assert!(now.records <= limits.records && now.bytes <= limits.bytes, "{now:?}");
                broker_wire.release([permit]);
                *item.done.0.lock().unwrap() = true;
                item.done.1.notify_all();
                log.push((item.handle, item.seq));
            }
            log
        });
        let mut idle: Vec<_> = (0..100).map(|_| wire.handle()).collect();
        for handle in &mut idle {
            assert!(handle.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
        }
        for handle in 0..THREADS {
            let wire = Arc::clone(&wire);
            scope.spawn(move || {
                let waker = Waker::from(Arc::new(Unpark(thread::current())));
                let mut cx = Context::from_waker(&waker);
                let mut own = wire.handle();
                let mut kept: VecDeque<Done> = VecDeque::new();
                for seq in 0..EACH {
                    if (seq * 7 + handle) % 13 == 0 {
                        let _given_up = wire.handle().poll_ready(&mut cx);
                    }
                    while own.poll_ready(&mut cx).is_pending() {
                        thread::park();
                    }
                    let done = Done::default();
                    let item = Item { handle, seq, done: Arc::clone(&done) };
                    let bytes = 1 + (seq * 37 + handle * 11) % 1_500;
                    assert!(own.call(item, bytes).is_ok());
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
    assert_eq!(wire.gate.in_flight(), crate::InFlight::default());
    let mut next = [0; THREADS];
    for (handle, seq) in log {
        assert_eq!(seq, next[handle], "order of handle {handle}");
        next[handle] += 1;
    }
}
