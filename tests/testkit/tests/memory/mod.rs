//! The in-memory Kafka as the broker of a fixture.
#![allow(dead_code)] // each test binary uses a part

use std::time::Duration;

use kafka_tower_memory::{Hold, MemoryKafka, StoredRecord};
use kafka_tower_testkit::{Broker, LogRecord, NotApplicable};

pub(crate) const TOPIC: &str = "laws";

pub(crate) struct MemoryBroker {
    kafka: MemoryKafka,
    /// Time until it answers; zero: within the call.
    delay: Duration,
    /// `read` returns what `read_committed` does.
    committed_only: bool,
    paused: Option<Hold>,
}

impl MemoryBroker {
    pub(crate) fn new(kafka: &MemoryKafka, delay: Duration) -> Self {
        let broker = Self { kafka: kafka.clone(), delay, committed_only: false, paused: None };
        broker.answer();
        broker
    }

    /// For a transport whose records are visible only after a commit.
    pub(crate) fn committed_only(kafka: &MemoryKafka) -> Self {
        Self { committed_only: true, ..Self::new(kafka, Duration::ZERO) }
    }

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
        match self.committed_only {
            true => self.read_committed().await,
            false => self.kafka.records(TOPIC).iter().map(in_log).collect(),
        }
    }

    async fn read_committed(&self) -> Vec<LogRecord> {
        self.kafka.committed(TOPIC).iter().map(in_log).collect()
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
