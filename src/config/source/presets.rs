use kafka_tower_core::Isolation;
use kafka_tower_core::source::{CommitStrategy, OutOfRangePolicy};

use super::KafkaSourceConfig;

/// Presets for a purpose. Settings not listed have their defaults.
impl KafkaSourceConfig {
    /// Preset for many records per second: large responses, and room for them.
    ///
    /// | field | value |
    /// |---|---|
    /// | `buffer_records` | 200 000 |
    /// | `buffer_bytes` | 268 435 456 (256 MiB) |
    /// | `fetch_min_bytes` | 65 536 (64 KiB) |
    /// | `partition_fetch_bytes` | 4 194 304 (4 MiB) |
    ///
    /// When few records arrive, they come up to 100 ms later than with the defaults.
    ///
    /// ```
    /// use kafka_tower::KafkaSourceConfig;
    ///
    /// let config = KafkaSourceConfig::high_throughput("kafka-1:9092", "billing", ["orders"]);
    /// config.validate()?;
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    #[must_use]
    pub fn high_throughput<T: Into<String>>(
        brokers: impl Into<String>,
        group_id: impl Into<String>,
        topics: impl IntoIterator<Item = T>,
    ) -> Self {
        Self {
            buffer_records: 200_000,
            buffer_bytes: 268_435_456,
            fetch_min_bytes: 65_536,
            partition_fetch_bytes: 4_194_304,
            ..Self::of(brokers, group_id, topics)
        }
    }

    /// Preset for records that are handled as soon as they arrive.
    ///
    /// | field | value |
    /// |---|---|
    /// | `commit_interval_ms` | 1 000 |
    /// | `buffer_records` | 5 000 |
    /// | `buffer_bytes` | 16 777 216 (16 MiB) |
    /// | `fetch_max_wait_ms` | 10 |
    ///
    /// A broker answers at once when a record arrives, also with the defaults. With this preset a partition that is new after
    /// a rebalance or a seek does not wait for an answer about the others for longer than 10 ms, fewer messages lie between
    /// the broker and the application, and fewer come again after a crash. An idle consumer asks each broker 100 times a
    /// second.
    ///
    /// ```
    /// use kafka_tower::KafkaSourceConfig;
    ///
    /// let config = KafkaSourceConfig::low_latency("kafka-1:9092", "pager", ["alarms"]);
    /// config.validate()?;
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    #[must_use]
    pub fn low_latency<T: Into<String>>(
        brokers: impl Into<String>,
        group_id: impl Into<String>,
        topics: impl IntoIterator<Item = T>,
    ) -> Self {
        Self {
            commit_interval_ms: 1_000,
            buffer_records: 5_000,
            buffer_bytes: 16_777_216,
            fetch_max_wait_ms: 10,
            ..Self::of(brokers, group_id, topics)
        }
    }

    /// Preset for [`KafkaSource::transactional`](crate::KafkaSource::transactional): consume, transform and produce exactly once.
    /// The sink is that of [`KafkaSinkConfig::exactly_once`](crate::KafkaSinkConfig::exactly_once).
    ///
    /// | field | value |
    /// |---|---|
    /// | `commit` | `Transaction` |
    /// | `isolation` | `ReadCommitted`, also the default: what aborted transactions wrote is no input |
    /// | `on_out_of_range` | `Fail`: input that was deleted before it was read is not passed over |
    ///
    /// ```
    /// use kafka_tower::KafkaSourceConfig;
    ///
    /// let config = KafkaSourceConfig::exactly_once("kafka-1:9092", "billing", ["orders"]);
    /// config.validate()?;
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    #[must_use]
    pub fn exactly_once<T: Into<String>>(
        brokers: impl Into<String>,
        group_id: impl Into<String>,
        topics: impl IntoIterator<Item = T>,
    ) -> Self {
        Self {
            commit: CommitStrategy::Transaction,
            isolation: Isolation::ReadCommitted,
            on_out_of_range: Some(OutOfRangePolicy::Fail),
            ..Self::of(brokers, group_id, topics)
        }
    }

    fn of<T: Into<String>>(
        brokers: impl Into<String>,
        group_id: impl Into<String>,
        topics: impl IntoIterator<Item = T>,
    ) -> Self {
        let topics = topics.into_iter().map(Into::into).collect();
        Self { brokers: brokers.into(), group_id: group_id.into(), topics, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_no_conflicts_and_no_warnings() {
        for preset in [
            KafkaSourceConfig::high_throughput("a", "g", ["t"]),
            KafkaSourceConfig::low_latency("a", "g", vec!["t".to_owned()]),
            KafkaSourceConfig::exactly_once("a", "g", ["t"]),
        ] {
            assert_eq!(preset.conflicts(), []);
            assert_eq!(preset.warnings(), [""; 0]);
        }
    }
}
