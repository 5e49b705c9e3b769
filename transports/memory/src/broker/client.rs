//! What the broker needs of a producer.

use std::fmt;
use std::sync::{Arc, MutexGuard};

use kafka_tower_core::ledger::Slot;
use kafka_tower_core::{Delivery, Record};

use crate::partition_queue::{Batching, Sent, Settled};
use crate::resend::Resend;
use crate::transaction::client::TxnClient;

/// A producer as its broker sees it.
pub(crate) trait BrokerClient: fmt::Debug + Send + Sync + Sized + 'static {
    /// Processes the delivery report of a record. Called outside the broker's lock.
    fn report(settled: Settled<Recipient<Self>>);

    /// Returns the next round-robin position of a topic.
    fn next_position(&self, topic: &Arc<str>) -> u32;

    /// Set if the producer sends batches of more than one record.
    fn batching(&self) -> Option<Batching>;

    /// The producer's own retries, if it has them.
    fn resend(&self) -> Option<MutexGuard<'_, Resend>>;

    /// The producer's transaction state, if it is transactional.
    fn transaction(&self) -> Option<MutexGuard<'_, TxnClient>>;

    /// Whether the producer has given up its records in flight. Read and written under the broker's lock.
    fn has_given_up(&self) -> bool;

    fn set_given_up(&self);
}

/// Receiver of a record's outcome.
#[derive(Debug)]
pub(crate) struct Recipient<C> {
    pub(crate) client: Arc<C>,
    /// Settled once the client gave the record up.
    pub(crate) slot: Arc<Slot<Delivery>>,
}

impl<C> Sent for Recipient<C> {
    fn record(&self) -> &Record {
        self.slot.record()
    }
}
