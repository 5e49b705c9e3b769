//! Reads what the cluster answered.

use std::collections::BTreeMap;

use kafka_tower_core::{FoundBroker, FoundPartition};

/// Returns a setting from the first broker that shows it.
pub(super) fn setting<'a>(brokers: &'a [FoundBroker], name: &str) -> Option<&'a str> {
    brokers.iter().find_map(|broker| broker.settings.get(name)).map(String::as_str)
}

/// "1 broker", "3 brokers".
pub(super) fn counted(brokers: &[FoundBroker]) -> String {
    format!("{} broker{}", brokers.len(), if brokers.len() == 1 { "" } else { "s" })
}

/// What to do about a broker that cannot be reached.
pub(super) const CORRECT_ADDRESS: &str = "correct its advertised.listeners, or the DNS and the firewall here";

/// The text about a broker that cannot be reached.
pub(super) fn unreachable(broker: &FoundBroker) -> Option<String> {
    let why = broker.unreachable.as_ref()?;
    Some(format!(
        "broker {} cannot be reached from here at {}:{}, which the cluster advertises: {why}",
        broker.id, broker.host, broker.port
    ))
}

/// Leaders that are not among the brokers, with their partitions.
pub(super) fn unknown_leaders(brokers: &[FoundBroker], partitions: &[FoundPartition]) -> BTreeMap<i32, Vec<i32>> {
    let mut led = BTreeMap::<i32, Vec<i32>>::new();
    for partition in partitions {
        if let Some(leader) = partition.leader.filter(|leader| brokers.iter().all(|broker| broker.id != *leader)) {
            led.entry(leader).or_default().push(partition.id);
        }
    }
    led
}

pub(super) fn not_in_cluster(leader: i32, partitions: &str) -> String {
    format!("broker {leader} leads {partitions} but is not in the cluster now: check its health")
}

/// "partition 0", "partitions 0, 1 and 7 more".
pub(super) fn named(ids: &[i32]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<_> = ids.iter().take(SHOWN).map(i32::to_string).collect();
    let more = ids.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("partition{} {}{more}", if ids.len() == 1 { "" } else { "s" }, shown.join(", "))
}
