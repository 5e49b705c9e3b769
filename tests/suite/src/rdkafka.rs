//! librdkafka on a mock cluster or a real Kafka.

use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_rdkafka::RdkafkaTransport;
use kafka_tower_testkit::kafka::{Cluster, Isolation};
use kafka_tower_testkit::{LogRecord, Opened};

/// Connects to a topic; panics with the error's help if that does not go.
///
/// # Panics
///
/// If it cannot connect.
pub async fn open<B>(bootstrap: &str, topic: &str, limits: Limits, broker: B) -> Opened<RdkafkaTransport, B> {
    let builder = RdkafkaTransport::builder().property("bootstrap.servers", bootstrap).topic(topic).limits(limits);
    let transport = builder.connect().await.unwrap_or_else(|error| panic!("{error:#}"));
    let control = transport.control();
    Opened { transport, control, topic: Arc::from(topic), broker }
}

/// Connects to a topic with transactions, and initialises the transactional id.
///
/// # Panics
///
/// If it cannot.
pub async fn open_transactional<B>(bootstrap: &str, topic: &str, broker: B) -> Opened<RdkafkaTransport, B> {
    let builder = RdkafkaTransport::builder().property("bootstrap.servers", bootstrap).topic(topic);
    let connecting = builder.property("transactional.id", topic).connect();
    let transport = connecting.await.unwrap_or_else(|error| panic!("{error:#}"));
    let control = transport.control();
    let transactions = control.transactions().expect("it has a transactional id");
    transactions.init(Duration::from_secs(30)).await.unwrap_or_else(|error| panic!("{error:#}"));
    Opened { transport, control, topic: Arc::from(topic), broker }
}

/// Reads a topic with the test cluster's reader, a plain consumer.
///
/// # Panics
///
/// If it cannot be read.
pub async fn read(cluster: &Cluster, topic: &str) -> Vec<LogRecord> {
    read_as(cluster, topic, Isolation::Uncommitted).await
}

/// Reads the records that a reader with this isolation sees.
///
/// # Panics
///
/// If it cannot be read.
pub async fn read_as(cluster: &Cluster, topic: &str, isolation: Isolation) -> Vec<LogRecord> {
    let records = cluster.read_as(topic, isolation).await.unwrap_or_else(|error| panic!("{error}"));
    records.into_iter().map(LogRecord::from).collect()
}
