use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use kafka_tower_core::text::count;
use kafka_tower_core::{FoundGroup, FoundSourceTopic, TopicPartition};

use super::SourcePreflightReport;
use crate::preflight::text::{LISTED, brokers, list, more, not_connected, properties};

/// Prints the report on several lines, without a line break at the end.
impl Display for SourcePreflightReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let group = if self.group_id.is_empty() { "?" } else { &self.group_id };
        if self.brokers.is_empty() {
            writeln!(f, "group {group}")?;
        } else {
            writeln!(f, "Kafka at {}, group {group}", self.brokers)?;
        }
        if !self.properties.is_empty() {
            properties(f, &self.properties)?;
        }
        list(f, "conflicts: settings that cannot work", &self.conflicts)?;
        match (&self.inspection, &self.error) {
            (Some(found), _) => {
                let cluster = found.cluster_id.as_deref().unwrap_or("without an id");
                writeln!(f, "\nconnected, {} ms: cluster {cluster}", self.elapsed.as_millis())?;
                brokers(f, &found.brokers)?;
                match &found.group {
                    Ok(_) if found.first_group => writeln!(f, "\ngroup {group}: the first one of the cluster")?,
                    Ok(found) => self.group(f, found)?,
                    Err(_) => {}
                }
                for (name, topic) in &found.topics {
                    if let Ok(topic) = topic {
                        self.topic(f, name, topic)?;
                    }
                }
            }
            (None, Some(error)) => not_connected(f, error, self.elapsed)?,
            (None, None) => writeln!(f, "\nnot connected: resolve the conflicts and problems first")?,
        }
        list(f, "problems: the source would not read or not commit", &self.problems)?;
        list(f, "warnings", &self.warnings)?;
        write!(f, "\n{}", if self.passed() { "passed" } else { "FAILED" })
    }
}

impl SourcePreflightReport {
    fn group(&self, f: &mut Formatter<'_>, found: &FoundGroup) -> fmt::Result {
        let state = found.state.as_deref().unwrap_or("state not known");
        write!(f, "\ngroup {}: {state}, {}", self.group_id, count(found.members.len(), "member"))?;
        for (name, value) in [("protocol", &found.protocol), ("assignor", &found.assignor)] {
            if let Some(value) = value {
                write!(f, ", {name} {value}")?;
            }
        }
        match found.coordinator {
            Some(id) => writeln!(f, ", coordinator {id}"),
            None => writeln!(f),
        }
    }

    fn topic(&self, f: &mut Formatter<'_>, name: &Arc<str>, found: &FoundSourceTopic) -> fmt::Result {
        writeln!(f, "\ntopic {name}: {}", count(found.partitions.len(), "partition"))?;
        let inspection = self.inspection.as_ref();
        for partition in found.partitions.iter().take(LISTED) {
            let at = TopicPartition::new(Arc::clone(name), partition.id);
            let leader = partition.leader.map_or_else(|| "none".to_owned(), |id| id.to_string());
            write!(f, "  partition {:<4} leader {leader:<4}", partition.id)?;
            if let Some(log) = inspection.and_then(|found| found.logs.get(&at)) {
                write!(f, " log {} to {}", log.start, log.end)?;
            }
            if let Some(offset) = inspection.and_then(|found| found.committed.as_ref().ok()?.get(&at)) {
                write!(f, "  committed {offset}")?;
            }
            if let Some(offset) = self.begins.get(&at) {
                write!(f, "  begins at {offset}")?;
            }
            writeln!(f, "{}", partition.error.map(|error| format!("  {error}")).unwrap_or_default())?;
        }
        more(f, found.partitions.len())
    }
}
