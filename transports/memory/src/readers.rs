//! What consumers see, and what tests can ask the broker.

use kafka_tower_core::{ConsumerGroup, InFlight};

use crate::MemoryKafka;
use crate::log::{Marker, Partition, StoredRecord};

impl MemoryKafka {
    /// The records of a topic that a `read_committed` consumer sees, by partition and offset: none of aborted
    /// transactions, and none behind the first open one.
    #[must_use]
    pub fn committed(&self, topic: &str) -> Vec<StoredRecord> {
        self.broker.with_log(|log| log.partitions(topic).iter().flat_map(Partition::committed).cloned().collect())
    }

    /// The records of a partition that a `read_committed` consumer sees.
    #[must_use]
    pub fn committed_partition(&self, topic: &str, partition: i32) -> Vec<StoredRecord> {
        let look = |found: &Partition| found.committed().cloned().collect();
        self.broker.with_log(|log| log.partition(topic, partition).map(look).unwrap_or_default())
    }

    /// The transaction markers of a partition, by offset.
    #[must_use]
    pub fn markers(&self, topic: &str, partition: i32) -> Vec<Marker> {
        let look = |found: &Partition| found.markers().to_vec();
        self.broker.with_log(|log| log.partition(topic, partition).map(look).unwrap_or_default())
    }

    /// First offset of the first open transaction of a partition, or the partition's end if none is open:
    /// `read_committed` consumers read up to it. `None` for an unknown partition.
    #[must_use]
    pub fn last_stable_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.broker.with_log(|log| log.partition(topic, partition).map(Partition::last_stable_offset))
    }

    /// The offset of a partition's next record. `None` for an unknown partition.
    #[must_use]
    pub fn high_watermark(&self, topic: &str, partition: i32) -> Option<i64> {
        self.broker.with_log(|log| log.partition(topic, partition).map(Partition::high_watermark))
    }

    /// Starts a new generation of a consumer group, as a rebalance does, and returns the metadata of a member in it.
    /// From then on offsets are accepted only from the current generation.
    #[must_use]
    pub fn rebalance(&self, group: &str) -> ConsumerGroup {
        let generation = self.broker.with_store(|store| store.groups.rebalance(group));
        let member_id = format!("{group}-member-{generation}");
        ConsumerGroup { group_id: group.to_owned(), generation, member_id, group_instance_id: None }
    }

    /// The committed offset of a consumer group: the offset of the next record to read.
    #[must_use]
    pub fn committed_offset(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        self.broker.with_store(|store| store.groups.committed(group, topic, partition))
    }

    /// The records of a topic by partition and offset, as a `read_uncommitted` consumer sees them. Empty for an
    /// unknown topic.
    #[must_use]
    pub fn records(&self, topic: &str) -> Vec<StoredRecord> {
        self.broker.with_log(|log| log.records(topic).cloned().collect())
    }

    /// The records of a partition by offset, as a `read_uncommitted` consumer sees them. Empty for an unknown
    /// partition.
    #[must_use]
    pub fn partition(&self, topic: &str, partition: i32) -> Vec<StoredRecord> {
        let look = |found: &Partition| found.records().to_vec();
        self.broker.with_log(|log| log.partition(topic, partition).map(look).unwrap_or_default())
    }

    /// Number of records in a topic. 0 for an unknown topic.
    #[must_use]
    pub fn len(&self, topic: &str) -> usize {
        self.broker.with_log(|log| log.records(topic).count())
    }

    /// Whether no topic has a record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.broker.with_log(|log| log.topics().all(|topic| log.records(topic).next().is_none()))
    }

    /// Number of partitions of a topic. `None` for an unknown topic.
    #[must_use]
    pub fn partition_count(&self, topic: &str) -> Option<u32> {
        self.broker.with_log(|log| log.partition_count(topic))
    }

    /// Records that all transports have handed over and the broker has not answered. `parked` is always 0.
    #[must_use]
    pub fn unanswered(&self) -> InFlight {
        self.broker.unanswered()
    }
}

#[cfg(feature = "sim")]
impl MemoryKafka {
    pub(crate) fn look<T>(&self, look: impl FnOnce(&crate::log::Log) -> T) -> T {
        self.broker.with_log(|log| look(log))
    }

    pub(crate) fn replay_faults(&self, seed: u64, faults: crate::Faults, only: Option<crate::faults::plan::Listed>) {
        self.broker.set_plan(Some(crate::faults::plan::Plan::new(seed, faults, only)));
    }

    pub(crate) fn listed_faults(&self) -> crate::faults::plan::Listed {
        self.broker.with_plan(|plan| plan.listed().clone()).unwrap_or_default()
    }
}
