use std::future::{Future, poll_fn};
use std::time::Duration;

use kafka_tower_core::{Error, ErrorKind, Persistence, Record, Result};
use kafka_tower_memory::{MemoryDeliveryFuture, MemoryKafka, MemoryTransport};
use tower::Service;

pub(crate) const MS: Duration = Duration::from_millis(1);

pub(crate) fn orders(partitions: u32) -> (MemoryKafka, MemoryTransport) {
    let kafka = MemoryKafka::new().with_topic("orders", partitions);
    let transport = kafka.transport();
    (kafka, transport)
}

/// Creates a record for a partition of `orders`.
#[allow(clippy::needless_pass_by_value, reason = "a text or a number, as it comes")]
pub(crate) fn to(partition: i32, value: impl ToString) -> Record {
    Record::new("orders").with_partition(partition).with_value(value.to_string())
}

/// Waits for readiness and calls.
pub(crate) async fn send(transport: &mut MemoryTransport, record: Record) -> MemoryDeliveryFuture {
    poll_fn(|cx| transport.poll_ready(cx)).await.expect("never an error");
    transport.call(record)
}

/// Fails a test that would wait for ever: a paused clock advances when all tasks are idle.
pub(crate) async fn watched<F: Future>(future: F) -> F::Output {
    let hour = Duration::from_secs(3_600);
    tokio::time::timeout(hour, future).await.expect("stuck")
}

/// The values of a partition, in log order.
pub(crate) fn values(kafka: &MemoryKafka, partition: i32) -> Vec<String> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let records = kafka.partition("orders", partition);
    records.iter().map(|r| text(r.value().unwrap())).collect()
}

pub(crate) fn facts<T: std::fmt::Debug>(outcome: Result<T>) -> (ErrorKind, Persistence) {
    let error = outcome.expect_err("an error");
    (error.kind(), error.persistence())
}

pub(crate) fn broker_error() -> Error {
    Error::new(ErrorKind::Broker, "no leader").with_persistence(Persistence::NotPersisted)
}

/// xorshift64*: the tests draw random numbers only from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}
