//! Law 8, second half: dropping the last handle logs a warning.

use std::sync::{Arc, LazyLock, Mutex};

use futures_util::FutureExt;
use kafka_tower_core::gate::Limits;
use kafka_tower_memory::MemoryKafka;
use tower::{Service, ServiceExt};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as SpanRecord};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::support::*;

/// Keeps the number of undelivered records of each warning.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<u64>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &SpanRecord<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Visit for Warnings {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "undelivered" {
            self.0.lock().unwrap().push(value);
        }
    }
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// A second subscriber. If there is but one, tracing asks only that of the thread which reaches a line first, and a line that
/// another test reaches first would be disabled for all.
static OTHER: LazyLock<tracing::Dispatch> =
    LazyLock::new(|| tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default()));

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_warns_and_the_records_go_on() {
    LazyLock::force(&OTHER);
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let kafka = MemoryKafka::new().with_topic("orders", 1);
    let mut transport = kafka.transport_with(Limits { records: 2, bytes: 100 });
    let control = transport.control();
    let hold = kafka.script().hold();
    let sends: Vec<_> = (0..3).map(|n| transport.call(to(0, n))).collect();
    let clone = transport.clone();
    drop(transport);
    drop(clone);
    assert!(warnings.0.lock().unwrap().is_empty(), "the control is a handle: it can close");
    drop(control);
    assert_eq!(*warnings.0.lock().unwrap(), [3], "two in flight and one parked");
    hold.release();
    assert!(sends.into_iter().all(|send| send.now_or_never().expect("settled").is_ok()));
    assert_eq!(kafka.unanswered(), Default::default());
    assert_eq!(kafka.len("orders"), 3);
}

#[tokio::test(start_paused = true)]
async fn no_warning_after_close_or_without_records() {
    LazyLock::force(&OTHER);
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let (kafka, transport) = orders(1);
    assert!(transport.oneshot(to(0, 1)).await.is_ok());
    let mut transport = kafka.transport();
    let _hold = kafka.script().hold();
    let _send = transport.call(to(0, 2));
    assert_eq!(watched(transport.control().close(MS)).await.unwrap().unknown, 1);
    drop(transport);
    assert!(warnings.0.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_handle_of_one_call_gets_its_answer() {
    let (kafka, transport) = orders(1);
    kafka.script().delay(5 * MS);
    assert!(watched(transport.oneshot(to(0, 1))).await.is_ok());
}
