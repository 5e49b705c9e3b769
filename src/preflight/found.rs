//! Reads what the cluster answered.

use std::collections::BTreeMap;

use kafka_tower_rdkafka::{FoundBroker, FoundPartition};

/// Returns a setting from the first broker that shows it.
pub(super) fn setting<'a>(brokers: &'a [FoundBroker], name: &str) -> Option<&'a str> {
    brokers.iter().find_map(|broker| broker.settings.get(name)).map(String::as_str)
}

/// "1 broker", "3 brokers".
pub(super) fn counted(brokers: &[FoundBroker]) -> String {
    format!("{} broker{}", brokers.len(), if brokers.len() == 1 { "" } else { "s" })
}

/// Returns whether too few replicas are in sync, so that the leader rejects records with `acks` of `all`. A partition
/// with fewer than `least` replicas needs all of them.
pub(super) fn is_short(partition: &FoundPartition, least: u64) -> bool {
    (partition.in_sync.len() as u64) < least.min(partition.replicas.len() as u64)
}

pub(super) fn number(settings: &BTreeMap<String, String>, name: &str) -> Option<u64> {
    settings.get(name)?.parse().ok()
}
