//! The laws of a transport on the transactional batching layer, which is one: over the in-memory Kafka, under a paused
//! clock.
#![allow(clippy::unwrap_used)] // a test may fail

#[path = "../../testkit/tests/memory/mod.rs"]
mod memory;

use std::time::Duration;

use kafka_tower::layers::transaction_batch::{TransactionBatch, TransactionBatchLayer};
use kafka_tower_core::gate::Limits;
use kafka_tower_memory::MemoryKafka;
use kafka_tower_testkit::{Fixture, Law, Opened, law_tests};
use tower::Layer;

use crate::memory::{MemoryBroker, TOPIC};

/// Cuts batches at this age.
struct Batching(Duration);

impl Fixture for Batching {
    type Transport = TransactionBatch;
    type Broker = MemoryBroker;

    async fn open(&self, limits: Limits, partitions: u32) -> Opened<TransactionBatch, MemoryBroker> {
        let kafka = MemoryKafka::new().with_topic(TOPIC, partitions);
        let transport = kafka.transactional_transport("id");
        let layer = TransactionBatchLayer::new(transport.control()).room(limits.records, limits.bytes).age(self.0);
        layer.init(self.patience()).await.unwrap();
        let transport = layer.layer(transport);
        Opened {
            control: transport.control(),
            transport,
            topic: TOPIC.into(),
            broker: MemoryBroker::committed_only(&kafka),
        }
    }

    fn not_applicable(&self) -> Vec<Law> {
        Law::OF_TRANSACTIONS.to_vec()
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
