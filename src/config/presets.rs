use super::KafkaSinkConfig;

/// Settings for a purpose. What they leave alone has its default.
impl KafkaSinkConfig {
    /// Many records a second: large batches that wait to be filled, with room for them.
    ///
    /// For [`send_stream`](crate::KafkaSink::send_stream), batches of tens of thousands, and many tasks that send at once. A record that
    /// is sent alone, or the last of a batch, waits for `linger_ms`.
    ///
    /// | field | value |
    /// |---|---|
    /// | `batch_size` | 10 000 |
    /// | `linger_ms` | 100 |
    /// | `compression_type` | `lz4` |
    /// | `buffer_memory` | 67 108 864 (64 MiB) |
    /// | `max_in_flight_requests` | 10 |
    ///
    /// The client keeps to 5 requests a broker while idempotence is on, as it is by default: that is Kafka's rule. The 10 doubles what
    /// the sink admits.
    ///
    /// ```
    /// use kafka_tower::KafkaSinkConfig;
    ///
    /// let config = KafkaSinkConfig::high_throughput("kafka-1:9092", "clicks");
    /// config.validate()?;
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    #[must_use]
    pub fn high_throughput(brokers: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            topic: topic.into(),
            batch_size: 10_000,
            linger_ms: 100,
            compression_type: "lz4".to_owned(),
            buffer_memory: 67_108_864,
            max_in_flight_requests: 10,
            ..Self::default()
        }
    }

    /// Each record at once: alone in its request, not compressed.
    ///
    /// For records that are sent one after the other, each awaited. Many at once are slower than with the defaults, because each is a
    /// request of its own.
    ///
    /// | field | value |
    /// |---|---|
    /// | `batch_size` | 1 |
    /// | `linger_ms` | 0 |
    /// | `compression_type` | `none` |
    /// | `max_in_flight_requests` | 1 |
    ///
    /// One request at a time: the sink admits two records a partition, and the next one waits for an answer. For low latency
    /// under load raise `max_in_flight_requests` to 5; idempotence keeps the order.
    ///
    /// ```
    /// use kafka_tower::KafkaSinkConfig;
    ///
    /// let config = KafkaSinkConfig::low_latency("kafka-1:9092", "alarms");
    /// config.validate()?;
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    #[must_use]
    pub fn low_latency(brokers: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            topic: topic.into(),
            batch_size: 1,
            linger_ms: 0,
            compression_type: "none".to_owned(),
            max_in_flight_requests: 1,
            ..Self::default()
        }
    }

    /// Transactions: a record is read once, or not at all, by consumers with `isolation.level=read_committed`.
    ///
    /// | field | value |
    /// |---|---|
    /// | `enable_idempotence`, `enable_transactions` | true |
    /// | `acks` | `all` |
    /// | `max_retries` | 10 |
    /// | `max_in_flight_requests` | 1 |
    ///
    /// `transactional_id` names this producer to the brokers. It outlives restarts, and no two producers that run at the
    /// same time may share it: the later one fences the earlier.
    ///
    /// ```
    /// use kafka_tower::KafkaSinkConfig;
    ///
    /// let config = KafkaSinkConfig::exactly_once("kafka-1:9092", "payments", "payments-0");
    /// config.validate()?;
    /// # Ok::<(), kafka_tower::Error>(())
    /// ```
    #[must_use]
    pub fn exactly_once(
        brokers: impl Into<String>,
        topic: impl Into<String>,
        transactional_id: impl Into<String>,
    ) -> Self {
        Self {
            brokers: brokers.into(),
            topic: topic.into(),
            enable_idempotence: true,
            enable_transactions: true,
            transactional_id: Some(transactional_id.into()),
            acks: "all".to_owned(),
            max_retries: 10,
            max_in_flight_requests: 1,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The literals of the specification, word for word; it leaves the topic out, which is required.
    #[test]
    fn presets_are_what_the_specification_writes() {
        let throughput = KafkaSinkConfig {
            batch_size: 10000,
            linger_ms: 100,
            compression_type: "lz4".to_string(),
            buffer_memory: 67108864, // 64MB
            max_in_flight_requests: 10,
            ..Default::default()
        };
        let latency = KafkaSinkConfig {
            batch_size: 1,
            linger_ms: 0,
            compression_type: "none".to_string(),
            max_in_flight_requests: 1,
            ..Default::default()
        };
        let reliability = KafkaSinkConfig {
            enable_idempotence: true,
            enable_transactions: true,
            transactional_id: Some("unique-id".to_string()),
            acks: "all".to_string(),
            max_retries: 10,
            max_in_flight_requests: 1,
            ..Default::default()
        };
        let written = [
            (throughput, KafkaSinkConfig::high_throughput("localhost:9092", "t")),
            (latency, KafkaSinkConfig::low_latency("localhost:9092", "t")),
            (reliability, KafkaSinkConfig::exactly_once("localhost:9092", "t", "unique-id")),
        ];
        for (literal, preset) in written {
            let literal = KafkaSinkConfig { topic: "t".to_string(), ..literal };
            assert_eq!(literal, preset);
            assert_eq!(preset.conflicts(), []);
        }
    }

    #[test]
    fn presets_do_not_fight_with_themselves() {
        for preset in [
            KafkaSinkConfig::high_throughput("a", "t"),
            KafkaSinkConfig::low_latency("a", "t"),
            KafkaSinkConfig::exactly_once("a", "t", "id"),
        ] {
            assert_eq!(preset.warnings(), [""; 0]);
        }
    }
}
