//! Tests of the simulator itself: it has to be able to be wrong.

mod answers;
mod appends;
mod careful;
mod connection_faults;
mod directed;
mod fault_kinds;
mod judging;
mod lane;
mod peer;
mod runs;

use uuid::Uuid;

use crate::cluster::{Cluster, TopicConfig, Versions};
use crate::faults::Faults;

const TOPIC: &str = "orders";

/// A cluster with one topic of three partitions.
fn cluster(brokers: i32, faults: Faults) -> Cluster {
    Cluster::new(brokers, Versions::Kafka43, &[TopicConfig::new(TOPIC, 3)], faults)
}

/// The topic's name and id.
fn topic_of(cluster: &Cluster) -> (&'static str, Uuid) {
    (TOPIC, cluster.state().topics[TOPIC].id)
}

/// The records in a partition.
fn numbers(cluster: &Cluster, partition: i32) -> Vec<u64> {
    let logs = cluster.logs();
    let log = logs.iter().rfind(|log| (log.topic, log.partition) == (TOPIC, partition)).expect("a partition");
    log.entries.iter().map(|entry| entry.number.expect("a test's record")).collect()
}
