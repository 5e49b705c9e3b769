//! The test's hand on the broker.

use std::fmt;
use std::sync::Arc;

use kafka_tower_core::gate::Limits;
use kafka_tower_core::{InFlight, Timestamp, validate};

use crate::broker::Broker;
use crate::log::StoredRecord;
use crate::rule::Rule;
use crate::transport::MemoryTransport;

/// 10,000 records and 32 MiB.
pub const DEFAULT_LIMITS: Limits = Limits { records: 10_000, bytes: 32 << 20 };

/// The zero of the broker's clock, 2024-01-01 00:00 UTC: the time stamp of a first record that has none of its own.
/// Later ones count on by tokio's clock, so that they are the same in each run under a paused one.
pub const EPOCH: Timestamp = Timestamp::from_millis(1_704_067_200_000);

/// A Kafka in memory. A clone is another handle on the same one.
///
/// ```
/// use kafka_tower_memory::MemoryKafka;
///
/// let kafka = MemoryKafka::new().with_topic("orders", 3).with_topic("bills", 1);
/// assert_eq!(kafka.partition_count("orders"), Some(3));
/// assert_eq!(kafka.len("orders"), 0);
/// ```
#[derive(Clone)]
pub struct MemoryKafka {
    broker: Arc<Broker>,
}

impl MemoryKafka {
    /// A Kafka without topics, which refuses records for topics that do not exist.
    #[must_use]
    pub fn new() -> Self {
        Self { broker: Broker::new() }
    }

    /// Makes a topic. See [`create_topic`](Self::create_topic).
    ///
    /// # Panics
    ///
    /// As `create_topic` does.
    #[must_use]
    pub fn with_topic(self, name: &str, partitions: u32) -> Self {
        self.create_topic(name, partitions);
        self
    }

    /// Lets the first record of an unknown topic make it, with so many partitions.
    ///
    /// # Panics
    ///
    /// If there are none, or more than `i32` counts.
    #[must_use]
    pub fn with_auto_create(self, partitions: u32) -> Self {
        check_partitions(partitions);
        self.broker.with_log(|log| log.set_auto_create(partitions));
        self
    }

    /// Lets a topic refuse larger records. See [`set_max_record_bytes`](Self::set_max_record_bytes).
    ///
    /// # Panics
    ///
    /// As `set_max_record_bytes` does.
    #[must_use]
    pub fn with_max_record_bytes(self, topic: &str, bytes: usize) -> Self {
        self.set_max_record_bytes(topic, bytes);
        self
    }

    /// Makes a topic. One that exists with as many partitions is left as it is.
    ///
    /// # Panics
    ///
    /// If Kafka would refuse it: a bad name, no partitions, or the topic exists with another number of them.
    pub fn create_topic(&self, name: &str, partitions: u32) {
        if let Err(error) = validate::topic_name(name) {
            panic!("{error:#}");
        }
        check_partitions(partitions);
        if let Err(count) = self.broker.with_log(|log| log.create(name.into(), partitions)) {
            panic!("topic {name} exists with {count} partitions, not {partitions}");
        }
    }

    /// Lets a topic refuse records of more bytes of key, value and headers, as `max.message.bytes` does.
    ///
    /// # Panics
    ///
    /// If there is no such topic.
    pub fn set_max_record_bytes(&self, topic: &str, bytes: usize) {
        let found = self.broker.with_log(|log| log.set_max_record_bytes(topic, bytes));
        assert!(found, "topic {topic} does not exist");
    }

    /// A producer with [`DEFAULT_LIMITS`]. Each call makes another one.
    #[must_use]
    pub fn transport(&self) -> MemoryTransport {
        self.transport_with(DEFAULT_LIMITS)
    }

    /// A producer that has at most so much on its way; limits of 0 count as 1.
    #[must_use]
    pub fn transport_with(&self, limits: Limits) -> MemoryTransport {
        MemoryTransport::new(Arc::clone(&self.broker), limits)
    }

    /// Begins a rule for records to come.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kafka_tower_core::{Error, ErrorKind};
    /// use kafka_tower_memory::MemoryKafka;
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 3);
    /// kafka.script().times(2).fail(Error::new(ErrorKind::Broker, "no leader"));
    /// kafka.script().on_topic("orders").always().delay(Duration::from_millis(5));
    /// kafka.script().on_partition("orders", 1).after(2).lose_answer();
    /// let hold = kafka.script().hold();
    /// hold.release();
    /// ```
    pub fn script(&self) -> Rule {
        Rule::new(Arc::clone(&self.broker))
    }

    /// Takes all rules out of the script. Records that they have taken go on, held ones until their release.
    pub fn clear_script(&self) {
        self.broker.with_script(crate::script::Script::clear);
    }

    /// The records of a topic, by partition and offset. None for an unknown topic.
    #[must_use]
    pub fn records(&self, topic: &str) -> Vec<StoredRecord> {
        self.broker.with_log(|log| log.records(topic).cloned().collect())
    }

    /// The records of a partition, by offset. None for an unknown one.
    #[must_use]
    pub fn partition(&self, topic: &str, partition: i32) -> Vec<StoredRecord> {
        self.broker.with_log(|log| log.partition(topic, partition).to_vec())
    }

    /// How many records a topic has. 0 for an unknown topic.
    #[must_use]
    pub fn len(&self, topic: &str) -> usize {
        self.broker.with_log(|log| log.records(topic).count())
    }

    /// Whether no topic has a record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.broker.with_log(|log| log.topics().all(|topic| log.records(topic).next().is_none()))
    }

    /// How many partitions a topic has.
    #[must_use]
    pub fn partition_count(&self, topic: &str) -> Option<u32> {
        self.broker.with_log(|log| log.partition_count(topic))
    }

    /// What all transports handed over and has not been answered, as counted by the broker: `parked` is 0.
    #[must_use]
    pub fn unanswered(&self) -> InFlight {
        self.broker.unanswered()
    }

    /// The topics by name.
    #[must_use]
    pub fn topics(&self) -> Vec<Arc<str>> {
        self.broker.with_log(|log| log.topics().cloned().collect())
    }
}

fn check_partitions(partitions: u32) {
    assert!(partitions > 0, "a topic has at least one partition");
    assert!(i32::try_from(partitions).is_ok(), "{partitions} are more partitions than Kafka counts");
}

impl Default for MemoryKafka {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryKafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKafka").field("topics", &self.topics()).field("unanswered", &self.unanswered()).finish()
    }
}
