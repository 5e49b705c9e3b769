//! Brokers, topics, partitions and their leaders, from the answers of brokers that may lag behind each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::problem::Problem;
use crate::net::address::Address;
use crate::protocol::api::metadata::{MetadataResponse, Partition, Topic};
use crate::protocol::uuid::Uuid;

/// How long a topic that was never seen may be missing before what waits for it fails.
pub const NEW_TOPIC: Duration = Duration::from_secs(3);
/// As [`NEW_TOPIC`], for a topic that was there: brokers that start do not know all topics at once.
pub const LOST_TOPIC: Duration = Duration::from_secs(30);

const REBOOTSTRAP_REQUIRED: i16 = 129;

/// What is known of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterMetadata {
    brokers: BTreeMap<i32, Address>,
    topics: BTreeMap<Arc<str>, TopicState>,
}

/// What is known of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// Its id; zero if brokers have none.
    pub id: Uuid,
    /// Its partitions by number. They never become fewer, unless the topic is made anew.
    pub partitions: Vec<PartitionState>,
    /// Why it cannot be sent to, and since when.
    pub problem: Option<(Problem, Instant)>,
}

/// What is known of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionState {
    /// Number of its leader, if it has one.
    pub leader: Option<i32>,
    /// Epoch of the leader; -1 if it is not known.
    pub epoch: i32,
}

/// What an answer has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The brokers or their addresses.
    Brokers,
    /// The leader of a partition, or its epoch.
    Leader(Arc<str>, i32),
    /// A topic has this number of partitions now.
    Partitions(Arc<str>, usize),
    /// A topic was deleted and made anew: it has another id.
    MadeAnew(Arc<str>),
    /// A topic has a problem, has another one, or has none any more.
    Problem(Arc<str>, Option<Problem>),
    /// The cluster asks to begin again with the bootstrap servers (KIP-1102). Nothing else of the answer was taken.
    Rebootstrap,
    /// The whole request was refused with this code. Nothing of the answer was taken.
    Refused(i16),
}

impl ClusterMetadata {
    /// Takes an answer in, and returns what it has changed.
    pub fn apply(&mut self, answer: &MetadataResponse<'_>, now: Instant) -> Vec<Change> {
        match answer.error_code {
            0 => {}
            REBOOTSTRAP_REQUIRED => return vec![Change::Rebootstrap],
            code => return vec![Change::Refused(code)],
        }
        let mut changes = Vec::new();
        let brokers: BTreeMap<_, _> = answer
            .brokers
            .iter()
            .filter_map(|broker| Some((broker.node_id, Address::advertised(broker.host, broker.port)?)))
            .collect();
        // A broker that was fenced lists none.
        if !brokers.is_empty() && brokers != self.brokers {
            self.brokers = brokers;
            changes.push(Change::Brokers);
        }
        for topic in &answer.topics {
            if let Some(name) = self.name_of(topic) {
                let state = self.topics.entry(Arc::clone(&name)).or_insert_with(|| TopicState::new(topic.id));
                state.apply(&name, topic, now, &mut changes);
            }
        }
        changes
    }

    /// Takes in the leader that a broker named when it refused a batch (KIP-951). Returns whether it was news: it is so only with
    /// a newer epoch, as brokers repeat what they know.
    pub fn hint(&mut self, topic: &str, partition: i32, leader: i32, epoch: i32) -> bool {
        let state = self.topics.get_mut(topic).and_then(|topic| topic.partition_mut(partition));
        match state {
            Some(state) if leader >= 0 && epoch > state.epoch => {
                *state = PartitionState { leader: Some(leader), epoch };
                true
            }
            _ => false,
        }
    }

    /// Takes in the address of a broker that another one named (KIP-951).
    pub fn set_broker(&mut self, id: i32, address: &Address) {
        self.brokers.insert(id, address.clone());
    }

    /// The address of a broker.
    #[must_use]
    pub fn broker(&self, id: i32) -> Option<&Address> {
        self.brokers.get(&id)
    }

    /// The brokers by number.
    pub fn brokers(&self) -> impl Iterator<Item = (i32, &Address)> {
        self.brokers.iter().map(|(id, address)| (*id, address))
    }

    /// A topic.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&TopicState> {
        self.topics.get(name)
    }

    /// The leader of a partition and its epoch, if it has one whose address is known.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<(i32, i32)> {
        let state = self.topics.get(topic)?.partition(partition)?;
        let leader = state.leader.filter(|leader| self.brokers.contains_key(leader))?;
        Some((leader, state.epoch))
    }

    /// Names of topics are those that were asked for by name; one that was asked for by id is found by that.
    fn name_of(&self, topic: &Topic<'_>) -> Option<Arc<str>> {
        if let Some(name) = topic.name {
            return Some(self.topics.get_key_value(name).map_or_else(|| name.into(), |(known, _)| Arc::clone(known)));
        }
        let known = self.topics.iter().find(|(_, state)| !topic.id.is_zero() && state.id == topic.id);
        known.map(|(name, _)| Arc::clone(name))
    }
}

impl TopicState {
    fn new(id: Uuid) -> Self {
        Self { id, partitions: Vec::new(), problem: None }
    }

    /// A partition.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<&PartitionState> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    fn partition_mut(&mut self, index: i32) -> Option<&mut PartitionState> {
        self.partitions.get_mut(usize::try_from(index).ok()?)
    }

    /// The problem by which what waits for the topic fails now, if there is one.
    #[must_use]
    pub fn fails(&self, now: Instant) -> Option<Problem> {
        let (problem, since) = self.problem?;
        let patience = match problem {
            Problem::Fails(_) => Duration::ZERO,
            Problem::Missing if self.partitions.is_empty() => NEW_TOPIC,
            Problem::Missing => LOST_TOPIC,
            Problem::Again(_) => return None,
        };
        (now.saturating_duration_since(since) >= patience).then_some(problem)
    }

    fn apply(&mut self, name: &Arc<str>, topic: &Topic<'_>, now: Instant, changes: &mut Vec<Change>) {
        let problem = Problem::of(topic.error_code);
        if problem != self.problem.map(|(known, _)| known) {
            self.problem = problem.map(|problem| (problem, now));
            changes.push(Change::Problem(Arc::clone(name), problem));
        }
        // An answer with an error describes nothing.
        if let Some(problem) = problem {
            if problem == Problem::Missing && self.id.is_zero() {
                // If it comes back, it is another topic, whose epochs begin anew.
                self.partitions.iter_mut().for_each(|partition| partition.epoch = -1);
            }
            return;
        }
        if !topic.id.is_zero() && topic.id != self.id {
            if !self.id.is_zero() {
                // Epochs begin anew, too.
                self.partitions.clear();
                changes.push(Change::MadeAnew(Arc::clone(name)));
            }
            self.id = topic.id;
        }
        let count = topic.partitions.len();
        // Fewer come from a broker that lags behind.
        if count > self.partitions.len() {
            self.partitions.resize(count, PartitionState { leader: None, epoch: -1 });
            changes.push(Change::Partitions(Arc::clone(name), count));
        }
        for partition in &topic.partitions {
            if self.partition_mut(partition.index).is_some_and(|known| known.apply(partition)) {
                changes.push(Change::Leader(Arc::clone(name), partition.index));
            }
        }
    }
}

impl PartitionState {
    /// Returns whether it has changed. An older epoch is not believed; none at all is, as there is nothing better.
    fn apply(&mut self, partition: &Partition<'_>) -> bool {
        if partition.leader_epoch >= 0 && partition.leader_epoch < self.epoch {
            return false;
        }
        let leader = Some(partition.leader_id).filter(|leader| *leader >= 0);
        let found = Self { leader, epoch: partition.leader_epoch.max(self.epoch) };
        std::mem::replace(self, found) != found
    }
}
