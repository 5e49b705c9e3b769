//! Which lane a record belongs to. No clock, no lock, no async.

use std::hash::{DefaultHasher, Hash, Hasher};

use kafka_tower_core::partitioner::partition_for_key;
use kafka_tower_core::{Record, Result};

use super::errors;
use super::unit::Unit;

/// Returns the lane of a record among `lanes`. A partition belongs to one lane, so that its order is kept.
pub(super) fn lane(record: &Record, lanes: usize) -> usize {
    if lanes == 1 {
        return 0;
    }
    let partition = record.partition.and_then(|partition| u32::try_from(partition).ok()).unwrap_or_default();
    lane_of(&record.topic, partition, lanes)
}

/// Returns the lane of a partition.
pub(super) fn lane_of(topic: &str, partition: u32, lanes: usize) -> usize {
    // Fixed keys: the same topic has the same hash in each layer of the process. Its partitions take the lanes in turn.
    let mut hash = DefaultHasher::new();
    topic.hash(&mut hash);
    (hash.finish().wrapping_add(u64::from(partition)) % lanes as u64) as usize
}

/// Returns the partition that decides the lane: the record's own, or its key's among `count` partitions. If it has
/// neither, returns `Err(count)`: any partition will do.
pub(super) fn partition(record: &Record, count: impl FnOnce() -> Option<u32>) -> Result<std::result::Result<i32, u32>> {
    if let Some(partition) = record.partition {
        return Ok(Ok(partition));
    }
    let count = count().filter(|count| *count > 0).ok_or_else(|| errors::no_partition_count(&record.topic))?;
    Ok(record.key.as_ref().map(|key| partition_for_key(key, count)).ok_or(count))
}

/// Returns the lane of a unit among `lanes`: that of its input partitions.
///
/// # Errors
///
/// With several lanes: its input partitions have different lanes, or it has none.
pub(super) fn of_unit(unit: &Unit, lanes: usize) -> Result<usize> {
    if unit.records.is_empty() && unit.offsets.is_empty() {
        return Err(errors::empty_unit());
    }
    if lanes == 1 {
        return Ok(0);
    }
    let lane = |partition: i32, topic: &str| lane_of(topic, u32::try_from(partition).unwrap_or_default(), lanes);
    let mut inputs = unit.offsets.iter().map(|offset| lane(offset.partition, &offset.topic));
    match inputs.next() {
        Some(first) if inputs.all(|other| other == first) => Ok(first),
        Some(_) => Err(errors::unit_of_several_lanes(&unit.name())),
        None => Err(errors::unit_without_lane(&unit.name())),
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::{ErrorKind, Persistence};

    use super::*;

    #[test]
    fn a_partition_has_one_lane_and_all_lanes_are_used() {
        let lane_of_record = |partition| lane(&Record::new("orders").with_partition(partition), 3);
        let mut used = [0; 3];
        for partition in 0..9 {
            assert_eq!(lane_of_record(partition), lane_of("orders", partition.try_into().unwrap(), 3));
            used[lane_of_record(partition)] += 1;
        }
        assert_eq!(used, [3; 3], "a topic's partitions are shared out evenly");
        assert_eq!(lane(&Record::new("orders"), 1), 0);
    }

    #[test]
    fn the_key_decides_if_no_partition_is_named() {
        let keyed = Record::new("orders").with_key("42");
        assert_eq!(partition(&keyed, || Some(3)).unwrap(), Ok(partition_for_key(b"42", 3)));
        assert_eq!(partition(&keyed.clone().with_partition(7), || unreachable!("not needed")).unwrap(), Ok(7));
        assert_eq!(partition(&Record::new("orders"), || Some(3)).unwrap(), Err(3), "any");
        for record in [keyed, Record::new("orders")] {
            let error = partition(&record, || None).unwrap_err();
            let facts = (error.kind(), error.persistence());
            assert_eq!(facts, (ErrorKind::UnknownTopicOrPartition, Persistence::NotPersisted));
        }
    }
}
