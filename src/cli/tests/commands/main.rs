//! The built command against librdkafka's mock cluster, and against a real Kafka.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod check;
mod real;
mod send;
mod soak;
mod support;
mod tail;

use kafka_tower::rdkafka::MockCluster;

/// A broker with the topic `orders` of three partitions.
fn mock() -> MockCluster {
    let cluster = MockCluster::start(1).unwrap();
    cluster.create_topic("orders", 3).unwrap();
    cluster
}
