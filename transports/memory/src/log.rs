//! Topics, partitions and offsets: the broker's storage. No clock, no lock, no async.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_tower_core::partitioner::partition_for_key;
use kafka_tower_core::{Delivery, Error, Record, Result, Scope, Timestamp};

use crate::errors;

mod partition;
mod sequences;

pub use partition::Marker;
pub(crate) use partition::Partition;
pub(crate) use sequences::Sequence;
use sequences::Verdict;

/// A record in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredRecord {
    /// The partition that contains the record.
    pub partition: i32,
    /// The offset in the partition, from 0. Only the [markers](Marker) of transactions leave gaps.
    pub offset: i64,
    /// The timestamp in the log: the record's own, otherwise that of the [deterministic clock](crate::EPOCH).
    pub timestamp: Timestamp,
    /// The record as the transport received it.
    pub record: Record,
    /// The producer of the record's transaction, if it belongs to one.
    pub producer_id: Option<i64>,
}

impl StoredRecord {
    /// The record's key.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        self.record.key.as_ref()
    }

    /// The record's value.
    #[must_use]
    pub fn value(&self) -> Option<&Bytes> {
        self.record.value.as_ref()
    }
}

/// Origin of a record.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    /// The producer of the record's transaction.
    pub(crate) transaction: Option<i64>,
    /// Its sequence, if its producer numbers records.
    pub(crate) sequence: Option<Sequence>,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    topics: BTreeMap<Arc<str>, Topic>,
    /// Number of partitions of a topic that is created by its first record.
    auto_create: Option<u32>,
}

#[derive(Debug)]
struct Topic {
    partitions: Vec<Partition>,
    max_record_bytes: usize,
    /// `cleanup.policy=compact`: records need keys.
    compacted: bool,
}

impl Log {
    pub(crate) fn set_auto_create(&mut self, partitions: u32) {
        self.auto_create = Some(partitions);
    }

    /// Creates a topic, or returns the number of partitions that it already has.
    pub(crate) fn create(&mut self, topic: Arc<str>, partitions: u32) -> Result<(), u32> {
        if let Some(count) = self.partition_count(&topic) {
            return if count == partitions { Ok(()) } else { Err(count) };
        }
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        self.topics.insert(topic, Topic { partitions, max_record_bytes: usize::MAX, compacted: false });
        Ok(())
    }

    /// Returns whether the topic exists.
    pub(crate) fn set_max_record_bytes(&mut self, topic: &str, bytes: usize) -> bool {
        let found = self.topics.get_mut(topic);
        found.map(|topic| topic.max_record_bytes = bytes).is_some()
    }

    /// Returns whether the topic exists.
    pub(crate) fn set_compacted(&mut self, topic: &str) -> bool {
        self.topics.get_mut(topic).map(|topic| topic.compacted = true).is_some()
    }

    /// Returns the error of a whole batch for one partition, if there is one.
    pub(crate) fn judge(&self, batch: &[&Record]) -> Option<Error> {
        let name = &batch.first()?.topic;
        let topic = self.topics.get(name)?;
        let scope = if batch.len() == 1 { Scope::Record } else { Scope::Batch };
        let bytes: usize = batch.iter().map(|record| record.size()).sum();
        if bytes > topic.max_record_bytes {
            return Some(errors::larger_than_topic(name, bytes, topic.max_record_bytes).with_scope(scope));
        }
        let keyless = topic.compacted && batch.iter().any(|record| record.key.is_none());
        keyless.then(|| errors::without_key(name).with_scope(scope))
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &Arc<str>> + Clone {
        self.topics.keys()
    }

    pub(crate) fn partition_count(&self, topic: &str) -> Option<u32> {
        self.topics.get(topic).map(Topic::count)
    }

    /// Chooses the partition of a record: its own, otherwise its key's, otherwise round robin by `turn`.
    pub(crate) fn route(&mut self, record: &Record, turn: impl FnOnce() -> u32) -> Result<i32> {
        let topic = &record.topic;
        if let Some(partitions) = self.auto_create.filter(|_| !self.topics.contains_key(topic)) {
            // The topic was missing, so it cannot have another number of partitions.
            let _ = self.create(Arc::clone(topic), partitions);
        }
        let count = self.partition_count(topic).ok_or_else(|| errors::unknown_topic(topic))?;
        match (record.partition, &record.key) {
            (Some(partition), _) if u32::try_from(partition).is_ok_and(|p| p < count) => Ok(partition),
            (Some(partition), _) => Err(errors::unknown_partition(topic, partition, count)),
            (None, Some(key)) => Ok(partition_for_key(key, count)),
            (None, None) => Ok((turn() % count) as i32),
        }
    }

    /// Appends to a partition that [`route`](Self::route) returned. A duplicate is not written again.
    pub(crate) fn append(
        &mut self,
        record: &Record,
        partition: i32,
        timestamp: Timestamp,
        origin: Origin,
    ) -> Result<Delivery> {
        let topic = self.topics.get_mut(&record.topic).ok_or_else(|| errors::unknown_topic(&record.topic))?;
        if record.size() > topic.max_record_bytes {
            return Err(errors::larger_than_topic(&record.topic, record.size(), topic.max_record_bytes));
        }
        if topic.compacted && record.key.is_none() {
            return Err(errors::without_key(&record.topic).with_scope(Scope::Record));
        }
        let count = topic.count();
        let stored =
            topic.partition_mut(partition).ok_or_else(|| errors::unknown_partition(&record.topic, partition, count))?;
        let delivery = Delivery::new(Arc::clone(&record.topic), partition);
        let verdict = origin.sequence.map_or(Verdict::New, |sequence| stored.sequences().look(sequence));
        let offset = match verdict {
            Verdict::New => stored.append(StoredRecord::new(partition, timestamp, record.clone(), origin.transaction)),
            Verdict::Duplicate(offset) => return Ok(delivery.with_offset(offset)),
            Verdict::OldDuplicate => return Ok(delivery),
            Verdict::OutOfOrder | Verdict::OldEpoch => return Err(errors::out_of_order(&record.topic, partition)),
        };
        if let Some(sequence) = origin.sequence {
            stored.sequences().write(sequence, offset);
        }
        Ok(delivery.with_offset(offset).with_timestamp(timestamp))
    }

    /// Returns the new leader's epoch; `None` if the partition does not exist.
    pub(crate) fn move_leader(&mut self, topic: &str, partition: i32) -> Option<i32> {
        Some(self.topics.get_mut(topic)?.partition_mut(partition)?.move_leader())
    }

    /// Writes the marker that ends a producer's transaction in a partition.
    pub(crate) fn end(&mut self, topic: &str, partition: i32, producer_id: i64, committed: bool) {
        if let Some(found) = self.topics.get_mut(topic).and_then(|topic| topic.partition_mut(partition)) {
            found.end(producer_id, committed);
        }
    }

    pub(crate) fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topics.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    /// Takes out the records of a partition before an offset, if the partition exists.
    pub(crate) fn delete_before(&mut self, topic: &str, partition: i32, offset: i64) -> Option<Vec<StoredRecord>> {
        Some(self.topics.get_mut(topic)?.partition_mut(partition)?.delete_before(offset))
    }

    /// The partitions of a topic; empty if it does not exist.
    pub(crate) fn partitions(&self, topic: &str) -> &[Partition] {
        self.topics.get(topic).map_or(&[], |topic| &topic.partitions)
    }

    /// The records of a topic by partition and offset, including those of open and aborted transactions.
    pub(crate) fn records(&self, topic: &str) -> impl Iterator<Item = &StoredRecord> {
        self.partitions(topic).iter().flat_map(Partition::records)
    }
}

impl Topic {
    fn count(&self) -> u32 {
        self.partitions.len() as u32
    }

    fn partition_mut(&mut self, partition: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(partition).ok()?)
    }
}

#[cfg(test)]
mod tests;
