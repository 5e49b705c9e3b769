//! Runs every code block of the specification, unchanged except for addresses and topic names, against a real Apache
//! Kafka. An independent reader checks what was sent.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may fail, and show what it does

use kafka_tower_testkit::kafka::{self as cluster, Cluster, Isolation};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct MetricResult {
    service: String,
    avg_latency: f64,
    count: u64,
}

fn metric(service: &str) -> MetricResult {
    MetricResult { service: service.to_string(), avg_latency: 123.45, count: 1000 }
}

async fn topic(prefix: &str) -> Option<(&'static Cluster, String, String)> {
    let kafka = cluster::shared().await?;
    let topic = kafka.topic(prefix, 4).await.unwrap();
    Some((kafka, kafka.bootstrap().to_string(), topic))
}

mod basic_message_sending {
    use super::*;
    use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage};

    #[tokio::test]
    async fn runs_as_written() -> Result<(), Box<dyn std::error::Error>> {
        let Some((kafka, brokers, topic)) = topic("basic").await else { return Ok(()) };
        // Configure sink
        let config = KafkaSinkConfig { brokers, topic: topic.clone(), enable_idempotence: true, ..Default::default() };

        // Create sink
        let sink = KafkaSink::<MetricResult>::new(config).await?;

        // Send message
        let result = MetricResult { service: "api-gateway".to_string(), avg_latency: 123.45, count: 1000 };

        let message = SinkMessage::new(result)
            .with_key("api-gateway".to_string())
            .with_header("region".to_string(), "us-east-1".to_string());

        sink.send(message).await?;

        // Graceful shutdown
        sink.close().await?;

        let read = kafka.read(&topic).await?;
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].key.as_deref(), Some(&b"api-gateway"[..]));
        assert_eq!(read[0].headers, [("region".to_string(), Some(b"us-east-1".to_vec()))]);
        assert_eq!(serde_json::from_str::<MetricResult>(&read[0].text())?, metric("api-gateway"));
        let expected = kafka_tower_core::partitioner::partition_for_key(b"api-gateway", 4);
        assert_eq!(read[0].partition, expected);
        Ok(())
    }
}

mod batch_sending {
    use super::*;
    use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage};

    #[tokio::test]
    async fn runs_as_written() -> Result<(), Box<dyn std::error::Error>> {
        let Some((kafka, brokers, topic)) = topic("batch").await else { return Ok(()) };
        let results: Vec<_> = (0..2_500).map(|n| metric(&format!("service-{}", n % 10))).collect();
        // Configure for high throughput
        let config = KafkaSinkConfig {
            brokers,
            topic: topic.clone(),
            batch_size: 1000,
            linger_ms: 100,
            compression_type: "snappy".to_string(),
            ..Default::default()
        };

        let sink = KafkaSink::<MetricResult>::new(config).await?;

        // Create batch
        let messages: Vec<_> =
            results.into_iter().map(|r| SinkMessage::new(r).with_key_from(|r| r.service.clone())).collect();

        // Send batch
        let results = sink.send_batch(messages).await?;

        // Check results
        let successful = results.iter().filter(|r| r.is_ok()).count();
        println!("Sent {successful} messages");

        assert_eq!(successful, 2_500);
        let read = kafka.read(&topic).await?;
        assert_eq!(read.len(), 2_500);
        for record in read {
            let metric: MetricResult = serde_json::from_str(&record.text())?;
            assert_eq!(record.key.as_deref(), Some(metric.service.as_bytes()));
        }
        Ok(())
    }
}

mod transactional_sending {
    use super::*;
    use kafka_tower::{DeliveryGuarantee, KafkaSink, KafkaSinkConfig, SinkMessage};

    #[tokio::test]
    async fn runs_as_written() -> Result<(), Box<dyn std::error::Error>> {
        let Some((kafka, brokers, topic)) = topic("transactional").await else { return Ok(()) };
        let results: Vec<_> = (0..5).map(|n| metric(&format!("service-{n}"))).collect();
        let config = KafkaSinkConfig {
            brokers,
            topic: topic.clone(),
            enable_transactions: true,
            transactional_id: Some(format!("{topic}-id")),
            enable_idempotence: true,
            ..Default::default()
        };

        let sink =
            KafkaSink::<MetricResult>::new(config).await?.with_delivery_guarantee(DeliveryGuarantee::ExactlyOnce);

        // Begin transaction
        sink.begin_transaction().await?;

        // Send messages
        for result in results {
            let message = SinkMessage::new(result);
            sink.send(message).await?;
        }
        assert_eq!(kafka.read_as(&topic, Isolation::Committed).await?.len(), 0, "not before the commit");

        // Commit transaction (or abort on error)
        sink.commit_transaction().await?;
        assert_eq!(kafka.read_committed(&topic).await?.len(), 5);

        sink.begin_transaction().await?;
        sink.send(SinkMessage::new(metric("aborted"))).await?;
        sink.abort_transaction().await?;
        assert_eq!(kafka.read_committed(&topic).await?.len(), 5);
        Ok(())
    }
}

mod custom_serialization {
    use super::*;
    use kafka_tower::{BincodeSerializer, KafkaSink, KafkaSinkConfig, MessageSerializer, Result, async_trait};
    use std::sync::Arc;

    // Or implement custom serializer
    struct CustomSerializer;

    #[async_trait]
    impl<T: Serialize + Send + Sync> MessageSerializer<T> for CustomSerializer {
        async fn serialize(&self, message: &T) -> Result<Vec<u8>> {
            // Custom serialization logic
            let _ = message;
            Ok(vec![])
        }

        fn content_type(&self) -> &str {
            "application/custom"
        }
    }

    #[tokio::test]
    async fn runs_as_written() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let Some((kafka, brokers, topic)) = topic("custom").await else { return Ok(()) };
        let config = KafkaSinkConfig { brokers, topic: topic.clone(), ..Default::default() };

        // Use Bincode for binary serialization
        let sink = KafkaSink::<MetricResult>::with_serializer(config.clone(), Arc::new(BincodeSerializer)).await?;
        sink.send(metric("api")).await?;
        let read = kafka.read(&topic).await?;
        // bincode 1's layout: length as u64, text, f64, u64, little-endian.
        let mut expected = 3u64.to_le_bytes().to_vec();
        expected.extend(b"api");
        expected.extend(123.45f64.to_le_bytes());
        expected.extend(1000u64.to_le_bytes());
        assert_eq!(read[0].value.as_deref(), Some(&expected[..]));

        let sink = KafkaSink::<MetricResult>::with_serializer(config, Arc::new(CustomSerializer)).await?;
        sink.send(metric("api")).await?;
        assert_eq!(kafka.read(&topic).await?.iter().filter(|r| r.value.as_deref() == Some(b"")).count(), 1);
        Ok(())
    }
}

mod partitioning_strategies {
    use super::*;
    use kafka_tower::PartitionStrategy;
    use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage};

    #[tokio::test]
    async fn runs_as_written() -> Result<(), Box<dyn std::error::Error>> {
        let Some((kafka, brokers, topic)) = topic("partitioning").await else { return Ok(()) };
        let config = KafkaSinkConfig { brokers, topic: topic.clone(), ..Default::default() };

        // Key-based partitioning (default)
        let sink =
            KafkaSink::<MetricResult>::new(config.clone()).await?.with_partition_strategy(PartitionStrategy::KeyHash);
        let delivery = sink.send(SinkMessage::new(metric("a")).with_key("key")).await?;
        assert_eq!(delivery.partition, kafka_tower_core::partitioner::partition_for_key(b"key", 4));

        // Custom partition assignment
        let sink =
            KafkaSink::<MetricResult>::new(config.clone()).await?.with_partition_strategy(PartitionStrategy::Custom);

        let message = SinkMessage::new(metric("b")).with_partition(2); // Send to partition 2

        sink.send(message).await?;
        assert!(kafka.read(&topic).await?.iter().any(|r| r.partition == 2 && r.text().contains("\"b\"")));

        let round = sink.with_partition_strategy(PartitionStrategy::RoundRobin);
        let mut partitions = Vec::new();
        for _ in 0..4 {
            partitions.push(round.send(metric("round")).await?.partition);
        }
        partitions.sort_unstable();
        assert_eq!(partitions, [0, 1, 2, 3]);
        let single = round.with_partition_strategy(PartitionStrategy::Single(3));
        assert_eq!(single.send(metric("single")).await?.partition, 3);
        Ok(())
    }
}

mod monitoring_and_metrics {
    use super::*;
    use kafka_tower::{KafkaSink, KafkaSinkConfig};

    #[tokio::test]
    async fn runs_as_written() -> Result<(), Box<dyn std::error::Error>> {
        let Some((_, brokers, topic)) = topic("metrics").await else { return Ok(()) };
        let config = KafkaSinkConfig { brokers, topic, ..Default::default() };
        let sink = KafkaSink::<MetricResult>::new(config).await?;
        for _ in 0..3 {
            sink.send(metric("api")).await?;
        }

        // Get metrics
        let metrics = sink.metrics().await;

        println!("Messages sent: {}", metrics.messages_sent);
        println!("Messages failed: {}", metrics.messages_failed);
        println!("Average latency: {}us", metrics.avg_latency_us);
        println!("Max latency: {}us", metrics.max_latency_us);
        println!("Bytes sent: {}", metrics.bytes_sent);
        println!("Retries: {}", metrics.retries);
        println!("Circuit breaker trips: {}", metrics.circuit_breaker_trips);

        if let Some(ref err) = metrics.last_error_msg {
            println!("Last error: {err}");
        }

        assert_eq!((metrics.messages_sent, metrics.messages_failed), (3, 0));
        let bytes = serde_json::to_vec(&metric("api"))?.len() as u64;
        assert_eq!(metrics.bytes_sent, 3 * bytes);
        assert!(metrics.max_latency_us >= metrics.avg_latency_us && metrics.avg_latency_us > 0);
        Ok(())
    }
}

mod error_handling_with_circuit_breaker {
    use super::*;
    use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage};

    #[tokio::test]
    async fn runs_as_written() -> Result<(), Box<dyn std::error::Error>> {
        let Some((_, brokers, topic)) = topic("breaker").await else { return Ok(()) };
        let config = KafkaSinkConfig {
            brokers,
            topic,
            enable_circuit_breaker: true,
            circuit_breaker_threshold: 5,     // Open after 5 failures
            circuit_breaker_timeout_secs: 60, // Try again after 60 seconds
            max_retries: 3,
            base_backoff_ms: 100,
            ..Default::default()
        };

        let sink = KafkaSink::<MetricResult>::new(config).await?;
        let message = SinkMessage::new(metric("api"));

        match sink.send(message).await {
            Ok(_) => println!("Message sent"),
            Err(e) => {
                println!("Send failed: {e}");

                let metrics = sink.metrics().await;
                if metrics.circuit_breaker_trips > 0 {
                    println!("Circuit breaker is open, backing off...");
                }
            }
        }
        assert_eq!(sink.metrics().await.messages_sent, 1);
        Ok(())
    }
}

mod configuration {
    use super::*;
    use kafka_tower::{KafkaSink, KafkaSinkConfig};

    #[test]
    fn the_fields_and_their_defaults_are_the_specifications() {
        let KafkaSinkConfig {
            brokers,
            topic,
            client_id,
            batch_size,
            send_timeout_ms,
            connect_timeout_ms,
            delivery_bound_ms,
            enable_idempotence,
            enable_transactions,
            transactional_id,
            compression_type,
            acks,
            max_retries,
            base_backoff_ms,
            max_in_flight_requests,
            linger_ms,
            buffer_memory,
            enable_circuit_breaker,
            circuit_breaker_threshold,
            circuit_breaker_timeout_secs,
            properties,
            token_provider: _,
            variables: _,
        } = KafkaSinkConfig::default();
        let _: (String, String, String) = (brokers, topic, client_id);
        assert_eq!((batch_size, send_timeout_ms), (100usize, 30_000u64));
        // Additional fields that the specification does not have.
        assert_eq!((connect_timeout_ms, delivery_bound_ms), (10_000u64, 300_000u64));
        assert_eq!((enable_idempotence, enable_transactions, transactional_id), (true, false, None::<String>));
        assert_eq!((compression_type.as_str(), acks.as_str()), ("snappy", "all"));
        assert_eq!((max_retries, base_backoff_ms, max_in_flight_requests, linger_ms), (5u32, 100u64, 5usize, 0u64));
        assert_eq!(buffer_memory, 33_554_432usize);
        assert_eq!(
            (enable_circuit_breaker, circuit_breaker_threshold, circuit_breaker_timeout_secs),
            (true, 5u32, 60u64)
        );
        assert!(properties.is_empty());
    }

    #[tokio::test]
    async fn the_three_presets_send() -> Result<(), Box<dyn std::error::Error>> {
        let Some((kafka, brokers, topic)) = topic("presets").await else { return Ok(()) };
        // High Throughput
        let config = KafkaSinkConfig {
            brokers: brokers.clone(),
            topic: topic.clone(),
            batch_size: 10000,
            linger_ms: 100,
            compression_type: "lz4".to_string(),
            buffer_memory: 67108864, // 64MB
            max_in_flight_requests: 10,
            ..Default::default()
        };
        KafkaSink::<MetricResult>::new(config).await?.send(metric("throughput")).await?;
        // Low Latency
        let config = KafkaSinkConfig {
            brokers: brokers.clone(),
            topic: topic.clone(),
            batch_size: 1,
            linger_ms: 0,
            compression_type: "none".to_string(),
            max_in_flight_requests: 1,
            ..Default::default()
        };
        KafkaSink::<MetricResult>::new(config).await?.send(metric("latency")).await?;
        // Reliability (Exactly-Once)
        let config = KafkaSinkConfig {
            brokers,
            topic: topic.clone(),
            enable_idempotence: true,
            enable_transactions: true,
            transactional_id: Some("unique-id".to_string()),
            acks: "all".to_string(),
            max_retries: 10,
            max_in_flight_requests: 1,
            ..Default::default()
        };
        let sink = KafkaSink::<MetricResult>::new(config).await?;
        sink.begin_transaction().await?;
        sink.send(metric("reliability")).await?;
        sink.commit_transaction().await?;
        assert_eq!(kafka.read_committed(&topic).await?.len(), 3);
        Ok(())
    }
}
