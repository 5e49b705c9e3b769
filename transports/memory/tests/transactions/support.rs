use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Control, ErrorKind, Persistence, Record, Recovery, Result, TransactionControl};
use kafka_tower_memory::{MemoryKafka, MemoryTransport, StoredRecord};
use tower::Service;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Producer {
    pub(crate) transport: MemoryTransport,
    pub(crate) control: Arc<dyn Control>,
}

impl Producer {
    pub(crate) fn new(transport: MemoryTransport) -> Self {
        let control = transport.control();
        Self { transport, control }
    }

    /// Creates a producer with the transactional id `id` and initializes it.
    pub(crate) async fn ready(kafka: &MemoryKafka) -> Self {
        let producer = Self::new(kafka.transactional_transport("id"));
        producer.txn().init(SECOND).await.unwrap();
        producer
    }

    pub(crate) fn txn(&self) -> Arc<dyn TransactionControl> {
        self.control.transactions().expect("transactional")
    }

    pub(crate) async fn begin(&mut self, values: &[(i32, &str)]) {
        self.txn().begin(SECOND).await.unwrap();
        for (partition, value) in values {
            self.send(*partition, value).await.unwrap();
        }
    }

    pub(crate) async fn send(&mut self, partition: i32, value: &str) -> Result<i64> {
        let delivery = self.transport.call(to(partition, value)).await?;
        Ok(delivery.offset.expect("the log names it"))
    }
}

pub(crate) fn orders() -> MemoryKafka {
    MemoryKafka::new().with_topic("orders", 2)
}

pub(crate) fn to(partition: i32, value: &str) -> Record {
    Record::new("orders").with_partition(partition).with_value(value.to_owned())
}

pub(crate) fn values(records: &[StoredRecord]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8(r.value().unwrap().to_vec()).unwrap()).collect()
}

/// The records that a `read_committed` consumer sees.
pub(crate) fn committed(kafka: &MemoryKafka) -> Vec<String> {
    values(&kafka.committed("orders"))
}

pub(crate) fn facts<T: std::fmt::Debug>(outcome: Result<T>) -> (ErrorKind, Recovery, Persistence) {
    let error = outcome.expect_err("an error");
    (error.kind(), error.recovery(), error.persistence())
}
