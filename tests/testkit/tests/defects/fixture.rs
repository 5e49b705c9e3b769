//! The in-memory Kafka, with a defect in front of it.

use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_memory::{MemoryKafka, MemoryTransport};
use kafka_tower_testkit::{Fixture, NotApplicable, Opened, OpenedPair};

use crate::broken::{Broken, Defect};
use crate::memory::{MemoryBroker, TOPIC};

pub(crate) struct Planted(pub(crate) Option<Defect>);

impl Planted {
    fn opened(&self, kafka: &MemoryKafka, transport: MemoryTransport) -> Opened<Broken, MemoryBroker> {
        let broker = MemoryBroker::new(kafka, DELAY);
        let transport = Broken::new(transport, self.0);
        Opened { control: transport.control(), transport, topic: TOPIC.into(), broker }
    }
}

impl Fixture for Planted {
    type Transport = Broken;
    type Broker = MemoryBroker;

    async fn open(&self, mut limits: Limits, partitions: u32) -> Opened<Broken, MemoryBroker> {
        limits.records += usize::from(self.0 == Some(Defect::AdmitsOneMore));
        let kafka = MemoryKafka::new().with_topic(TOPIC, partitions);
        self.opened(&kafka, kafka.transport_with(limits))
    }

    async fn open_transactional(&self) -> Result<OpenedPair<Broken, MemoryBroker>, NotApplicable> {
        let kafka = MemoryKafka::new().with_topic(TOPIC, 1);
        let transactional = self.opened(&kafka, kafka.transactional_transport("id"));
        transactional.control.transactions().unwrap().init(self.patience()).await.unwrap();
        Ok(OpenedPair { transactional, plain: self.opened(&kafka, kafka.transport()) })
    }
}

/// Time until the broker answers.
const DELAY: Duration = Duration::from_millis(1);
