//! Tries the configuration of a source.

mod display;
mod evaluate;
mod group;
mod places;

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_tower_core::{ConsumerInspection, Error, TopicPartition};

pub(crate) use evaluate::evaluate;

use crate::{Conflict, KafkaSourceConfig};

/// Result of [`SourceBuilder::preflight`](crate::source::SourceBuilder::preflight). `Display` prints it for people; it contains no
/// secrets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourcePreflightReport {
    /// The brokers, without user information before an `@`. Empty with a transport of your own.
    pub brokers: String,
    /// The group.
    pub group_id: String,
    /// The properties for librdkafka. Values that may be secret are shown as `***`; properties not listed have
    /// librdkafka's defaults. Empty with a transport of your own.
    pub properties: BTreeMap<String, String>,
    /// Settings that cannot work: [`KafkaSourceConfig::conflicts`].
    pub conflicts: Vec<Conflict>,
    /// Settings that may be unintended: [`KafkaSourceConfig::warnings`], and what the cluster's answers add.
    pub warnings: Vec<String>,
    /// The cluster's answers. None if it could not be asked.
    pub inspection: Option<ConsumerInspection>,
    /// Why connecting failed.
    pub error: Option<Error>,
    /// Reasons why the source cannot be built, or would not read or commit although connecting succeeded.
    pub problems: Vec<String>,
    /// The offset at which a source would begin to read each partition now, where it is known.
    pub begins: BTreeMap<TopicPartition, i64>,
    /// Time that the preflight took. Zero without an attempt to connect.
    pub elapsed: Duration,
}

impl SourcePreflightReport {
    pub(crate) fn of(config: &KafkaSourceConfig) -> Self {
        Self {
            brokers: String::new(),
            group_id: config.group_id.clone(),
            properties: BTreeMap::new(),
            conflicts: config.conflicts(),
            warnings: config.warnings(),
            inspection: None,
            error: None,
            problems: Vec::new(),
            begins: BTreeMap::new(),
            elapsed: Duration::ZERO,
        }
    }

    /// Whether nothing was found yet that makes connecting needless.
    pub(crate) fn may_connect(&self) -> bool {
        self.conflicts.is_empty() && self.problems.is_empty()
    }

    /// Returns whether a source with this configuration would read and commit now. Ignores warnings.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.may_connect() && self.error.is_none() && self.inspection.is_some()
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::{FoundBroker, FoundGroup, FoundPartition, FoundSourceTopic, LogRange};

    use super::*;

    pub(super) fn config() -> KafkaSourceConfig {
        KafkaSourceConfig { group_id: "billing".into(), topics: vec!["orders".into()], ..Default::default() }
    }

    /// A topic whose partitions have the offsets from 10 to 20, led by broker 1, and a group without members.
    pub(super) fn found(partitions: i32) -> ConsumerInspection {
        let mut found = ConsumerInspection::default();
        let (mut broker, mut group) = (FoundBroker::default(), FoundGroup::default());
        (broker.id, group.coordinator, group.state) = (1, Some(1), Some("Empty".into()));
        (found.brokers, found.group) = (vec![broker], Ok(group));
        let mut topic = FoundSourceTopic::default();
        for id in 0..partitions {
            let mut partition = FoundPartition::default();
            (partition.id, partition.leader) = (id, Some(1));
            topic.partitions.push(partition);
            found.logs.insert(TopicPartition::new("orders", id), LogRange { start: 10, end: 20 });
        }
        found.topics.insert("orders".into(), Ok(topic));
        found
    }

    pub(super) fn said(config: &KafkaSourceConfig, found: &ConsumerInspection) -> (Vec<String>, Vec<String>) {
        let mut report = SourcePreflightReport::of(config);
        assert!(report.conflicts.is_empty() && report.warnings.is_empty(), "{:?}", report.conflicts);
        evaluate(config, found, Some(&BTreeMap::new()), &mut report);
        (report.problems, report.warnings)
    }
}
