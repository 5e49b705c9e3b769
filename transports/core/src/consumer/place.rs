//! Partitions, and places in them.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::Timestamp;

/// A partition of a topic.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

/// By topic, then by partition.
impl Ord for TopicPartition {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        // Most are of the same topic, and share its text.
        let topics =
            if Arc::ptr_eq(&self.topic, &other.topic) { Ordering::Equal } else { self.topic.cmp(&other.topic) };
        topics.then(self.partition.cmp(&other.partition))
    }
}

impl PartialOrd for TopicPartition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A partition as it is read at present. The epoch changes with each assignment and each seek, and is never used again:
/// whatever belongs to another epoch is stale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The partition.
    pub at: TopicPartition,
    /// Number of this reading of the partition.
    pub epoch: u64,
}

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeekTo {
    /// The first record that is still in the log.
    Beginning,
    /// The end of the log: only records that are written later are behind it.
    End,
    /// The first readable record at this offset or behind it.
    Offset(i64),
    /// The first record with this timestamp or a later one; the end of the log if there is none.
    Timestamp(Timestamp),
}
