//! What the tests on a real Apache Kafka share.
#![allow(dead_code)] // not every binary uses all of it

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::poll_fn;
use std::time::Duration;

use kafka_tower_core::{Delivery, Error, ErrorKind, Persistence, Record, Result};
use kafka_tower_native::{DeliveryFuture, NativeBuilder, NativeTransport};
use kafka_tower_testkit::kafka::segments::Batch;
use kafka_tower_testkit::kafka::{Cluster, ReadRecord};
use tokio::time::timeout;
use tower_service::Service as _;

/// Enough time even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A builder for a listener.
pub(crate) fn builder(bootstrap: &str, topic: &str) -> NativeBuilder {
    NativeTransport::builder().bootstrap(bootstrap).topic(topic).connect_timeout(PATIENCE)
}

pub(crate) async fn connect(builder: NativeBuilder) -> NativeTransport {
    builder.connect().await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// Hands a record over.
pub(crate) async fn call(transport: &mut NativeTransport, record: Record) -> DeliveryFuture {
    poll_fn(|cx| transport.poll_ready(cx)).await.unwrap();
    transport.call(record)
}

/// Sends a record and waits for its outcome.
pub(crate) async fn send(transport: &mut NativeTransport, record: Record) -> Result<Delivery> {
    let future = call(transport, record).await;
    in_time(future).await
}

/// Waits for a future that must not hang.
pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no end within {PATIENCE:?}"))
}

/// The outcomes of sends that must not hang, in their order.
pub(crate) async fn outcomes(sends: impl IntoIterator<Item = DeliveryFuture>) -> Vec<Result<Delivery>> {
    in_time(futures_util::future::join_all(sends)).await
}

/// Asserts that all were delivered.
pub(crate) fn all_delivered(outcomes: Vec<Result<Delivery>>) -> Vec<Delivery> {
    let delivered = outcomes.into_iter().enumerate();
    delivered.map(|(n, outcome)| outcome.unwrap_or_else(|error| panic!("record {n}: {error:#}"))).collect()
}

/// A record for partition 0 with a number as its value.
pub(crate) fn numbered(topic: &str, number: usize) -> Record {
    Record::new(topic).with_value(number.to_string()).with_partition(0)
}

pub(crate) fn number(record: &ReadRecord) -> usize {
    record.text().parse().unwrap_or_else(|_| panic!("not a number: {record:?}"))
}

/// The numbers in a topic, by partition and in the order of the log.
pub(crate) async fn log(kafka: &Cluster, topic: &str) -> BTreeMap<i32, Vec<usize>> {
    let mut log: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for record in kafka.read(topic).await.unwrap() {
        log.entry(record.partition).or_default().push(number(&record));
    }
    log
}

/// Asserts that the log of partition 0 is 0, 1, 2, …: each record once and in order.
pub(crate) async fn assert_once_in_order(kafka: &Cluster, topic: &str, count: usize) {
    let log = log(kafka, topic).await.remove(&0).unwrap_or_default();
    assert_eq!(log, (0..count).collect::<Vec<_>>());
}

/// Asserts that an error is what it should be.
#[track_caller]
pub(crate) fn assert_error(error: &Error, kind: ErrorKind, persistence: Persistence) {
    assert_eq!((error.kind(), error.persistence()), (kind, persistence), "{error:#}");
}

#[track_caller]
pub(crate) fn assert_contains(error: &impl Debug, text: &str, part: &str) {
    assert!(text.contains(part), "no {part:?} in {text:?}: {error:?}");
}

/// Asserts that the sequence numbers of each producer id and epoch have no gaps and begin at 0.
pub(crate) fn assert_dense(batches: &[Batch]) {
    let mut next: BTreeMap<(i64, i16), i32> = BTreeMap::new();
    for batch in batches.iter().filter(|batch| !batch.control) {
        assert!(batch.producer_id >= 0, "without idempotence: {batch:?}");
        let next = next.entry((batch.producer_id, batch.producer_epoch)).or_insert(0);
        assert_eq!(batch.base_sequence, *next, "{batch:?} in {batches:?}");
        *next += batch.records;
    }
}
