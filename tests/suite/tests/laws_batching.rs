//! The laws of a transport on the transactional batching layer, which is one: over the in-memory Kafka, under a paused
//! clock.
#![allow(clippy::unwrap_used)] // a test may fail

use std::time::Duration;

use kafka_tower::layers::transaction_batch::{TransactionBatch, TransactionBatchLayer};
use kafka_tower_core::gate::Limits;
use kafka_tower_memory::{Hold, MemoryKafka, StoredRecord};
use kafka_tower_testkit::{Broker, Fixture, Law, LogRecord, NotApplicable, Opened, law_tests};
use tower::Layer;

/// Cuts batches at this age.
struct Batching(Duration);

impl Fixture for Batching {
    type Transport = TransactionBatch;
    type Broker = MemoryBroker;

    async fn open(&self, limits: Limits, partitions: u32) -> Opened<TransactionBatch, MemoryBroker> {
        let kafka = MemoryKafka::new().with_topic("laws", partitions);
        let transport = kafka.transactional_transport("id");
        let layer = TransactionBatchLayer::new(transport.control()).room(limits.records, limits.bytes).age(self.0);
        layer.init(self.patience()).await.unwrap();
        let transport = layer.layer(transport);
        Opened { control: transport.control(), transport, topic: "laws".into(), broker: MemoryBroker::new(kafka) }
    }

    fn not_applicable(&self) -> Vec<Law> {
        Law::OF_TRANSACTIONS.to_vec()
    }
}

struct MemoryBroker {
    kafka: MemoryKafka,
    paused: Option<Hold>,
}

impl MemoryBroker {
    fn new(kafka: MemoryKafka) -> Self {
        Self { kafka, paused: None }
    }
}

fn in_log(stored: &StoredRecord) -> LogRecord {
    let record = LogRecord::new(stored.partition, stored.offset, &stored.record);
    LogRecord { timestamp: Some(stored.timestamp.as_millis()), ..record }
}

impl Broker for MemoryBroker {
    async fn read(&self) -> Vec<LogRecord> {
        self.kafka.committed("laws").iter().map(in_log).collect()
    }

    async fn pause(&mut self) -> Result<(), NotApplicable> {
        self.paused = Some(self.kafka.script().always().hold());
        Ok(())
    }

    async fn resume(&mut self) {
        self.paused = None;
    }
}

mod at_once {
    use super::*;

    law_tests!(
        #[tokio::test(start_paused = true)]
        Batching(Duration::ZERO)
    );
}

mod later {
    use super::*;

    law_tests!(
        #[tokio::test(start_paused = true)]
        Batching(Duration::from_millis(50))
    );
}
