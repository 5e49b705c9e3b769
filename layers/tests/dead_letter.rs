//! Dead letters over the in-memory Kafka.
#![cfg(all(feature = "dead-letter", feature = "builder"))]
#![allow(clippy::unwrap_used)]

use std::future::{Future, Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kafka_tower_core::{Error, ErrorKind, Persistence, RawRecord, Record, Result};
use kafka_tower_layers::KafkaServiceBuilderExt;
use kafka_tower_layers::dead_letter::{DeadLetterLayer, DeadLetterStyle, FailedRecord};
use kafka_tower_memory::MemoryKafka;
use tower::{Service, ServiceBuilder, ServiceExt};

fn failed(partition: i32) -> FailedRecord {
    let mut record = RawRecord::new("orders", partition, 17);
    (record.key, record.value) = (Some("k".into()), Some(vec![0, 159, 146, 150].into()));
    record.headers.push("region", "eu");
    FailedRecord::new(record, "Decode", "the record could not be decoded").with_group("billing")
}

#[tokio::test(start_paused = true)]
async fn a_letter_is_the_original_in_the_same_partition() {
    for (style, topic, headers) in [
        (DeadLetterStyle::Own, "orders.dlq", 8),
        (DeadLetterStyle::Spring, "orders-dlt", 9),
        (DeadLetterStyle::Connect, "orders.dlq", 7),
    ] {
        let kafka = MemoryKafka::new().with_topic(topic, 4);
        let letters = ServiceBuilder::new().dead_letters(DeadLetterLayer::new(style)).service(kafka.transport());
        letters.oneshot(failed(3)).await.unwrap();
        let letter = &kafka.records(topic)[0];
        assert_eq!(letter.partition, 3);
        assert_eq!((letter.key().unwrap(), letter.value().unwrap()), (&"k".into(), &vec![0, 159, 146, 150].into()));
        assert_eq!(
            (letter.record.headers.get("region").unwrap(), letter.record.headers.len()),
            (&"eu".into(), headers)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_key_decides_if_the_partition_does_not_exist() {
    let kafka = MemoryKafka::new().with_topic("orders.dlq", 3);
    let letters = ServiceBuilder::new().dead_letters(DeadLetterLayer::default()).service(kafka.transport());
    letters.clone().oneshot(failed(3)).await.unwrap();
    kafka.transport().oneshot(Record::new("orders.dlq").with_key("k")).await.unwrap();
    let records = kafka.records("orders.dlq");
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].partition, records[1].partition, "that of the key");
    let missing = ServiceBuilder::new().dead_letters(DeadLetterLayer::default().topic("nowhere"));
    let error = missing.service(kafka.transport()).oneshot(failed(0)).await.unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::UnknownTopicOrPartition, Persistence::NotPersisted));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_returned_and_sent_only_once() {
    for persistence in [Persistence::NotPersisted, Persistence::PossiblyPersisted] {
        let kafka = MemoryKafka::new().with_topic("orders.dlq", 4);
        let letters = ServiceBuilder::new().dead_letters(DeadLetterLayer::default()).service(kafka.transport());
        kafka.script().fail(Error::new(ErrorKind::Broker, "planted").with_persistence(persistence));
        let error = letters.oneshot(failed(0)).await.unwrap_err();
        assert_eq!((error.message(), error.persistence()), ("planted", persistence));
        assert_eq!(kafka.len("orders.dlq"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_has_a_deadline() {
    let kafka = MemoryKafka::new().with_topic("orders.dlq", 4);
    let layer = DeadLetterLayer::default().timeout(Duration::from_secs(5));
    let letters = ServiceBuilder::new().dead_letters(layer).service(kafka.transport());
    kafka.script().delay(Duration::from_secs(60));
    let start = tokio::time::Instant::now();
    let error = letters.oneshot(failed(0)).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (ErrorKind::Timeout, Duration::from_secs(5)));
    assert!(error.may_be_written());
}

#[tokio::test(start_paused = true)]
async fn a_loop_ends_and_sends_nothing() {
    let kafka = MemoryKafka::new().with_topic("dead", 4);
    let letters = ServiceBuilder::new()
        .dead_letters(DeadLetterLayer::default().topic("dead").max_hops(2))
        .service(kafka.transport());
    let mut again = failed(0);
    for _ in 0..2 {
        letters.clone().oneshot(again.clone()).await.unwrap();
        again.record.headers = kafka.records("dead").last().unwrap().record.headers.clone();
    }
    assert_eq!(letters.clone().oneshot(again).await.unwrap_err().kind(), ErrorKind::Refused);
    let mut own = failed(0);
    own.record.topic = "dead".into();
    assert_eq!(letters.oneshot(own).await.unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(kafka.len("dead"), 2);
}

/// A service with one place, which each handle holds from its readiness to its call.
struct Place {
    free: Arc<AtomicU32>,
    holds: bool,
}

impl Clone for Place {
    fn clone(&self) -> Self {
        Self { free: Arc::clone(&self.free), holds: false }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.holds {
            self.free.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Service<Record> for Place {
    type Response = ();
    type Error = Error;
    type Future = Ready<Result<()>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        if !self.holds && self.free.swap(0, Ordering::Relaxed) == 0 {
            return Poll::Pending;
        }
        self.holds = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Record) -> Self::Future {
        assert!(self.holds, "called without readiness");
        self.holds = false;
        self.free.fetch_add(1, Ordering::Relaxed);
        ready(Err(Error::new(ErrorKind::UnknownTopicOrPartition, "planted")))
    }
}

#[test]
fn a_refused_letter_holds_no_room_and_a_second_attempt_waits_for_it() {
    let place = Place { free: Arc::new(AtomicU32::new(1)), holds: false };
    let free = Arc::clone(&place.free);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _guard = runtime.enter();
    let mut letters = ServiceBuilder::new().dead_letters(DeadLetterLayer::default()).service(place);
    let mut cx = Context::from_waker(Waker::noop());
    let mut own = failed(0);
    own.record.topic = "orders.dlq".into();
    assert!(letters.poll_ready(&mut cx).is_ready());
    drop(letters.call(own));
    assert_eq!(free.load(Ordering::Relaxed), 1);

    assert!(letters.poll_ready(&mut cx).is_ready());
    let mut sent = Box::pin(letters.call(failed(0)));
    assert_eq!(free.swap(0, Ordering::Relaxed), 1);
    assert!(sent.as_mut().poll(&mut cx).is_pending(), "the second attempt waits");
    free.store(1, Ordering::Relaxed);
    let Poll::Ready(Err(error)) = sent.as_mut().poll(&mut cx) else { panic!("pending") };
    assert_eq!((error.message(), free.load(Ordering::Relaxed)), ("planted", 1), "there is no third attempt");
}
