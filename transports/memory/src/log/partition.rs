//! One partition: records, transaction markers, and what a `read_committed` consumer may see of them.

use std::collections::BTreeMap;

use kafka_tower_core::Timestamp;

use super::StoredRecord;
use super::sequences::Sequences;

/// The end of a transaction in a partition. As in Kafka it takes an offset, and consumers do not receive it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Marker {
    /// Offset of the marker.
    pub offset: i64,
    /// Producer of the transaction.
    pub producer_id: i64,
    /// Whether the transaction was committed; otherwise it was aborted.
    pub committed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Partition {
    /// Sorted by offset; markers leave gaps.
    records: Vec<StoredRecord>,
    markers: Vec<Marker>,
    /// The first offset that was not deleted.
    start: i64,
    next: i64,
    sequences: Sequences,
    leader_epoch: i32,
    /// First offset of each open transaction, by producer.
    open: BTreeMap<i64, i64>,
    /// First offset of each aborted transaction, by producer and offset of its marker.
    aborted: BTreeMap<(i64, i64), i64>,
}

impl Partition {
    /// Writes a record and returns its offset.
    pub(crate) fn append(&mut self, mut record: StoredRecord) -> i64 {
        let offset = self.next;
        self.next += 1;
        if let Some(producer) = record.producer_id {
            self.open.entry(producer).or_insert(offset);
        }
        record.offset = offset;
        self.records.push(record);
        offset
    }

    /// Ends a producer's open transaction in this partition.
    pub(crate) fn end(&mut self, producer_id: i64, committed: bool) {
        let offset = self.next;
        self.next += 1;
        self.markers.push(Marker { offset, producer_id, committed });
        if let (Some(first), false) = (self.open.remove(&producer_id), committed) {
            self.aborted.insert((producer_id, offset), first);
        }
    }

    pub(crate) fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// Returns the new leader's epoch.
    pub(crate) fn move_leader(&mut self) -> i32 {
        self.leader_epoch += 1;
        self.leader_epoch
    }

    pub(crate) fn sequences(&mut self) -> &mut Sequences {
        &mut self.sequences
    }

    pub(crate) fn records(&self) -> &[StoredRecord] {
        &self.records
    }

    /// The record at an offset.
    #[cfg(feature = "sim")]
    pub(crate) fn at(&self, offset: i64) -> Option<&StoredRecord> {
        let index = self.records.binary_search_by_key(&offset, |record| record.offset).ok()?;
        self.records.get(index)
    }

    pub(crate) fn markers(&self) -> &[Marker] {
        &self.markers
    }

    /// The offset of the next record.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.next
    }

    /// The first offset that was not deleted.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// Deletes everything before an offset, which is at most the end. Returns the records: drop them without the broker's lock,
    /// because their memory may be the application's.
    pub(crate) fn delete_before(&mut self, offset: i64) -> Vec<StoredRecord> {
        self.start = offset.clamp(self.start, self.next);
        let deleted = self.records.partition_point(|record| record.offset < self.start);
        self.markers.retain(|marker| marker.offset >= self.start);
        self.records.drain(..deleted).collect()
    }

    /// First offset of the first open transaction: `read_committed` consumers read no further.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        self.open.values().min().copied().unwrap_or(self.next)
    }

    /// The records that a `read_committed` consumer sees.
    pub(crate) fn committed(&self) -> impl Iterator<Item = &StoredRecord> {
        let stable = self.last_stable_offset();
        let below = self.records.iter().take_while(move |record| record.offset < stable);
        below.filter(|record| !self.is_aborted(record))
    }

    /// The first record at or after an offset, for a `read_committed` or `read_uncommitted` consumer.
    pub(crate) fn from(&self, offset: i64, committed_only: bool) -> Option<&StoredRecord> {
        let first = self.records.partition_point(|record| record.offset < offset);
        let mut records = self.records[first..].iter();
        if !committed_only {
            return records.next();
        }
        let stable = self.last_stable_offset();
        records.take_while(|record| record.offset < stable).find(|record| !self.is_aborted(record))
    }

    /// At most `max` records from an offset of the log on, and the offset at which the next read continues.
    pub(crate) fn read(&self, from: i64, committed_only: bool, max: usize) -> (Vec<StoredRecord>, i64) {
        let end = if committed_only { self.last_stable_offset() } else { self.next };
        let first = self.records.partition_point(|record| record.offset < from);
        let below = self.records[first..].iter().take_while(|record| record.offset < end);
        let visible = below.filter(|record| !committed_only || !self.is_aborted(record));
        let records: Vec<_> = visible.take(max).cloned().collect();
        let last = records.last().filter(|_| records.len() == max);
        let next = last.map_or(end.max(from), |record| record.offset + 1);
        (records, next)
    }

    /// The offset of the first record with this timestamp or a later one. Timestamps need not grow.
    pub(crate) fn first_since(&self, time: Timestamp) -> Option<i64> {
        self.records.iter().find(|record| record.timestamp >= time).map(|record| record.offset)
    }

    fn is_aborted(&self, record: &StoredRecord) -> bool {
        let Some(producer) = record.producer_id else {
            return false;
        };
        // The transaction's end is the producer's first marker after the record.
        let end = self.aborted.range((producer, record.offset)..=(producer, i64::MAX)).next();
        end.is_some_and(|(_, first)| *first <= record.offset)
    }
}

impl StoredRecord {
    /// Creates a record without an offset.
    pub(crate) fn new(
        partition: i32,
        timestamp: Timestamp,
        record: kafka_tower_core::Record,
        producer_id: Option<i64>,
    ) -> Self {
        Self { partition, offset: -1, timestamp, record, producer_id }
    }
}

#[cfg(test)]
mod tests;
