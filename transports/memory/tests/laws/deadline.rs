//! `Record::expires_at`: withdrawn while parked, possibly persisted while in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::{ErrorKind, Persistence, Record};
use kafka_tower_memory::{MemoryDeliveryFuture, MemoryKafka, MemoryTransport};
use tokio::time::{Instant, advance};
use tower::Service;

use crate::support::*;

fn expiring(value: &str, after: Duration) -> Record {
    to(0, value).with_expires_at(Instant::now() + after)
}

#[tokio::test(start_paused = true)]
async fn a_parked_record_is_withdrawn() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let mut transport = kafka.transport_with(Limits { records: 1, bytes: 100 });
    let control = transport.control();
    let start = Instant::now();
    let hold = kafka.script().hold();
    let first = transport.call(to(0, "first"));
    let second = transport.call(expiring("second", 20 * MS));
    let third = transport.call(to(0, "third"));
    assert_eq!(control.in_flight().parked, 2);
    assert_eq!(facts(watched(second).await), (ErrorKind::Timeout, Persistence::NotPersisted));
    assert_eq!(start.elapsed(), 20 * MS);
    assert_eq!((control.in_flight().parked, control.in_flight().records), (1, 1));
    hold.release();
    assert!(first.await.is_ok() && third.await.is_ok());
    assert_eq!(values(&kafka, 0), ["first", "third"]);
}

#[tokio::test(start_paused = true)]
async fn a_parked_record_whose_future_was_dropped_is_withdrawn_too() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let mut transport = kafka.transport_with(Limits { records: 1, bytes: 100 });
    let control = transport.control();
    let start = Instant::now();
    let hold = kafka.script().hold();
    let first = transport.call(to(0, "first"));
    drop(transport.call(expiring("second", 20 * MS)));
    assert!(transport.call(expiring("third", 30 * MS)).now_or_never().is_none(), "polled, then dropped");
    assert_eq!(control.in_flight().parked, 2);
    tokio::time::sleep_until(start + 25 * MS).await;
    assert_eq!(control.in_flight().parked, 1);
    tokio::time::sleep_until(start + 35 * MS).await;
    assert_eq!((control.in_flight().parked, control.in_flight().records), (0, 1));
    hold.release();
    assert!(first.await.is_ok());
    assert_eq!(values(&kafka, 0), ["first"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_withdraws_no_record_that_was_handed_over() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let mut transport = kafka.transport_with(Limits { records: 1, bytes: 100 });
    let control = transport.control();
    let start = Instant::now();
    let holds = [kafka.script().hold(), kafka.script().hold()];
    let first = transport.call(to(0, "first"));
    drop(transport.call(expiring("second", 20 * MS)));
    let [first_hold, second_hold] = holds;
    first_hold.release();
    assert!(first.await.is_ok());
    tokio::time::sleep_until(start + 25 * MS).await;
    assert_eq!((control.in_flight().parked, control.in_flight().records), (0, 1), "until its report");
    second_hold.release();
    assert_eq!(control.in_flight().records, 0);
    assert_eq!(values(&kafka, 0), ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_parked_head_that_is_withdrawn_lets_the_next_one_pass() {
    let kafka = MemoryKafka::new().with_topic("orders", 2);
    let mut transport = kafka.transport_with(Limits { records: 10, bytes: 10 });
    let _hold = kafka.script().hold();
    let _first = transport.call(to(0, "1234567"));
    let head = transport.call(expiring("too large", 5 * MS));
    let small = transport.call(to(1, "1"));
    assert!(kafka.partition("orders", 1).is_empty());
    assert_eq!(facts(watched(head).await).1, Persistence::NotPersisted);
    assert!(small.now_or_never().expect("handed over").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_record_in_flight_is_possibly_persisted_and_keeps_its_room() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let mut transport = kafka.transport_with(Limits { records: 1, bytes: 100 });
    let control = transport.control();
    for (append, in_log) in [(false, 1), (true, 1)] {
        let hold = if append { kafka.script().hold_append() } else { kafka.script().hold() };
        let send = transport.call(expiring("a", 20 * MS));
        assert_eq!(facts(watched(send).await), (ErrorKind::Timeout, Persistence::PossiblyPersisted));
        assert_eq!(kafka.len("orders"), in_log);
        assert_eq!(control.in_flight().records, 1, "until its report");
        hold.release();
        assert_eq!(control.in_flight().records, 0);
    }
    assert_eq!(values(&kafka, 0), ["a", "a"], "both landed late");
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_is_returned_and_a_late_one_is_not() {
    let (kafka, mut transport) = orders(1);
    kafka.script().times(3).delay(10 * MS);
    let in_time = transport.call(expiring("a", 11 * MS));
    let late = transport.call(expiring("b", 9 * MS));
    let unpolled = transport.call(expiring("c", 9 * MS));
    let (in_time, late) = watched(async { tokio::join!(in_time, late) }).await;
    assert!(in_time.is_ok());
    assert_eq!(facts(late), (ErrorKind::Timeout, Persistence::PossiblyPersisted));
    assert!(unpolled.await.is_ok(), "what is known by the first poll goes before the clock");
}

#[tokio::test(start_paused = true)]
async fn a_record_past_its_time_is_never_handed_over() {
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let mut transport = kafka.transport_with(Limits { records: 1, bytes: 100 });
    let past = transport.call(expiring("past", Duration::ZERO));
    assert_eq!(facts(past.now_or_never().expect("at once")), (ErrorKind::Timeout, Persistence::NotPersisted));
    let hold = kafka.script().hold();
    let _first = transport.call(to(0, "first"));
    drop(transport.call(expiring("dropped", 5 * MS)));
    let last = transport.call(to(0, "last"));
    advance(10 * MS).await;
    hold.release();
    assert!(last.await.is_ok());
    assert_eq!(values(&kafka, 0), ["first", "last"]);
    assert_eq!(transport.control().in_flight(), Default::default());
}

#[test]
fn a_record_settled_at_once_needs_no_timer() {
    let (_, mut transport) = orders(1);
    let record = to(0, "a").with_expires_at(std::time::Instant::now() + Duration::from_secs(60));
    // A timer would panic: there is no runtime.
    assert!(transport.call(record).now_or_never().expect("at once").is_ok());
}

/// A record that is called where there is no runtime, as on a thread of the caller's own.
fn called_without_runtime(transport: &MemoryTransport, record: Record) -> MemoryDeliveryFuture {
    let mut transport = transport.clone();
    std::thread::spawn(move || transport.call(record)).join().expect("called")
}

#[tokio::test(start_paused = true)]
async fn a_deadline_before_all_others_is_kept_also_if_its_record_was_called_without_a_runtime() {
    let (kafka, mut transport) = orders(1);
    let _hold = kafka.script().always().hold();
    let start = Instant::now();
    let _late = transport.call(expiring("late", Duration::from_secs(60)));
    let early = called_without_runtime(&transport, expiring("early", 20 * MS));
    assert_eq!(facts(watched(early).await).0, ErrorKind::Timeout);
    assert_eq!(start.elapsed(), 20 * MS);
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_caller_whose_runtime_keeps_no_deadlines_is_not_woken_for_ever() {
    let (kafka, mut transport) = orders(1);
    let _hold = kafka.script().always().hold();
    let mut send = transport.call(to(0, "a").with_expires_at(std::time::Instant::now() + MS));
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut poll = || assert!(send.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        poll();
        tokio::task::yield_now().await; // its task panics, because time is not enabled
    });
    assert_eq!(count.0.load(Ordering::SeqCst), 0, "time is not enabled");
    let handle = runtime.handle().clone();
    drop(runtime);
    let _entered = handle.enter();
    poll();
    assert_eq!(count.0.load(Ordering::SeqCst), 0, "the runtime has ended");
}

#[test]
fn deadlines_are_kept_when_the_runtime_that_kept_them_ends() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (kafka, mut transport) = orders(1);
    let _hold = kafka.script().always().hold();
    let (first, second) = (runtime(), runtime());
    let ends = || std::time::Instant::now() + 50 * MS;
    let entered = first.enter();
    let _other = transport.call(to(0, "first").with_expires_at(ends()));
    drop(entered);
    let send = transport.call(to(0, "second").with_expires_at(ends()));
    second.block_on(async {
        let send = tokio::spawn(send);
        tokio::task::yield_now().await; // polled once, and again only when it is woken
        tokio::task::spawn_blocking(move || drop(first)).await.expect("dropped");
        let stuck = tokio::time::timeout(Duration::from_secs(10), send).await;
        assert_eq!(facts(stuck.expect("stuck").expect("a task")).0, ErrorKind::Timeout);
    });
}

/// The task of the producer is on a runtime that is still there.
#[test]
fn deadlines_are_kept_while_nothing_drives_the_runtime_that_kept_them() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for moves in [false, true] {
        let (kafka, mut transport) = orders(1);
        let _hold = kafka.script().always().hold();
        let (idle, driven) = (runtime(), runtime());
        let mut call = |after| transport.call(to(0, "a").with_expires_at(std::time::Instant::now() + after));
        let first = (!moves).then(|| {
            let _entered = idle.enter();
            call(20 * MS)
        });
        driven.block_on(async {
            let send = match first {
                Some(first) => tokio::spawn(first),
                None => tokio::spawn(call(60 * MS)),
            };
            tokio::task::yield_now().await; // polled once, and again only when it is woken
            let earlier = moves.then(|| {
                let _entered = idle.enter();
                call(20 * MS)
            });
            let stuck = tokio::time::timeout(Duration::from_secs(10), send).await;
            assert_eq!(facts(stuck.expect("stuck").expect("a task")).0, ErrorKind::Timeout, "moves: {moves}");
            drop(earlier);
        });
    }
}

/// The callers have dropped their futures, so nothing but the close itself can keep its deadline.
#[test]
fn the_close_of_a_sink_ends_although_the_runtime_that_kept_its_deadline_has_ended() {
    let (kafka, mut transport) = orders(1);
    let _hold = kafka.script().always().hold();
    let sink = transport.control().open_tenant().expect("a tenant");
    let first = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let entered = first.enter();
    drop(transport.call(to(0, "a").with_tenant(sink.tenant())));
    let close = sink.close(50 * MS);
    drop(entered);
    drop(first);
    let second = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let report = second.block_on(watched(close)).unwrap();
    assert_eq!((report.delivered, report.unknown), (0, 1), "{report}");
}
