//! Consumer groups: members, generations, assignments and committed offsets. No clock, no lock, no async.
//!
//! A rebalance is the classic, eager one: it is complete when each member has given up its partitions and joined
//! again, so a member that does not poll blocks the others. Until then the old generation may commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_tower_core::{ConsumerGroup, FoundGroup, FoundMember, TopicOffset, TopicPattern};

pub(crate) type TopicPartition = (Arc<str>, i32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MemberId(u64);

#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: BTreeMap<Arc<str>, Group>,
    next_member: u64,
}

#[derive(Debug, Default)]
struct Group {
    /// 0 before the first rebalance: no member can be of a later generation then.
    generation: i32,
    rebalancing: bool,
    members: BTreeMap<MemberId, Member>,
    offsets: BTreeMap<TopicPartition, i64>,
}

#[derive(Debug, Default)]
struct Member {
    topics: BTreeSet<Arc<str>>,
    /// Other topics that it subscribes to, when there are such.
    pattern: Option<TopicPattern>,
    /// It has given up its partitions and waits for the new generation.
    joined: bool,
    assigned: Vec<TopicPartition>,
}

/// Next step of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    /// The member left or was removed.
    Gone,
    /// Give up the partitions, and [join again](Groups::rejoin).
    GiveUp,
    /// Wait for other members.
    Waiting,
    Assigned {
        generation: i32,
        partitions: Vec<TopicPartition>,
    },
}

impl Groups {
    pub(crate) fn join(&mut self, group: &Arc<str>, topics: BTreeSet<Arc<str>>) -> MemberId {
        let id = MemberId(self.next_member);
        self.next_member += 1;
        let group = self.groups.entry(Arc::clone(group)).or_default();
        group.members.insert(id, Member { topics, pattern: None, joined: true, assigned: Vec::new() });
        group.begin_rebalance(Some(id));
        id
    }

    /// A member subscribes to all topics with such a name.
    pub(crate) fn follow(&mut self, group: &str, id: MemberId, pattern: TopicPattern) {
        if let Some(member) = self.groups.get_mut(group).and_then(|group| group.members.get_mut(&id)) {
            member.pattern = Some(pattern);
        }
    }

    /// Subscribes members to topics that match their patterns. New ones need a rebalance.
    pub(crate) fn find_topics<'a>(&mut self, group: &str, topics: &(impl Iterator<Item = &'a Arc<str>> + Clone)) {
        let Some(group) = self.groups.get_mut(group) else { return };
        let mut has_new = false;
        for member in group.members.values_mut() {
            let Some(pattern) = &member.pattern else { continue };
            for topic in topics.clone() {
                if !member.topics.contains(topic) && pattern.matches(topic) {
                    has_new |= member.topics.insert(Arc::clone(topic));
                }
            }
        }
        if has_new {
            group.begin_rebalance(None);
        }
    }

    /// Returns whether it was a member.
    pub(crate) fn leave(&mut self, group: &str, id: MemberId) -> bool {
        let Some(group) = self.groups.get_mut(group) else { return false };
        let was_there = group.members.remove(&id).is_some();
        if was_there {
            group.begin_rebalance(None);
        }
        was_there
    }

    /// Asks all members to give up their partitions. Returns whether there are any.
    pub(crate) fn start_rebalance(&mut self, group: &str) -> bool {
        let found = self.groups.get_mut(group).filter(|group| !group.members.is_empty());
        found.map(|group| group.begin_rebalance(None)).is_some()
    }

    /// Removes all members, and returns their number.
    pub(crate) fn expel_all(&mut self, group: &str) -> usize {
        let Some(group) = self.groups.get_mut(group) else { return 0 };
        let members = std::mem::take(&mut group.members).len();
        group.begin_rebalance(None);
        members
    }

    /// Records that a member has given up its partitions.
    pub(crate) fn rejoin(&mut self, group: &str, id: MemberId) {
        if let Some(member) = self.groups.get_mut(group).and_then(|group| group.members.get_mut(&id)) {
            member.joined = true;
            member.assigned.clear();
        }
    }

    /// Returns the next step of a member. Ends the rebalance if all members have joined. `partitions` returns the
    /// number of partitions of a topic.
    pub(crate) fn membership(&mut self, group: &str, id: MemberId, partitions: impl Fn(&str) -> u32) -> Membership {
        let Some(group) = self.groups.get_mut(group) else { return Membership::Gone };
        if group.rebalancing && group.members.values().all(|member| member.joined) {
            group.end_rebalance(partitions);
        }
        match group.members.get(&id) {
            None => Membership::Gone,
            Some(member) if group.rebalancing && !member.joined => Membership::GiveUp,
            Some(_) if group.rebalancing => Membership::Waiting,
            Some(member) => Membership::Assigned { generation: group.generation, partitions: member.assigned.clone() },
        }
    }

    pub(crate) fn has_members(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|group| !group.members.is_empty())
    }

    /// As a coordinator describes it.
    pub(crate) fn describe(&self, group: &str) -> FoundGroup {
        let mut found = FoundGroup::default();
        let group = self.groups.get(group);
        let state = match group {
            None => "Dead",
            Some(group) if group.members.is_empty() => "Empty",
            Some(group) if group.rebalancing => "PreparingRebalance",
            Some(_) => "Stable",
        };
        found.state = Some(state.to_owned());
        let member = |id: &MemberId| {
            let mut member = FoundMember::default();
            member.client_id = id.to_string();
            member
        };
        found.members = group.into_iter().flat_map(|group| group.members.keys()).map(member).collect();
        found.protocol = (!found.members.is_empty()).then(|| "classic".to_owned());
        found.may_read = Some(true);
        found
    }

    pub(crate) fn generation(&self, group: &str) -> i32 {
        self.groups.get(group).map_or(0, |group| group.generation)
    }

    /// Starts a new generation manually: the metadata of older ones becomes stale.
    pub(crate) fn rebalance(&mut self, group: &str) -> i32 {
        let group = self.groups.entry(group.into()).or_default();
        group.generation += 1;
        group.generation
    }

    /// Whether offsets of a member are accepted in a transaction. A consumer outside the group protocol is always
    /// accepted. One that claims membership unknown to the group never is.
    pub(crate) fn is_current(&self, member: &ConsumerGroup) -> bool {
        if member.generation < 0 && member.member_id.is_empty() {
            return true;
        }
        let group = self.groups.get(member.group_id.as_str()).filter(|group| group.generation > 0);
        let Some(group) = group else { return member.generation <= 0 };
        let is_member = || group.members.keys().any(|id| id.to_string() == member.member_id);
        group.generation == member.generation && (group.members.is_empty() || is_member())
    }

    pub(crate) fn commit(&mut self, group: &str, offset: &TopicOffset) {
        let group = self.groups.entry(group.into()).or_default();
        group.offsets.insert((Arc::clone(&offset.topic), offset.partition), offset.offset);
    }

    pub(crate) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let offsets = &self.groups.get(group)?.offsets;
        offsets.iter().find(|((t, p), _)| **t == *topic && *p == partition).map(|(_, offset)| *offset)
    }
}

impl Group {
    fn begin_rebalance(&mut self, newcomer: Option<MemberId>) {
        self.rebalancing = true;
        for (id, member) in &mut self.members {
            // A member without partitions has nothing to give up.
            member.joined = Some(*id) == newcomer || member.assigned.is_empty();
        }
    }

    /// Assigns each topic's partitions in turn to its subscribers, in the order in which they joined.
    fn end_rebalance(&mut self, partitions: impl Fn(&str) -> u32) {
        self.generation += 1;
        self.rebalancing = false;
        let topics: BTreeSet<_> = self.members.values().flat_map(|member| member.topics.clone()).collect();
        for topic in topics {
            let subscribers = self.members.values_mut().filter(|member| member.topics.contains(&topic));
            let mut subscribers: Vec<_> = subscribers.collect();
            let count = subscribers.len();
            for partition in 0..partitions(&topic) {
                let owner = &mut subscribers[partition as usize % count];
                owner.assigned.push((Arc::clone(&topic), partition as i32));
            }
        }
    }
}

impl std::fmt::Display for MemberId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "member-{}", self.0)
    }
}

#[cfg(test)]
mod tests;
