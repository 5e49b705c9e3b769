//! The decision as a value: without looking up counts and without locks.

/// How a record that names no partition gets one. Default: `KeyHash`. See the [module](super).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PartitionStrategy {
    /// The key's partition by Java's murmur2. Without a key the transport chooses.
    #[default]
    KeyHash,
    /// One partition after another, whatever the key. The handles of a layer share the position.
    RoundRobin,
    /// This partition for all records.
    Single(i32),
    /// The result of a [`Partitioner`](super::Partitioner); without one, as `KeyHash`.
    Custom,
}

/// Decision for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Keep the record as it is.
    Keep,
    Fixed(i32),
    /// Use the next partition in turn.
    RoundRobin,
    /// Call the partitioner.
    Partitioner,
}

impl PartitionStrategy {
    #[inline]
    pub(super) fn choose(self, own: Option<i32>) -> Choice {
        match (own, self) {
            (Some(_), _) | (None, Self::KeyHash) => Choice::Keep,
            (None, Self::RoundRobin) => Choice::RoundRobin,
            (None, Self::Single(partition)) => Choice::Fixed(partition),
            (None, Self::Custom) => Choice::Partitioner,
        }
    }
}

/// Returns the partition of a topic's `position`-th record; `None` if there are no partitions.
pub(super) fn round_robin(position: usize, partitions: u32) -> Option<i32> {
    // Remainder in 64 bits: neither cast loses bits.
    let partition = (position as u64).checked_rem(u64::from(partitions))?;
    i32::try_from(partition).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn strategies() -> impl Strategy<Value = PartitionStrategy> {
        prop_oneof![
            Just(PartitionStrategy::KeyHash),
            Just(PartitionStrategy::RoundRobin),
            any::<i32>().prop_map(PartitionStrategy::Single),
            Just(PartitionStrategy::Custom),
        ]
    }

    proptest! {
        #[test]
        fn a_record_keeps_its_own_partition(strategy in strategies(), own: i32) {
            prop_assert_eq!(strategy.choose(Some(own)), Choice::Keep);
        }

        #[test]
        fn single_returns_its_partition_unchanged(partition: i32) {
            prop_assert_eq!(PartitionStrategy::Single(partition).choose(None), Choice::Fixed(partition));
        }

        /// From any start, as many records as there are partitions go one to each.
        #[test]
        fn a_round_visits_each_partition_once(first in 0..usize::MAX / 2, partitions in 1..200u32) {
            let mut round: Vec<_> = (0..partitions as usize).map(|n| round_robin(first + n, partitions).unwrap()).collect();
            round.sort_unstable();
            prop_assert_eq!(round, (0..partitions as i32).collect::<Vec<_>>());
        }

        #[test]
        fn round_robin_returns_an_existing_partition_or_none(position: usize, partitions: u32) {
            match round_robin(position, partitions) {
                Some(partition) => prop_assert!(partition >= 0 && (partition as u32) < partitions),
                None => prop_assert!(partitions == 0 || partitions > i32::MAX as u32),
            }
        }
    }

    #[test]
    fn key_hash_leaves_the_partition_to_the_transport() {
        assert_eq!(PartitionStrategy::default(), PartitionStrategy::KeyHash);
        assert_eq!(PartitionStrategy::KeyHash.choose(None), Choice::Keep);
        assert_eq!(PartitionStrategy::RoundRobin.choose(None), Choice::RoundRobin);
        assert_eq!(PartitionStrategy::Custom.choose(None), Choice::Partitioner);
    }
}
