//! The laws on the in-memory Kafka, under a paused clock.
#![allow(clippy::unwrap_used)] // a test may fail

use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_memory::{Hold, MemoryKafka, MemoryTransport, StoredRecord};
use kafka_tower_testkit::{Broker, Fixture, LogRecord, NotApplicable, Opened, OpenedPair, law_tests};

/// Answers after this time; zero: within the call.
struct Memory(Duration);

impl Fixture for Memory {
    type Transport = MemoryTransport;
    type Broker = MemoryBroker;

    async fn open(&self, limits: Limits, partitions: u32) -> Opened<MemoryTransport, MemoryBroker> {
        let kafka = MemoryKafka::new().with_topic("laws", partitions);
        self.opened(&kafka, kafka.transport_with(limits))
    }

    async fn open_transactional(&self) -> Result<OpenedPair<MemoryTransport, MemoryBroker>, NotApplicable> {
        let kafka = MemoryKafka::new().with_topic("laws", 1);
        let transactional = self.opened(&kafka, kafka.transactional_transport("id"));
        transactional.control.transactions().unwrap().init(self.patience()).await.unwrap();
        Ok(OpenedPair { transactional, plain: self.opened(&kafka, kafka.transport()) })
    }
}

impl Memory {
    fn opened(&self, kafka: &MemoryKafka, transport: MemoryTransport) -> Opened<MemoryTransport, MemoryBroker> {
        let broker = MemoryBroker { kafka: kafka.clone(), delay: self.0, paused: None };
        broker.answer();
        Opened { control: transport.control(), transport, topic: "laws".into(), broker }
    }
}

struct MemoryBroker {
    kafka: MemoryKafka,
    delay: Duration,
    paused: Option<Hold>,
}

impl MemoryBroker {
    fn answer(&self) {
        self.kafka.clear_script();
        if !self.delay.is_zero() {
            self.kafka.script().always().delay(self.delay);
        }
    }
}

fn in_log(stored: &StoredRecord) -> LogRecord {
    let record = LogRecord::new(stored.partition, stored.offset, &stored.record);
    LogRecord { timestamp: Some(stored.timestamp.as_millis()), ..record }
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
        self.answer();
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
