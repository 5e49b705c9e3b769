use std::sync::Arc;

use kafka_tower_core::Record;

use super::positions::{LastTopic, Positions};
use super::strategy::{Choice, round_robin};
use super::{PartitionCounts, PartitionStrategy, Partitioner};

/// Picks the partition of records. Shared by the services of a layer, except for the strategy.
#[derive(Clone)]
pub(super) struct Picker {
    pub(super) strategy: PartitionStrategy,
    pub(super) partitioner: Option<Arc<dyn Partitioner>>,
    pub(super) counts: Arc<dyn PartitionCounts>,
    pub(super) positions: Arc<Positions>,
}

impl Picker {
    #[inline]
    pub(super) fn partition(&self, record: &Record, last: &mut LastTopic) -> Option<i32> {
        if self.strategy.choose(record.partition) == Choice::Keep {
            return record.partition;
        }
        self.pick(record, last)
    }

    fn pick(&self, record: &Record, last: &mut LastTopic) -> Option<i32> {
        match self.strategy.choose(None) {
            Choice::Keep => record.partition,
            Choice::Fixed(partition) => Some(partition),
            // The position does not advance while the count is unknown.
            Choice::RoundRobin => {
                let partitions = self.counts.partition_count(&record.topic)?;
                round_robin(last.next(&self.positions, &record.topic), partitions)
            }
            // No lock is held here, so a panic affects only this call.
            Choice::Partitioner => {
                let partitioner = self.partitioner.as_ref()?;
                partitioner.partition(record, self.counts.partition_count(&record.topic)?)
            }
        }
    }
}
