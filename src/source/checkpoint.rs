use std::collections::BTreeMap;
use std::fmt;

use kafka_tower_core::TopicPartition;

/// Offsets of partitions: for each, that of the next record to read.
///
/// [`KafkaSource::checkpoint`](super::KafkaSource::checkpoint) makes one, to be stored with the results of messages;
/// [`StartFrom::Explicit`](crate::StartFrom::Explicit) takes one. With the crate feature `serde` it is a map of topics to maps
/// of partitions to offsets.
///
/// ```
/// use kafka_tower::source::Checkpoint;
/// use kafka_tower::TopicPartition;
///
/// let checkpoint: Checkpoint = [(TopicPartition::new("orders", 0), 42)].into_iter().collect();
/// assert_eq!(checkpoint.get("orders", 0), Some(42));
/// # #[cfg(feature = "json")]
/// assert_eq!(serde_json::to_string(&checkpoint).unwrap(), r#"{"orders":{"0":42}}"#);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Checkpoint {
    topics: BTreeMap<String, BTreeMap<i32, i64>>,
}

impl Checkpoint {
    /// Creates one without partitions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The offset of a partition.
    #[must_use]
    pub fn get(&self, topic: &str, partition: i32) -> Option<i64> {
        self.topics.get(topic)?.get(&partition).copied()
    }

    /// Sets the offset of a partition.
    pub fn insert(&mut self, at: &TopicPartition, offset: i64) {
        self.topics.entry(at.topic.to_string()).or_default().insert(at.partition, offset);
    }

    /// Returns whether it has no partition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The partitions with their offsets, in order.
    pub fn iter(&self) -> impl Iterator<Item = (TopicPartition, i64)> + '_ {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(|(partition, offset)| (TopicPartition::new(topic.as_str(), *partition), *offset))
        })
    }
}

impl FromIterator<(TopicPartition, i64)> for Checkpoint {
    fn from_iter<I: IntoIterator<Item = (TopicPartition, i64)>>(offsets: I) -> Self {
        let mut checkpoint = Self::new();
        offsets.into_iter().for_each(|(at, offset)| checkpoint.insert(&at, offset));
        checkpoint
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
