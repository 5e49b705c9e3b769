//! The broker's storage: the log, the coordinator's state and the groups' offsets. No clock, no lock, no async.

use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Delivery, Persistence, Record, Result, Timestamp, TopicOffset};
use tokio::time::Instant;

use crate::errors;
use crate::groups::Groups;
use crate::log::{Log, Origin, Sequence};
use crate::transaction::client::TxnClient;
use crate::transaction::coordinator::{Coordinator, Ended, Identity, Refusal};

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) log: Log,
    pub(crate) groups: Groups,
    coordinator: Coordinator,
}

impl Store {
    /// Aborts transactions that have timed out. Called before each access to the store, with the same effect as a
    /// timer.
    pub(crate) fn expire(&mut self, now: Instant) {
        for ended in self.coordinator.expire(now) {
            self.mark(ended);
        }
    }

    /// Time at which the next open transaction times out.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.coordinator.next_expiry()
    }

    pub(crate) fn has_transactions(&self) -> bool {
        !self.coordinator.is_unused()
    }

    pub(crate) fn new_producer_id(&mut self) -> i64 {
        self.coordinator.new_producer_id()
    }

    pub(crate) fn init(&mut self, id: &Arc<str>, timeout: Duration) -> Identity {
        let (identity, ended) = self.coordinator.init(id, timeout);
        ended.into_iter().for_each(|ended| self.mark(ended));
        identity
    }

    pub(crate) fn end(&mut self, id: &str, who: Identity, commit: bool) -> Result<(), Refusal> {
        let ended = self.coordinator.end(id, who, commit)?;
        ended.into_iter().for_each(|ended| self.mark(ended));
        Ok(())
    }

    /// Aborts a transaction as an operator does with `kafka-transactions.sh --abort`, or the broker at a time-out.
    pub(crate) fn abort(&mut self, id: &str) -> bool {
        let ended = self.coordinator.abort(id);
        let found = ended.is_some();
        ended.into_iter().for_each(|ended| self.mark(ended));
        found
    }

    pub(crate) fn add_offsets(
        &mut self,
        id: &str,
        who: Identity,
        group: &str,
        offsets: &[TopicOffset],
        now: Instant,
    ) -> Result<(), Refusal> {
        self.coordinator.add_offsets(id, who, group, offsets, now)
    }

    /// The committed offset of a partition, if it is known: while a transaction with an offset of it is open, it is not.
    pub(crate) fn stable_offset(&self, group: &str, topic: &str, partition: i32) -> Option<Option<i64>> {
        let pending = self.coordinator.has_pending(group, topic, partition);
        (!pending).then(|| self.groups.committed(group, topic, partition))
    }

    /// Appends a record of a producer, in its transaction if it is transactional.
    pub(crate) fn append(
        &mut self,
        transaction: Option<&mut TxnClient>,
        sequence: Option<Sequence>,
        record: &Record,
        partition: i32,
        timestamp: Timestamp,
        now: Instant,
    ) -> Result<Delivery> {
        let Some(client) = transaction else {
            return self.log.append(record, partition, timestamp, Origin { transaction: None, sequence });
        };
        let (who, known) = client.append(&record.topic, partition)?;
        let added = if known {
            Ok(())
        } else {
            let target = (Arc::clone(&record.topic), partition);
            self.coordinator.add_partition(&client.id, who, target, now)
        };
        let verified = added.and_then(|()| self.coordinator.verify(&client.id, who, &record.topic, partition));
        verified.map_err(|refusal| {
            let error = errors::transaction::refused("send", &client.id, refusal, false);
            error.with_persistence(Persistence::NotPersisted)
        })?;
        client.registered(&record.topic, partition);
        self.log.append(record, partition, timestamp, Origin { transaction: Some(who.producer_id), sequence })
    }

    fn mark(&mut self, ended: Ended) {
        let Ended { producer_id, committed, partitions, offsets } = ended;
        for (topic, partition) in partitions {
            self.log.end(&topic, partition, producer_id, committed);
        }
        if committed {
            offsets.iter().for_each(|(group, offset)| self.groups.commit(group, offset));
        }
    }
}

#[cfg(test)]
mod tests;
