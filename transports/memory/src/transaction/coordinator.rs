//! The transaction coordinator: owners of transactional ids, open transactions and their ends. No clock, no lock, no
//! async.
//!
//! It behaves as a broker does towards a client of librdkafka's protocol version: the epoch grows with each `init`
//! and each time-out, not with each transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::TopicOffset;
use tokio::time::Instant;

/// Identity of a producer in each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Kafka's `INVALID_PRODUCER_EPOCH`: another producer acquired the id, or the transaction timed out.
    Fenced,
    /// Kafka's `INVALID_TXN_STATE`: no such transaction, or it ended the other way.
    State,
}

/// A transaction that ended: the partitions that get markers, and the offsets that take effect if it was committed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) producer_id: i64,
    pub(crate) committed: bool,
    pub(crate) partitions: BTreeSet<(Arc<str>, i32)>,
    pub(crate) offsets: Vec<(String, TopicOffset)>,
}

#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    ids: BTreeMap<Arc<str>, Entry>,
    next_producer_id: i64,
}

#[derive(Debug)]
struct Entry {
    owner: Identity,
    timeout: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Empty,
    Open(Open),
    Ended { committed: bool },
}

#[derive(Debug)]
struct Open {
    expires_at: Option<Instant>,
    partitions: BTreeSet<(Arc<str>, i32)>,
    offsets: Vec<(String, TopicOffset)>,
}

impl Coordinator {
    /// `InitProducerId` without a transactional id.
    pub(crate) fn new_producer_id(&mut self) -> i64 {
        self.next_producer_id += 1;
        self.next_producer_id - 1
    }

    /// Gives the id to a new owner, and aborts the old one's open transaction.
    pub(crate) fn init(&mut self, id: &Arc<str>, timeout: Duration) -> (Identity, Option<Ended>) {
        if let Some(entry) = self.ids.get_mut(id) {
            let ended = entry.end(false);
            entry.owner.epoch = entry.owner.epoch.wrapping_add(1);
            entry.timeout = timeout;
            entry.state = State::Empty;
            return (entry.owner, ended);
        }
        let owner = Identity { producer_id: self.new_producer_id(), epoch: 0 };
        self.ids.insert(Arc::clone(id), Entry { owner, timeout, state: State::Empty });
        (owner, None)
    }

    /// `AddPartitionsToTxn`: opens a transaction if none is open.
    pub(crate) fn add_partition(
        &mut self,
        id: &str,
        who: Identity,
        partition: (Arc<str>, i32),
        now: Instant,
    ) -> Result<(), Refusal> {
        self.entry(id, who)?.open(now).partitions.insert(partition);
        Ok(())
    }

    /// Verification by a partition's leader before it accepts a record of a transaction.
    pub(crate) fn verify(&mut self, id: &str, who: Identity, topic: &str, partition: i32) -> Result<(), Refusal> {
        match &self.entry(id, who)?.state {
            State::Open(open) if open.partitions.iter().any(|(t, p)| **t == *topic && *p == partition) => Ok(()),
            State::Open(_) | State::Empty | State::Ended { .. } => Err(Refusal::State),
        }
    }

    /// `TxnOffsetCommit`: opens a transaction if none is open.
    pub(crate) fn add_offsets(
        &mut self,
        id: &str,
        who: Identity,
        group: &str,
        offsets: &[TopicOffset],
        now: Instant,
    ) -> Result<(), Refusal> {
        let open = self.entry(id, who)?.open(now);
        open.offsets.extend(offsets.iter().map(|offset| (group.to_owned(), offset.clone())));
        Ok(())
    }

    /// `EndTxn`: ends whatever transaction is open, even if the client meant an earlier one. Repeating the same end
    /// is no error.
    pub(crate) fn end(&mut self, id: &str, who: Identity, committed: bool) -> Result<Option<Ended>, Refusal> {
        let entry = self.entry(id, who)?;
        match entry.state {
            State::Open(_) => Ok(entry.end(committed)),
            State::Ended { committed: before } if before == committed => Ok(None),
            State::Empty | State::Ended { .. } => Err(Refusal::State),
        }
    }

    /// Aborts the open transaction of the id and fences its owner, as at a time-out. Does nothing if none is open.
    pub(crate) fn abort(&mut self, id: &str) -> Option<Ended> {
        let entry = self.ids.get_mut(id)?;
        let ended = entry.end(false)?;
        entry.owner.epoch = entry.owner.epoch.wrapping_add(1);
        Some(ended)
    }

    /// Aborts transactions that have timed out.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Ended> {
        let late =
            |entry: &Entry| matches!(&entry.state, State::Open(open) if open.expires_at.is_some_and(|at| at <= now));
        let ids: Vec<_> = self.ids.iter().filter(|(_, entry)| late(entry)).map(|(id, _)| Arc::clone(id)).collect();
        ids.into_iter().filter_map(|id| self.abort(&id)).collect()
    }

    /// Whether an open transaction contains an offset of this partition.
    pub(crate) fn has_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        let is_of = |(of, offset): &(String, TopicOffset)| {
            of == group && *offset.topic == *topic && offset.partition == partition
        };
        let pending = |entry: &Entry| matches!(&entry.state, State::Open(open) if open.offsets.iter().any(is_of));
        self.ids.values().any(pending)
    }

    /// Time at which the next open transaction times out.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let expiry = |entry: &Entry| match &entry.state {
            State::Open(open) => open.expires_at,
            State::Empty | State::Ended { .. } => None,
        };
        self.ids.values().filter_map(expiry).min()
    }

    /// Whether transactions were never used, so that nothing can expire.
    pub(crate) fn is_unused(&self) -> bool {
        self.ids.is_empty()
    }

    fn entry(&mut self, id: &str, who: Identity) -> Result<&mut Entry, Refusal> {
        self.ids.get_mut(id).filter(|entry| entry.owner == who).ok_or(Refusal::Fenced)
    }
}

impl Entry {
    fn open(&mut self, now: Instant) -> &mut Open {
        if !matches!(self.state, State::Open(_)) {
            let expires_at = now.checked_add(self.timeout);
            self.state = State::Open(Open { expires_at, partitions: BTreeSet::new(), offsets: Vec::new() });
        }
        let State::Open(open) = &mut self.state else { unreachable!("it was opened") };
        open
    }

    fn end(&mut self, committed: bool) -> Option<Ended> {
        if !matches!(self.state, State::Open(_)) {
            return None;
        }
        let State::Open(open) = std::mem::replace(&mut self.state, State::Ended { committed }) else {
            unreachable!("it is open")
        };
        let Open { partitions, offsets, .. } = open;
        Some(Ended { producer_id: self.owner.producer_id, committed, partitions, offsets })
    }
}

#[cfg(test)]
mod tests;
