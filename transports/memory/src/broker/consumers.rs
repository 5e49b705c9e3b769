//! Requests of consumers, and the wakers to call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::{Context, Waker};

use kafka_tower_core::wakers::wake_all;
use kafka_tower_core::{self as core, CommitAnswer, ConsumerGroup, OffsetReset, SeekTo, TopicOffset, TopicPattern};
use tokio::time::Instant;

use super::{Broker, BrokerClient, State};
use crate::StoredRecord;
use crate::errors;
use crate::groups::{MemberId, Membership, TopicPartition};
use crate::log::Log;
use crate::source::CommitFault;

/// Result of a fetch.
#[derive(Debug)]
pub(crate) enum Fetched {
    Record(StoredRecord),
    Nothing,
    /// More records may be readable when an open transaction ends by itself.
    NothingUntil(Instant),
}

/// Records, the offset at which to continue, and when more may be readable.
type ReadBatch = (Vec<StoredRecord>, i64, Option<Instant>);

fn count(log: &Log, topic: &str) -> u32 {
    log.partition_count(topic).unwrap_or(0)
}

impl<C> State<C> {
    /// When the next open transaction ends without another request: it times out, or a delayed request arrives.
    fn next_end(&self) -> Option<Instant> {
        [self.store.next_expiry(), self.transaction_script.next_due()].into_iter().flatten().min()
    }

    /// Takes the wakers of all waiting consumers. Call them outside the lock.
    pub(super) fn take_readers(&mut self) -> Vec<Waker> {
        if self.readers.is_empty() { Vec::new() } else { std::mem::take(&mut self.readers).into_values().collect() }
    }
}

impl<C: BrokerClient> Broker<C> {
    pub(crate) fn join(&self, group: &Arc<str>, topics: BTreeSet<Arc<str>>) -> MemberId {
        self.change_groups(|state| state.store.groups.join(group, topics))
    }

    pub(crate) fn follow(&self, group: &str, member: MemberId, pattern: TopicPattern) {
        self.change_groups(|state| state.store.groups.follow(group, member, pattern));
    }

    /// Returns whether the consumer was a member.
    pub(crate) fn leave(&self, group: &str, member: MemberId) -> bool {
        // The waker is dropped without the lock.
        let (_waker, was_member) = self.change_groups(|state| {
            let waker = state.readers.remove(&member);
            (waker, state.store.groups.leave(group, member))
        });
        was_member
    }

    pub(crate) fn rejoin(&self, group: &str, member: MemberId) {
        self.change_groups(|state| state.store.groups.rejoin(group, member));
    }

    fn change_groups<T>(&self, change: impl FnOnce(&mut State<C>) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state);
        let readers = state.take_readers();
        drop(state);
        wake_all(readers);
        changed
    }

    /// Returns the next step of a member, and registers its waker for changes of the group or the log.
    pub(crate) fn membership(&self, group: &str, member: MemberId, cx: &Context<'_>) -> Membership {
        let mut state = self.lock();
        let crate::store::Store { log, groups, .. } = &mut state.store;
        let before = groups.generation(group);
        groups.find_topics(group, &log.topics());
        let membership = groups.membership(group, member, |topic| count(log, topic));
        let others = if groups.generation(group) == before { Vec::new() } else { state.take_readers() };
        let old = state.readers.insert(member, cx.waker().clone());
        drop(state);
        drop(old);
        wake_all(others);
        membership
    }

    /// Positions from which a group continues: the committed offsets.
    pub(crate) fn positions(&self, group: &str, partitions: &[TopicPartition]) -> BTreeMap<TopicPartition, i64> {
        let state = self.lock();
        let position = |(topic, partition): &TopicPartition| state.store.groups.committed(group, topic, *partition);
        partitions.iter().map(|at| (at.clone(), position(at).unwrap_or(0))).collect()
    }

    /// Returns the first record in these partitions, in the order of the list.
    pub(crate) fn fetch(&self, positions: &[(&TopicPartition, &i64)], committed_only: bool) -> Fetched {
        let state = self.lock();
        for ((topic, partition), from) in positions {
            let found = state.store.log.partition(topic, *partition).and_then(|p| p.from(**from, committed_only));
            if let Some(record) = found {
                return Fetched::Record(record.clone());
            }
        }
        let due = if committed_only { state.next_end() } else { None };
        due.map_or(Fetched::Nothing, Fetched::NothingUntil)
    }

    /// The offset at which a group begins to read a partition. If an open transaction contains an offset of it, the time at
    /// which the next one ends by itself.
    pub(crate) fn start_position(
        &self,
        group: &str,
        at: &core::TopicPartition,
        start: OffsetReset,
    ) -> Result<i64, Option<Instant>> {
        let place = if start == OffsetReset::Latest { SeekTo::End } else { SeekTo::Beginning };
        let state = self.lock();
        let committed = state.store.stable_offset(group, &at.topic, at.partition).ok_or_else(|| state.next_end())?;
        drop(state);
        Ok(committed.unwrap_or_else(|| self.offset_of(at, place)))
    }

    /// The committed offset of a partition. The outer `None`: an open transaction contains one.
    pub(crate) fn committed_by(&self, group: &str, at: &core::TopicPartition) -> Option<Option<i64>> {
        self.lock().store.stable_offset(group, &at.topic, at.partition)
    }

    pub(crate) fn offset_of(&self, at: &core::TopicPartition, place: SeekTo) -> i64 {
        let state = self.lock();
        let Some(partition) = state.store.log.partition(&at.topic, at.partition) else { return 0 };
        match place {
            SeekTo::Offset(offset) => offset,
            SeekTo::End => partition.high_watermark(),
            SeekTo::Timestamp(time) => partition.first_since(time).unwrap_or_else(|| partition.high_watermark()),
            _ => partition.start(),
        }
    }

    /// Reads at most `max` records of a partition. Returns them, the offset at which to continue, and the time at which
    /// more records may be readable because an open transaction ends by itself. `Err` has the start and the end of a log that does
    /// not have the offset.
    pub(crate) fn read(
        &self,
        at: &core::TopicPartition,
        from: i64,
        committed_only: bool,
        max: usize,
    ) -> Result<ReadBatch, (i64, i64)> {
        let state = self.lock();
        let partition = state.store.log.partition(&at.topic, at.partition);
        let range = partition.map(|found| (found.start(), found.high_watermark()));
        if let Some(range) = range.filter(|(start, end)| !(start..=end).contains(&&from)) {
            return Err(range);
        }
        let (records, next) = partition.map_or((Vec::new(), from), |found| found.read(from, committed_only, max));
        let end = if committed_only { state.next_end() } else { None };
        Ok((records, next, end))
    }

    pub(crate) fn add_commit_fault(&self, fault: CommitFault) {
        self.lock().commit_faults.push_back(fault);
    }

    /// Carries out the commit of a source. `None`: its answer is lost.
    pub(crate) fn commit_of_source(&self, member: &ConsumerGroup, offsets: &[TopicOffset]) -> Option<CommitAnswer> {
        let fault = self.lock().commit_faults.pop_front();
        match fault {
            Some(CommitFault::Lose) => return None,
            Some(CommitFault::Refuse(answer)) => return Some(answer),
            Some(CommitFault::LoseAnswer) | None => {}
        }
        if member.member_id.is_empty() && self.lock().store.groups.has_members(&member.group_id) {
            // UNKNOWN_MEMBER_ID: Kafka takes the commits of a consumer without a group only while the group has no members.
            return fault.is_none().then(|| CommitAnswer::of_code(25, &member.group_id));
        }
        let answer = match self.commit(member, offsets) {
            Ok(()) => CommitAnswer::Committed,
            Err(error) => CommitAnswer::NotAMember(error.without_record()),
        };
        fault.is_none().then_some(answer)
    }

    pub(crate) fn start_rebalance(&self, group: &str) -> bool {
        self.change_groups(|state| state.store.groups.start_rebalance(group))
    }

    pub(crate) fn expel_all(&self, group: &str) -> usize {
        self.change_groups(|state| state.store.groups.expel_all(group))
    }

    pub(crate) fn commit(&self, member: &ConsumerGroup, offsets: &[TopicOffset]) -> core::Result<()> {
        let mut state = self.lock();
        let groups = &mut state.store.groups;
        if !groups.is_current(member) {
            return Err(errors::transaction::stale_member(&member.group_id));
        }
        offsets.iter().for_each(|offset| groups.commit(&member.group_id, offset));
        Ok(())
    }
}
