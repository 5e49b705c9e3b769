use std::sync::Arc;

use kafka_tower_core::{Control, Record};

/// User-defined mapping from records to partitions. Implemented for closures.
///
/// ```
/// use kafka_tower_core::{Record, partitioner::partition_for_key};
/// use kafka_tower_layers::partition::Partitioner;
///
/// /// The last partition is for large customers, the others for everyone else.
/// fn by_size(record: &Record, partitions: u32) -> Option<i32> {
///     match (&record.key, partitions) {
///         (Some(key), 2..) if key.starts_with(b"large-") => i32::try_from(partitions - 1).ok(),
///         (Some(key), 2..) => Some(partition_for_key(key, partitions - 1)),
///         _ => None,
///     }
/// }
///
/// assert_eq!(by_size.partition(&Record::new("orders").with_key("large-7"), 6), Some(5));
/// assert_eq!(by_size.partition(&Record::new("orders"), 6), None);
/// ```
pub trait Partitioner: Send + Sync {
    /// Returns the partition of a record whose topic has `partitions` partitions. `None` lets the transport choose.
    ///
    /// It runs inside the `call` of a send and should not block. The transport refuses a partition that does not
    /// exist.
    fn partition(&self, record: &Record, partitions: u32) -> Option<i32>;
}

impl<F: Fn(&Record, u32) -> Option<i32> + Send + Sync> Partitioner for F {
    fn partition(&self, record: &Record, partitions: u32) -> Option<i32> {
        self(record, partitions)
    }
}

impl<P: Partitioner + ?Sized> Partitioner for Arc<P> {
    fn partition(&self, record: &Record, partitions: u32) -> Option<i32> {
        (**self).partition(record, partitions)
    }
}

/// Source of partition counts: a transport's [`Control`], or a closure.
pub trait PartitionCounts: Send + Sync {
    /// Number of partitions of the topic, if it is known without asking the cluster. Never blocks.
    fn partition_count(&self, topic: &str) -> Option<u32>;
}

impl<C: Control + ?Sized> PartitionCounts for Arc<C> {
    fn partition_count(&self, topic: &str) -> Option<u32> {
        Control::partition_count(&**self, topic)
    }
}

impl<F: Fn(&str) -> Option<u32> + Send + Sync> PartitionCounts for F {
    fn partition_count(&self, topic: &str) -> Option<u32> {
        self(topic)
    }
}
