//! The broker of the toy transport: a log in this process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kafka_tower_core::{Delivery, Record};
use kafka_tower_testkit::{Broker, LogRecord, NotApplicable};

pub(crate) const TOPIC: &str = "toys";

/// Called once, when the record is in the log.
pub(crate) type Report = Box<dyn FnOnce(Delivery) + Send>;

pub(crate) struct ToyBroker(Mutex<State>);

struct State {
    partitions: Vec<Vec<Record>>,
    paused: bool,
    waiting: VecDeque<(Record, Report)>,
}

impl ToyBroker {
    pub(crate) fn new(partitions: u32) -> Arc<Self> {
        let partitions = (0..partitions).map(|_| Vec::new()).collect();
        Arc::new(Self(Mutex::new(State { partitions, paused: false, waiting: VecDeque::new() })))
    }

    pub(crate) fn partition_count(&self, topic: &str) -> Option<u32> {
        (topic == TOPIC).then(|| self.state().partitions.len() as u32)
    }

    /// Appends the record to its partition and reports where, at once or after a pause.
    pub(crate) fn produce(&self, record: Record, report: Report) {
        let mut state = self.state();
        state.waiting.push_back((record, report));
        let reports = state.append();
        drop(state);
        reports.into_iter().for_each(|(delivery, report)| report(delivery));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self) -> Vec<(Delivery, Report)> {
        let mut reports = Vec::new();
        while !self.paused {
            let Some((record, report)) = self.waiting.pop_front() else { break };
            let partition = record.partition.unwrap_or(0);
            let log = &mut self.partitions[partition as usize];
            let delivery = Delivery::new(Arc::clone(&record.topic), partition).with_offset(log.len() as i64);
            log.push(record);
            reports.push((delivery, report));
        }
        reports
    }
}

/// How the laws read the log, and stop the broker. A newtype only because both trait and `Arc` are foreign here.
pub(crate) struct UnderTest(pub(crate) Arc<ToyBroker>);

impl Broker for UnderTest {
    async fn read(&self) -> Vec<LogRecord> {
        let state = self.0.state();
        let partitions = state.partitions.iter().enumerate();
        let records = partitions.flat_map(|(partition, log)| {
            let offsets = log.iter().enumerate();
            offsets.map(move |(offset, record)| LogRecord::new(partition as i32, offset as i64, record))
        });
        records.collect()
    }

    async fn pause(&mut self) -> Result<(), NotApplicable> {
        self.0.state().paused = true;
        Ok(())
    }

    async fn resume(&mut self) {
        let mut state = self.0.state();
        state.paused = false;
        let reports = state.append();
        drop(state);
        reports.into_iter().for_each(|(delivery, report)| report(delivery));
    }
}
