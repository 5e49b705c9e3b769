//! Tests of the shared state, without an event loop.

use std::sync::{LazyLock, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;

use kafka_tower_core::gate::Limits;

use super::*;
use crate::event_loop;
use crate::ffi::Instance;

fn inner() -> Arc<TransportInner> {
    with_room_for(10)
}

fn with_room_for(records: usize) -> Arc<TransportInner> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", "127.0.0.1:1");
    let client = Client::create(&config).unwrap();
    let limits = Limits { records, bytes: 1_000 };
    let hooks = Hooks::default();
    TransportInner::new(client, config, limits, hooks, Duration::from_secs(300), Vec::new(), event_loop::spawn_isolated)
}

fn send(inner: &Arc<TransportInner>, record: Record) -> Arc<Slot> {
    let slot = Arc::new(Slot::new(record, Instant::now()));
    let mut handle = inner.handle();
    handle.call(Arc::clone(&slot), 1).ok().unwrap();
    inner.watch(&slot).unwrap();
    slot
}

/// A record whose deadline has passed.
fn late() -> Record {
    let mut record = Record::new("t").with_value("v");
    record.expires_at = Some(Instant::now());
    record
}

/// Returns whether the record's lock is free.
fn is_free(slot: &Arc<Slot>) -> bool {
    let (slot, (answer, answered)) = (Arc::clone(slot), mpsc::channel());
    thread::spawn(move || answer.send(slot.is_settled()));
    answered.recv_timeout(Duration::from_secs(2)).is_ok()
}

#[test]
fn an_expired_record_is_not_locked_while_the_client_is_waited_for() {
    let inner = inner();
    let slot = send(&inner, late());
    let mut free = true;
    // The client's lock is held from here on, as while a record is held.
    inner.client.hold("other".into(), || {
        let (expiring, (begins, begun)) = (Arc::clone(&inner), mpsc::channel());
        thread::spawn(move || {
            begins.send(()).unwrap();
            expiring.expire_due(Instant::now())
        });
        begun.recv().unwrap();
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(5));
            free &= is_free(&slot);
        }
    });
    assert!(free);
}

#[test]
fn a_topic_with_more_records_than_a_gate_counts_has_the_most_that_it_counts() {
    let inner = inner();
    inner.count_topic(&"t".into(), usize::MAX);
    assert_eq!(inner.gate().limits(), Limits { records: usize::MAX, bytes: 1_000 }.countable());
    assert!(inner.gate().limits().records > 8_000_000);
}

struct Watching(Arc<Slot>, mpsc::Sender<bool>);

impl tracing::Subscriber for Watching {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        let _gone = self.1.send(is_free(&self.0));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// A second subscriber. If there is but one, tracing asks only that of the thread which reaches a line first, and a line that
/// another test reaches first would be disabled for all.
static OTHER: LazyLock<tracing::Dispatch> =
    LazyLock::new(|| tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default()));

#[test]
fn a_subscriber_may_read_the_record_of_its_line() {
    let inner = inner();
    let slot = send(&inner, late());
    inner.record_error_event(codes::LOCAL_TRANSPORT, "127.0.0.1:1/bootstrap: Connect failed: refused", Instant::now());
    let (sender, found) = mpsc::channel();
    LazyLock::force(&OTHER);
    tracing::subscriber::with_default(Watching(Arc::clone(&slot), sender), || inner.expire_due(Instant::now()));
    assert_eq!(found.try_iter().collect::<Vec<_>>(), [true]);
}

#[test]
fn a_late_report_of_an_old_instance_releases_room() {
    let inner = inner();
    let slot = send(&inner, Record::new("t").with_value("v"));
    let old = inner.client.swap(Instance::create(inner.config()).unwrap()).unwrap();
    assert_eq!(inner.gate().in_flight().records, 1);
    inner.retire(old);
    assert!(slot.has_failed());
    assert_eq!(inner.gate().in_flight().records, 0);
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("planted");
    }
}

#[test]
fn a_waker_that_panics_leaves_no_record_held() {
    let inner = with_room_for(1);
    let topic = Arc::from("t");
    inner.client.hold(Arc::clone(&topic), || ());
    send(&inner, late());
    inner.expire_due(Instant::now());
    let waker = Waker::from(Arc::new(Panics));
    let mut waiting = inner.handle();
    assert!(waiting.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    inner.hand_over_held_of(&topic);
    let next = send(&inner, Record::new("t").with_value("v"));
    assert!(next.is_awaited_in_producer(), "and not held");
}

#[test]
fn a_client_that_is_destroyed_holds_nothing() {
    let inner = inner();
    inner.client.hold_all();
    inner.client.destroy();
    assert!(send(&inner, Record::new("t").with_value("v")).has_failed());
}
