use super::KafkaSinkConfig;

/// Presets for a purpose. Settings not listed have their defaults.
impl KafkaSinkConfig {
    /// Preset for many records per second: large batches, time to fill them, and room for them.
    ///
    /// Use it with [`send_stream`](crate::KafkaSink::send_stream), with batches of tens of thousands of messages, and
    /// with many tasks that send at once. A record that is sent alone, and the last one of a batch, waits for
    /// `linger_ms`.
    ///
    /// | field | value |
    /// |---|---|
    /// | `batch_size` | 10 000 |
    /// | `linger_ms` | 100 |
    /// | `compression_type` | `lz4` |
    /// | `buffer_memory` | 67 108 864 (64 MiB) |
    /// | `max_in_flight_requests` | 10 |
    ///
    /// With idempotence, which is on by default, the client uses at most 5 requests per broker: Kafka's limit. The 10
    /// doubles the number of records that the sink admits.
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

    /// Preset that sends each record at once, alone in its request and uncompressed.
    ///
    /// Use it for records that are sent one after the other, each awaited. With many records at once it is slower than
    /// the defaults, because each record is a request of its own.
    ///
    /// | field | value |
    /// |---|---|
    /// | `batch_size` | 1 |
    /// | `linger_ms` | 0 |
    /// | `compression_type` | `none` |
    /// | `max_in_flight_requests` | 1 |
    ///
    /// One request at a time: the sink admits two records per partition, and the next one waits for an answer. For low
    /// latency under load, raise `max_in_flight_requests` to 5; idempotence keeps the order.
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

    /// Preset for transactions: consumers with `isolation.level=read_committed` read each record exactly once or not at
    /// all.
    ///
    /// | field | value |
    /// |---|---|
    /// | `enable_idempotence`, `enable_transactions` | true |
    /// | `acks` | `all` |
    /// | `max_retries` | 10 |
    /// | `max_in_flight_requests` | 1 |
    ///
    /// `transactional_id` identifies this producer to the brokers. Keep it the same across restarts. Two running
    /// producers must not share it: the later one fences the earlier.
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

    /// The literals of the specification, word for word. They leave out the topic, which is required.
    #[test]
    fn presets_match_the_specification() {
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
    fn presets_have_no_conflicts() {
        for preset in [
            KafkaSinkConfig::high_throughput("a", "t"),
            KafkaSinkConfig::low_latency("a", "t"),
            KafkaSinkConfig::exactly_once("a", "t", "id"),
        ] {
            assert_eq!(preset.warnings(), [""; 0]);
        }
    }
}
