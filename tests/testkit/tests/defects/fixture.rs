//! The in-memory Kafka, with a defect in front of it.

use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_memory::{Hold, MemoryKafka, MemoryTransport, StoredRecord};
use kafka_tower_testkit::{Broker, Fixture, LogRecord, NotApplicable, Opened, OpenedPair};

use crate::broken::{Broken, Defect};

pub(crate) struct Planted(pub(crate) Option<Defect>);

impl Planted {
    fn opened(&self, kafka: &MemoryKafka, transport: MemoryTransport) -> Opened<Broken, MemoryBroker> {
        kafka.script().always().delay(DELAY);
        let transport = Broken::new(transport, self.0);
        let broker = MemoryBroker { kafka: kafka.clone(), paused: None };
        Opened { control: transport.control(), transport, topic: "laws".into(), broker }
    }
}

impl Fixture for Planted {
    type Transport = Broken;
    type Broker = MemoryBroker;

    async fn open(&self, mut limits: Limits, partitions: u32) -> Opened<Broken, MemoryBroker> {
        limits.records += usize::from(self.0 == Some(Defect::AdmitsOneMore));
        let kafka = MemoryKafka::new().with_topic("laws", partitions);
        self.opened(&kafka, kafka.transport_with(limits))
    }

    async fn open_transactional(&self) -> Result<OpenedPair<Broken, MemoryBroker>, NotApplicable> {
        let kafka = MemoryKafka::new().with_topic("laws", 1);
        let transactional = self.opened(&kafka, kafka.transactional_transport("id"));
        transactional.control.transactions().unwrap().init(self.patience()).await.unwrap();
        Ok(OpenedPair { transactional, plain: self.opened(&kafka, kafka.transport()) })
    }
}

/// Time until the broker answers.
const DELAY: Duration = Duration::from_millis(1);

pub(crate) struct MemoryBroker {
    kafka: MemoryKafka,
    paused: Option<Hold>,
}

fn in_log(stored: &StoredRecord) -> LogRecord {
    LogRecord::new(stored.partition, stored.offset, &stored.record)
}

impl Broker for MemoryBroker {
    async fn read(&self) -> Vec<LogRecord> {
        self.kafka.records("laws").iter().map(in_log).collect()
    }

    async fn read_committed(&self) -> Vec<LogRecord> {
        self.kafka.committed("laws").iter().map(in_log).collect()
    }

    async fn pause(&mut self) -> Result<(), NotApplicable> {
        self.kafka.clear_script();
        self.paused = Some(self.kafka.script().always().hold());
        Ok(())
    }

    async fn resume(&mut self) {
        self.paused = None;
        self.kafka.clear_script();
        self.kafka.script().always().delay(DELAY);
    }
}
