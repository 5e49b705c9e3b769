use std::fmt::{self, Display, Formatter};

use kafka_tower_rdkafka::{FoundTopic, Inspection};

use super::PreflightReport;
use crate::preflight::text::{LISTED, brokers, list, more, not_connected, properties};

/// Topic settings that affect which records are accepted and how long they are kept.
const SETTINGS: [&str; 6] = [
    "max.message.bytes",
    "min.insync.replicas",
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "message.timestamp.type",
];

/// Prints the report on several lines, without a line break at the end.
impl Display for PreflightReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "Kafka at {}, topic {}", self.brokers, if self.topic.is_empty() { "?" } else { &self.topic })?;
        properties(f, &self.properties)?;
        list(f, "conflicts: settings that cannot work", &self.conflicts)?;
        match (&self.inspection, &self.error) {
            (Some(found), _) => {
                inspection(f, found, self.elapsed.as_millis())?;
                if let Ok(found) = &found.topic {
                    topic(f, &self.topic, found)?;
                }
            }
            (None, Some(error)) => not_connected(f, error, self.elapsed)?,
            (None, None) => writeln!(f, "\nnot connected: resolve the conflicts first")?,
        }
        list(f, "problems: sends would fail", &self.problems)?;
        list(f, "warnings", &self.warnings)?;
        write!(f, "\n{}", if self.passed() { "passed" } else { "FAILED" })
    }
}

fn inspection(f: &mut Formatter<'_>, found: &Inspection, millis: u128) -> fmt::Result {
    write!(f, "\nconnected, {millis} ms: cluster {}", found.cluster_id.as_deref().unwrap_or("without an id"))?;
    match found.controller {
        Some(id) => writeln!(f, ", controller {id}")?,
        None => writeln!(f)?,
    }
    brokers(f, &found.brokers)
}

fn topic(f: &mut Formatter<'_>, name: &str, found: &FoundTopic) -> fmt::Result {
    let count = found.partitions.len();
    writeln!(f, "\ntopic {name}: {count} partition{}", if count == 1 { "" } else { "s" })?;
    for partition in found.partitions.iter().take(LISTED) {
        let leader = partition.leader.map_or_else(|| "none".to_owned(), |id| id.to_string());
        write!(f, "  partition {:<4} leader {leader:<4} replicas {}", partition.id, partition.replicas.len())?;
        writeln!(
            f,
            "  in sync {}{}",
            partition.in_sync.len(),
            partition.error.map(|e| format!("  {e}")).unwrap_or_default()
        )?;
    }
    more(f, count)?;
    if let Ok(settings) = &found.settings {
        for name in SETTINGS {
            if let Some(value) = settings.get(name) {
                writeln!(f, "  {name:22}  {value}")?;
            }
        }
    }
    Ok(())
}
