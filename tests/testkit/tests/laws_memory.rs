//! The laws on the in-memory Kafka, under a paused clock.
#![allow(clippy::unwrap_used)] // a test may fail

mod memory;

use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_memory::{MemoryKafka, MemoryTransport};
use kafka_tower_testkit::{Fixture, NotApplicable, Opened, OpenedPair, law_tests};

use crate::memory::{MemoryBroker, TOPIC};

/// Answers after this time; zero: within the call.
struct Memory(Duration);

impl Fixture for Memory {
    type Transport = MemoryTransport;
    type Broker = MemoryBroker;

    async fn open(&self, limits: Limits, partitions: u32) -> Opened<MemoryTransport, MemoryBroker> {
        let kafka = MemoryKafka::new().with_topic(TOPIC, partitions);
        self.opened(&kafka, kafka.transport_with(limits))
    }

    async fn open_transactional(&self) -> Result<OpenedPair<MemoryTransport, MemoryBroker>, NotApplicable> {
        let kafka = MemoryKafka::new().with_topic(TOPIC, 1);
        let transactional = self.opened(&kafka, kafka.transactional_transport("id"));
        transactional.control.transactions().unwrap().init(self.patience()).await.unwrap();
        Ok(OpenedPair { transactional, plain: self.opened(&kafka, kafka.transport()) })
    }
}

impl Memory {
    fn opened(&self, kafka: &MemoryKafka, transport: MemoryTransport) -> Opened<MemoryTransport, MemoryBroker> {
        let broker = MemoryBroker::new(kafka, self.0);
        Opened { control: transport.control(), transport, topic: TOPIC.into(), broker }
    }
}

mod at_once {
    use super::*;

    law_tests!(
        #[tokio::test(start_paused = true)]
        Memory(Duration::ZERO)
    );
}

mod later {
    use super::*;

    law_tests!(
        #[tokio::test(start_paused = true)]
        Memory(Duration::from_millis(1))
    );
}
