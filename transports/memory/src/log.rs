//! Topics, partitions and offsets: what a broker keeps. No clock, no lock, no async.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_tower_core::partitioner::partition_for_key;
use kafka_tower_core::{Delivery, Record, Result, Timestamp};

use crate::errors;

/// A record in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredRecord {
    /// The partition it is in.
    pub partition: i32,
    /// Its offset there, from 0 on without gaps.
    pub offset: i64,
    /// The time stamp that the log keeps: the record's own, else the [deterministic clock's](crate::EPOCH).
    pub timestamp: Timestamp,
    /// The record as the transport got it.
    pub record: Record,
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

#[derive(Debug, Default)]
pub(crate) struct Log {
    topics: BTreeMap<Arc<str>, Topic>,
    /// Partitions of a topic that is made by its first record.
    auto_create: Option<u32>,
}

#[derive(Debug)]
struct Topic {
    partitions: Vec<Vec<StoredRecord>>,
    max_record_bytes: usize,
}

impl Log {
    pub(crate) fn set_auto_create(&mut self, partitions: u32) {
        self.auto_create = Some(partitions);
    }

    /// Makes a topic, or answers how many partitions it has already.
    pub(crate) fn create(&mut self, topic: Arc<str>, partitions: u32) -> Result<(), u32> {
        if let Some(count) = self.partition_count(&topic) {
            return if count == partitions { Ok(()) } else { Err(count) };
        }
        let partitions = (0..partitions).map(|_| Vec::new()).collect();
        self.topics.insert(topic, Topic { partitions, max_record_bytes: usize::MAX });
        Ok(())
    }

    /// Says whether there is such a topic.
    pub(crate) fn set_max_record_bytes(&mut self, topic: &str, bytes: usize) -> bool {
        let found = self.topics.get_mut(topic);
        found.map(|topic| topic.max_record_bytes = bytes).is_some()
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.keys()
    }

    pub(crate) fn partition_count(&self, topic: &str) -> Option<u32> {
        self.topics.get(topic).map(Topic::count)
    }

    /// The partition of a record: its own, else its key's, else the next in turn, counted by `turn`.
    pub(crate) fn route(&mut self, record: &Record, turn: impl FnOnce() -> u32) -> Result<i32> {
        let topic = &record.topic;
        if let (false, Some(partitions)) = (self.topics.contains_key(topic), self.auto_create) {
            // It was not there, so that it cannot have another count.
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

    /// Appends to a partition that [`route`](Self::route) named.
    pub(crate) fn append(&mut self, record: &Record, partition: i32, timestamp: Timestamp) -> Result<Delivery> {
        let topic = self.topics.get_mut(&record.topic).ok_or_else(|| errors::unknown_topic(&record.topic))?;
        if record.size() > topic.max_record_bytes {
            return Err(errors::larger_than_topic(&record.topic, record.size(), topic.max_record_bytes));
        }
        let count = topic.count();
        let records =
            topic.partition_mut(partition).ok_or_else(|| errors::unknown_partition(&record.topic, partition, count))?;
        let offset = records.len() as i64;
        records.push(StoredRecord { partition, offset, timestamp, record: record.clone() });
        Ok(Delivery::new(Arc::clone(&record.topic), partition).with_offset(offset).with_timestamp(timestamp))
    }

    /// The records of a partition; none where there is no such partition.
    pub(crate) fn partition(&self, topic: &str, partition: i32) -> &[StoredRecord] {
        let index = usize::try_from(partition).ok();
        let records = index.and_then(|index| self.topics.get(topic)?.partitions.get(index));
        records.map_or(&[], Vec::as_slice)
    }

    /// The records of a topic, by partition and offset.
    pub(crate) fn records(&self, topic: &str) -> impl Iterator<Item = &StoredRecord> {
        self.topics.get(topic).into_iter().flat_map(|topic| topic.partitions.iter().flatten())
    }
}

impl Topic {
    fn count(&self) -> u32 {
        self.partitions.len() as u32
    }

    fn partition_mut(&mut self, partition: i32) -> Option<&mut Vec<StoredRecord>> {
        self.partitions.get_mut(usize::try_from(partition).ok()?)
    }
}

#[cfg(test)]
mod tests;
