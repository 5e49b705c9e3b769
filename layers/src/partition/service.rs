use std::fmt;
use std::task::{Context, Poll};

use kafka_tower_core::Record;
use tower_service::Service;

use super::PartitionLayer;
use super::positions::LastTopic;
use super::strategy::{Choice, round_robin};

/// Service that picks the partition of records. Created by [`PartitionLayer`].
#[derive(Clone)]
pub struct Partition<S> {
    inner: S,
    layer: PartitionLayer,
    last: LastTopic,
}

impl<S> Partition<S> {
    pub(super) fn new(inner: S, layer: PartitionLayer) -> Self {
        Self { inner, layer, last: LastTopic::default() }
    }

    inner_service!();

    fn partition(&mut self, record: &Record) -> Option<i32> {
        match self.layer.strategy.choose(record.partition) {
            Choice::Keep => record.partition,
            Choice::Fixed(partition) => Some(partition),
            // The position does not advance while the count is unknown.
            Choice::RoundRobin => {
                let partitions = self.layer.counts.partition_count(&record.topic)?;
                round_robin(self.last.next(&self.layer.positions, &record.topic), partitions)
            }
            // No lock is held here, so a panic affects only this call.
            Choice::Partitioner => {
                let partitioner = self.layer.partitioner.as_ref()?;
                partitioner.partition(record, self.layer.counts.partition_count(&record.topic)?)
            }
        }
    }
}

impl<S: Service<Record>> Service<Record> for Partition<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut record: Record) -> S::Future {
        record.partition = self.partition(&record);
        self.inner.call(record)
    }
}

impl<S: fmt::Debug> fmt::Debug for Partition<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("strategy", &self.layer.strategy).field("inner", &self.inner).finish()
    }
}
