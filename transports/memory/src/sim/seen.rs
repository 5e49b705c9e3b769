//! The records of the workload that consumers see.

use std::collections::BTreeMap;

use kafka_tower_core::Delivery;

use super::workload::{TOPIC, number_of};
use crate::log::Partition;
use crate::{MemoryKafka, StoredRecord};

/// Partition and offset of each copy of the workload's records, sorted by offset.
pub(crate) type Seen = BTreeMap<u32, Vec<(i32, i64)>>;

/// Returns the copies of each record.
pub(crate) fn seen<'a>(records: impl IntoIterator<Item = &'a StoredRecord>) -> Seen {
    let mut seen = Seen::new();
    for stored in records {
        if let Some(id) = number_of(&stored.record) {
            seen.entry(id).or_default().push((stored.partition, stored.offset));
        }
    }
    seen.values_mut().for_each(|copies| copies.sort_by_key(|(_, offset)| *offset));
    seen
}

/// Whether a `read_committed` consumer sees the record now.
pub(crate) fn is_committed(kafka: &MemoryKafka, id: u32) -> bool {
    let is_it = |stored: &StoredRecord| number_of(&stored.record) == Some(id);
    kafka.look(|log| log.partitions(TOPIC).iter().flat_map(Partition::committed).any(is_it))
}

/// Whether the record is in the log now. Looks first at the reported position.
pub(crate) fn is_in_log(kafka: &MemoryKafka, id: u32, delivery: Option<&Delivery>) -> bool {
    kafka.look(|log| {
        let is_it = |stored: &StoredRecord| number_of(&stored.record) == Some(id);
        let named = delivery.and_then(|d| log.partition(TOPIC, d.partition)?.at(d.offset?));
        named.is_some_and(is_it) || log.records(TOPIC).any(is_it)
    })
}
