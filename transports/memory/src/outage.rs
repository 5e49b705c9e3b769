//! Broker outages and leader changes.

use kafka_tower_core::validate;

use crate::faults::FaultKind;
use crate::rule::Scripted;
use crate::transaction::rule::ScriptedTransaction;
use crate::{MemoryKafka, log::Partition};

/// No broker can be reached until this is dropped. Created by [`MemoryKafka::outage`].
#[derive(Debug)]
#[must_use = "dropping it ends the outage"]
pub struct Outage {
    records: Scripted,
    transactions: ScriptedTransaction,
}

impl Outage {
    /// Number of records and transaction requests lost in the outage.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.records.used() + self.transactions.used()
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        self.records.cancel();
        self.transactions.cancel();
    }
}

impl MemoryKafka {
    /// Starts an outage of all brokers: records and transaction requests are lost, unless an older rule takes them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use kafka_tower_core::{Persistence, Record};
    /// use kafka_tower_memory::MemoryKafka;
    /// use tower::Service;
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 1);
    /// let mut transport = kafka.transport();
    /// let outage = kafka.outage();
    /// let error = transport.call(Record::new("orders")).await.unwrap_err();
    /// assert_eq!((error.persistence(), outage.lost()), (Persistence::PossiblyPersisted, 1));
    /// drop(outage);
    /// assert!(transport.call(Record::new("orders")).await.is_ok());
    /// # }
    /// ```
    pub fn outage(&self) -> Outage {
        let records = self.script().always().lose_request();
        let transactions = self.script_transactions().always().lose_request();
        Outage { records, transactions }
    }

    /// Moves a partition's leader: its epoch increases, and the next record reaches the old leader, which refuses it
    /// with `NOT_LEADER_OR_FOLLOWER`. Returns the new epoch.
    ///
    /// # Panics
    ///
    /// If the partition does not exist.
    pub fn move_leader(&self, topic: &str, partition: i32) -> i32 {
        if let Err(error) = validate::partition(partition) {
            panic!("{error:#}");
        }
        let moved = self.broker.with_log(|log| log.move_leader(topic, partition));
        let Some(epoch) = moved else { panic!("{topic}[{partition}] does not exist") };
        self.script().on_partition(topic, partition).fail(FaultKind::Refuse.error());
        epoch
    }

    /// The epoch of a partition's leader, from 0. `None` for an unknown partition.
    #[must_use]
    pub fn leader_epoch(&self, topic: &str, partition: i32) -> Option<i32> {
        self.broker.with_log(|log| log.partition(topic, partition).map(Partition::leader_epoch))
    }
}
