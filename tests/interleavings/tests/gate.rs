//! Every interleaving of up to three threads that send, wait, release, flush, close and withdraw.
//!
//! A wake-up that is lost is a deadlock, which loom finds.
#![allow(clippy::unwrap_used)] // a test may fail

use std::future::poll_fn;
use std::sync::Arc;

use kafka_tower_test_interleavings::gate::{Gate, GateHandle, Gated, Limits, Permit, Refused};
use kafka_tower_test_interleavings::sync::{AtomicUsize, Mutex, lock};
use loom::future::block_on;
use loom::sync::atomic::Ordering::Relaxed;
use loom::sync::mpsc;
use loom::thread;

/// A transport that passes its records to whoever settles them.
struct Wire {
    gate: Gate<u8>,
    taken: Mutex<mpsc::Sender<(u8, Permit)>>,
    in_flight: AtomicUsize,
    limit: usize,
    /// A bit for each record that is settled.
    settled: AtomicUsize,
}

impl Gated for Wire {
    type Item = u8;

    fn gate(&self) -> &Gate<u8> {
        &self.gate
    }

    fn enqueue(self: &Arc<Self>, item: u8, permit: Permit) -> Result<(), Permit> {
        assert!(self.in_flight.fetch_add(1, Relaxed) < self.limit, "more than the limit is in flight");
        lock(&self.taken).send((item, permit)).unwrap();
        Ok(())
    }
}

impl Wire {
    fn is_settled(&self, item: u8) -> bool {
        self.settled.load(Relaxed) & 1 << item != 0
    }
}

/// Settles records in the order in which the transport took them.
struct Broker {
    wire: Arc<Wire>,
    taken: mpsc::Receiver<(u8, Permit)>,
}

impl Broker {
    /// Waits for the next record and settles it.
    fn settle(&self) -> u8 {
        let (item, permit) = self.take();
        self.wire.release([permit]);
        item
    }

    /// Waits for the next record, whose room is to be returned.
    fn take(&self) -> (u8, Permit) {
        let (item, permit) = self.taken.recv().unwrap();
        self.wire.in_flight.fetch_sub(1, Relaxed);
        self.wire.settled.fetch_or(1 << item, Relaxed);
        (item, permit)
    }

    /// Checks that nothing is left.
    fn end(self) {
        let left = self.wire.gate.in_flight();
        assert_eq!((left.records, left.bytes, left.parked), (0, 0, 0));
        assert!(!self.wire.gate.is_flushing());
    }
}

fn open(records: usize) -> (Arc<Wire>, Broker) {
    let (sender, taken) = mpsc::channel();
    let gate = Gate::new(Limits { records, bytes: 10 * records });
    let wire = Arc::new(Wire {
        gate,
        taken: Mutex::new(sender),
        in_flight: AtomicUsize::new(0),
        limit: records,
        settled: AtomicUsize::new(0),
    });
    (Arc::clone(&wire), Broker { wire, taken })
}

/// Waits until the handle is ready, and sends.
fn send(handle: &mut GateHandle<Wire>, item: u8) -> Result<(), Refused<u8>> {
    block_on(poll_fn(|cx| handle.poll_ready(cx)));
    handle.call(item, 10)
}

/// Runs every interleaving with that number of interruptions of threads that could go on, or all that there are.
/// `KAFKA_TOWER_MORE_INTERRUPTIONS` is added to the number.
fn every(interruptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let more = std::env::var("KAFKA_TOWER_MORE_INTERRUPTIONS").map_or(0, |more| more.parse().unwrap());
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = interruptions.map(|interruptions| interruptions + more);
    builder.check(model);
}

fn spawn<R: 'static>(wire: &Arc<Wire>, f: impl FnOnce(&Arc<Wire>) -> R + 'static) -> thread::JoinHandle<R> {
    let wire = Arc::clone(wire);
    thread::spawn(move || f(&wire))
}

#[test]
fn all_is_sent_within_the_limit() {
    every(Some(3), || {
        let (wire, broker) = open(1);
        let senders = [1, 2].map(|item| spawn(&wire, move |wire| send(&mut wire.handle(), item).unwrap()));
        broker.settle();
        broker.settle();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        broker.end();
    });
}

#[test]
fn records_of_a_handle_stay_in_order_though_some_are_parked() {
    every(None, || {
        let (wire, broker) = open(1);
        let sends = spawn(&wire, |wire| {
            let mut handle = wire.handle();
            (1..4).for_each(|item| handle.call(item, 10).unwrap());
        });
        assert_eq!([broker.settle(), broker.settle(), broker.settle()], [1, 2, 3]);
        sends.join().unwrap();
        broker.end();
    });
}

#[test]
fn a_flush_ends_when_what_was_sent_before_is_settled() {
    every(Some(2), || {
        let (wire, broker) = open(2);
        wire.handle().call(1, 10).unwrap();
        let sends = spawn(&wire, |wire| wire.handle().call(2, 10).unwrap());
        let flushes = spawn(&wire, |wire| {
            block_on(wire.flush());
            assert!(wire.is_settled(1), "the flush ended early");
        });
        assert_eq!([broker.settle(), broker.settle()], [1, 2]);
        sends.join().unwrap();
        flushes.join().unwrap();
        broker.end();
    });
}

#[test]
fn flushes_end_in_their_order() {
    every(Some(2), || {
        let (wire, broker) = open(2);
        wire.handle().call(1, 10).unwrap();
        let flushes = spawn(&wire, |wire| {
            let first = wire.flush();
            wire.handle().call(2, 10).unwrap();
            let second = wire.flush();
            block_on(first);
            assert!(wire.is_settled(1));
            block_on(second);
            assert!(wire.is_settled(2));
        });
        broker.settle();
        broker.settle();
        flushes.join().unwrap();
        broker.end();
    });
}

#[test]
fn a_close_wakes_who_waits_and_refuses_who_comes() {
    every(Some(2), || {
        let (wire, broker) = open(1);
        wire.handle().call(1, 10).unwrap();
        let waits = spawn(&wire, |wire| send(&mut wire.handle(), 2).is_ok());
        let closes = spawn(&wire, |wire| {
            wire.gate.close();
            assert!(matches!(wire.handle().call(3, 10), Err(Refused::Closed(3))));
        });
        assert_eq!(broker.settle(), 1);
        if waits.join().unwrap() {
            assert_eq!(broker.settle(), 2);
        }
        closes.join().unwrap();
        broker.end();
    });
}

#[test]
fn what_is_withdrawn_blocks_nobody() {
    every(Some(2), || {
        let (wire, broker) = open(1);
        let mut handle = wire.handle();
        handle.call(1, 10).unwrap();
        handle.call(2, 10).unwrap();
        let withdraws = spawn(&wire, |wire| wire.withdraw(|item| *item == 2, drop));
        let sends = spawn(&wire, |wire| send(&mut wire.handle(), 3).unwrap());
        assert_eq!(broker.settle(), 1);
        if withdraws.join().unwrap() == 0 {
            assert_eq!(broker.settle(), 2);
        }
        assert_eq!(broker.settle(), 3);
        sends.join().unwrap();
        broker.end();
    });
}

/// Room of records before and behind a flush is returned at once; a flush that is dropped waits for nothing.
#[test]
fn a_release_may_be_of_several_epochs() {
    every(Some(2), || {
        let (wire, broker) = open(3);
        wire.handle().call(1, 10).unwrap();
        let flush = wire.flush();
        wire.handle().call(2, 10).unwrap();
        let other = spawn(&wire, |wire| {
            drop(wire.flush());
            wire.handle().call(3, 10).unwrap();
        });
        let permits = [broker.take().1, broker.take().1];
        wire.release(permits);
        block_on(flush);
        broker.settle();
        other.join().unwrap();
        broker.end();
    });
}

/// A handle that was woken and is dropped wakes the next one.
#[test]
fn a_wake_up_that_is_not_used_is_passed_on() {
    every(Some(2), || {
        let (wire, broker) = open(1);
        wire.handle().call(1, 10).unwrap();
        let gives_up = spawn(&wire, |wire| {
            let mut handle = wire.handle();
            block_on(poll_fn(|cx| handle.poll_ready(cx)));
        });
        let sends = spawn(&wire, |wire| send(&mut wire.handle(), 2).unwrap());
        assert_eq!([broker.settle(), broker.settle()], [1, 2]);
        gives_up.join().unwrap();
        sends.join().unwrap();
        broker.end();
    });
}

/// A record that is parked is handed over when the limit grows, and one that is called when it has shrunk is parked.
#[test]
fn limits_change_while_records_are_sent() {
    every(Some(2), || {
        let (wire, broker) = open(2);
        wire.set_limits(Limits { records: 1, bytes: 10 });
        let mut handle = wire.handle();
        handle.call(1, 10).unwrap();
        let sends = spawn(&wire, |wire| wire.handle().call(2, 10).unwrap());
        let widens = spawn(&wire, |wire| {
            wire.set_limits(Limits { records: 2, bytes: 20 });
            wire.set_limits(Limits { records: 1, bytes: 10 });
            wire.set_limits(Limits { records: 2, bytes: 20 });
        });
        // Both, before the room of one is returned.
        let permits = [broker.take(), broker.take()].map(|(_, permit)| permit);
        wire.release(permits);
        sends.join().unwrap();
        widens.join().unwrap();
        broker.end();
    });
}
