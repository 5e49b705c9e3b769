//! Reads what the cluster answered about the topics that a sink writes to.

use std::collections::BTreeMap;

use kafka_tower_core::FoundPartition;

/// Returns whether too few replicas are in sync, so that the leader rejects records with `acks` of `all`. A partition
/// with fewer than `least` replicas needs all of them.
pub(super) fn is_short(partition: &FoundPartition, least: u64) -> bool {
    (partition.in_sync.len() as u64) < least.min(partition.replicas.len() as u64)
}

pub(super) fn number(settings: &BTreeMap<String, String>, name: &str) -> Option<u64> {
    settings.get(name)?.parse().ok()
}
