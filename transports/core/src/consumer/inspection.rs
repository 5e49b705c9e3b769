//! What a transport finds before anything is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TopicPartition;
use crate::Result;

/// Result of [`ConsumerTransport::inspect`](super::ConsumerTransport::inspect). All errors are
/// [without a record](crate::Error::without_record).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConsumerInspection {
    /// Id of the cluster.
    pub cluster_id: Option<String>,
    /// All brokers with their advertised addresses. Clients must be able to reach each one. Empty if the transport has none.
    pub brokers: Vec<FoundBroker>,
    /// Each topic of the subscription, or why it cannot be seen. With a pattern, those that match it now.
    pub topics: BTreeMap<Arc<str>, Result<FoundSourceTopic>>,
    /// The group, or why its coordinator does not tell of it.
    pub group: Result<FoundGroup>,
    /// The cluster has had no group yet: it makes the topic in which it stores their offsets for the first one. The coordinator
    /// was not asked, because a question would make that topic.
    pub first_group: bool,
    /// Offsets that the group has committed, of the partitions that would be read. An open transaction may change them.
    pub committed: Result<BTreeMap<TopicPartition, i64>>,
    /// Ranges of the partitions' logs, as far as they were found.
    pub logs: BTreeMap<TopicPartition, LogRange>,
}

/// An inspection that has found nothing, and no error.
impl Default for ConsumerInspection {
    fn default() -> Self {
        Self {
            cluster_id: None,
            brokers: Vec::new(),
            topics: BTreeMap::new(),
            group: Ok(FoundGroup::default()),
            first_group: false,
            committed: Ok(BTreeMap::new()),
            logs: BTreeMap::new(),
        }
    }
}

/// A topic to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundSourceTopic {
    /// Partitions, by id.
    pub partitions: Vec<FoundPartition>,
    /// Whether this principal may read the topic. None if the cluster does not say.
    pub may_read: Option<bool>,
}

/// A consumer group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundGroup {
    /// Broker that coordinates the group.
    pub coordinator: Option<i32>,
    /// Kafka's name of its state: `Stable`, `Empty`, …; `Dead` if there is no such group yet. None if the cluster does not say.
    pub state: Option<String>,
    /// Protocol between the group and its members: `classic` or `consumer`. None without members.
    pub protocol: Option<String>,
    /// How it divides the partitions. None without members.
    pub assignor: Option<String>,
    /// The members.
    pub members: Vec<FoundMember>,
    /// Whether this principal may be a member and commit. None if the cluster does not say.
    pub may_read: Option<bool>,
}

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundMember {
    /// `client.id`.
    pub client_id: String,
    /// Host from which it is connected, as the broker shows it.
    pub host: String,
    /// `group.instance.id` of a static member.
    pub group_instance_id: Option<String>,
}

/// Range of a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// The first offset.
    pub start: i64,
    /// The offset of the next record (Kafka's high watermark).
    pub end: i64,
}

/// A broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundBroker {
    /// Id of the broker.
    pub id: i32,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
    /// Why the broker could not be reached from here with these properties.
    pub unreachable: Option<String>,
    /// Settings of the broker. Empty if this principal may not see them.
    pub settings: BTreeMap<String, String>,
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundPartition {
    /// Id of the partition.
    pub id: i32,
    /// Broker that leads the partition. None without a leader.
    pub leader: Option<i32>,
    /// Brokers that have a replica.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub in_sync: Vec<i32>,
    /// Kafka's name of the partition's error.
    pub error: Option<&'static str>,
}
