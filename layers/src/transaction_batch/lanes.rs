//! Which lane a record belongs to. No clock, no lock, no async.

use std::hash::{DefaultHasher, Hash, Hasher};

use kafka_tower_core::partitioner::partition_for_key;
use kafka_tower_core::{Record, Result};

use super::errors;

/// Returns the lane of a record among `lanes`. A partition belongs to one lane, so that its order is kept.
pub(super) fn lane(record: &Record, lanes: usize) -> usize {
    if lanes == 1 {
        return 0;
    }
    // Fixed keys: the same topic has the same hash in each layer of the process. Its partitions take the lanes in turn.
    let mut hash = DefaultHasher::new();
    record.topic.hash(&mut hash);
    let partition = record.partition.and_then(|partition| u64::try_from(partition).ok()).unwrap_or_default();
    (hash.finish().wrapping_add(partition) % lanes as u64) as usize
}

/// Returns the partition that decides the lane: the record's own, or its key's among `count` partitions.
pub(super) fn partition(record: &Record, count: Option<u32>) -> Result<i32> {
    match (record.partition, &record.key, count) {
        (Some(partition), ..) => Ok(partition),
        (None, None, _) => Err(errors::no_partition(&record.topic)),
        (None, Some(_), None | Some(0)) => Err(errors::no_partition_count(&record.topic)),
        (None, Some(key), Some(count)) => Ok(partition_for_key(key, count)),
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::{ErrorKind, Persistence};

    use super::*;

    #[test]
    fn a_partition_has_one_lane_and_all_lanes_are_used() {
        let lane_of = |partition| lane(&Record::new("orders").with_partition(partition), 3);
        let mut used = [0; 3];
        for partition in 0..9 {
            assert_eq!(lane_of(partition), lane_of(partition));
            used[lane_of(partition)] += 1;
        }
        assert_eq!(used, [3; 3], "a topic's partitions are shared out evenly");
        assert_eq!(lane(&Record::new("orders"), 1), 0);
    }

    #[test]
    fn the_key_decides_if_no_partition_is_named() {
        let keyed = Record::new("orders").with_key("42");
        assert_eq!(partition(&keyed, Some(3)).unwrap(), partition_for_key(b"42", 3));
        assert_eq!(partition(&keyed.clone().with_partition(7), Some(3)).unwrap(), 7);
        for error in [partition(&keyed, None), partition(&Record::new("orders"), Some(3))].map(Result::unwrap_err) {
            assert_eq!(error.persistence(), Persistence::NotPersisted);
        }
        assert_eq!(partition(&Record::new("orders"), Some(3)).unwrap_err().kind(), ErrorKind::InvalidRecord);
    }
}
