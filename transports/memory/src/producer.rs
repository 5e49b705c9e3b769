//! Builder of a producer.

use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::gate::Limits;

use crate::client::{Broker, Client};
use crate::partition_queue::Batching;
use crate::resend::{Resend, Settings};
use crate::transaction::client::TxnClient;
use crate::transport::MemoryTransport;

/// Default limits: 10,000 records and 32 MiB.
pub const DEFAULT_LIMITS: Limits = Limits { records: 10_000, bytes: 32 << 20 };

/// Kafka's default for `transaction.timeout.ms`.
pub(crate) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

const RESEND: Settings = Settings { retries: u32::MAX, timeout: Duration::from_secs(120), idempotent: true };

/// Builder of a producer. See [`MemoryKafka::producer`](crate::MemoryKafka::producer).
#[derive(Clone, Debug)]
#[must_use = "it makes nothing before `transport`"]
pub struct Producer {
    broker: Arc<Broker>,
    limits: Limits,
    transactional_id: Option<Arc<str>>,
    transaction_timeout: Duration,
    resend: Option<Settings>,
    batching: Option<Batching>,
    #[cfg(feature = "sim")]
    journal: Option<Arc<crate::sim::Journal>>,
}

impl Producer {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self {
            broker,
            limits: DEFAULT_LIMITS,
            transactional_id: None,
            transaction_timeout: TRANSACTION_TIMEOUT,
            resend: None,
            batching: None,
            #[cfg(feature = "sim")]
            journal: None,
        }
    }

    /// Records sends and results in a journal.
    #[cfg(feature = "sim")]
    pub(crate) fn journal(mut self, journal: &Arc<crate::sim::Journal>) -> Self {
        self.journal = Some(Arc::clone(journal));
        self
    }

    /// Sets the limits. Default: [`DEFAULT_LIMITS`]. A limit of 0 counts as 1.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Makes the producer transactional, as `transactional.id` does: its
    /// [control](kafka_tower_core::Control::transactions) begins and ends transactions, and a record outside of one
    /// is refused.
    pub fn transactional(mut self, id: impl Into<Arc<str>>) -> Self {
        self.transactional_id = Some(id.into());
        self
    }

    /// Sets `transaction.timeout.ms`: the broker aborts a transaction that is open for longer, and fences the
    /// producer. Default: 60 s.
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.transaction_timeout = timeout;
        self
    }

    /// Makes the producer retry by itself, as librdkafka does: records without an answer and records that may succeed
    /// are sent again after 100 ms, at most `retries` times and no longer than
    /// [`delivery_timeout`](Self::delivery_timeout). Default: a record is sent once. Giving up a record that may have
    /// been written has the consequence described there; librdkafka itself has no limit on retries.
    ///
    /// The producer numbers its records, as `enable.idempotence` does, so that the broker recognizes duplicates;
    /// [`idempotence`](Self::idempotence) can disable that.
    pub fn retries(mut self, retries: u32) -> Self {
        let settings = self.resend.unwrap_or(RESEND);
        self.resend = Some(Settings { retries, ..settings });
        self
    }

    /// Sets `delivery.timeout.ms` (`message.timeout.ms`): the time limit of the producer's own retries. Default: 120 s.
    /// Also makes the producer retry, without a limit on their number unless [`retries`](Self::retries) sets one. As
    /// with librdkafka, giving up a record that may have been written has a consequence: the producer takes a new epoch,
    /// and other records that were written and not yet answered are **written a second time** and answered with `Ok`.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        let settings = self.resend.unwrap_or(RESEND);
        self.resend = Some(Settings { timeout, ..settings });
        self
    }

    /// Whether records are numbered. Default: true. Without numbers a retried record can be written twice, and behind
    /// later ones. Also makes the producer retry.
    pub fn idempotence(mut self, number: bool) -> Self {
        let settings = self.resend.unwrap_or(RESEND);
        self.resend = Some(Settings { idempotent: number, ..settings });
        self
    }

    /// Makes the producer send batches: up to `records` records of a partition, at the latest `linger` after the
    /// first one. A refusal applies to all records of a batch, whichever is the cause
    /// ([`Scope::Batch`](kafka_tower_core::Scope::Batch)). An [`isolated`](kafka_tower_core::Record::isolated) record
    /// is sent alone. Default: each record is sent alone.
    ///
    /// Lingering needs a runtime.
    pub fn batches(mut self, records: usize, linger: Duration) -> Self {
        self.batching = Some(Batching { records: records.max(1), linger });
        self
    }

    /// Creates the producer.
    ///
    /// # Panics
    ///
    /// If a transactional producer is set to retry by itself, which is not supported.
    #[must_use]
    pub fn transport(self) -> MemoryTransport {
        let transaction = self.transactional_id.map(|id| TxnClient::new(id, self.transaction_timeout));
        assert!(
            transaction.is_none() || self.resend.is_none(),
            "a transactional producer in memory has no retries of its own"
        );
        let resend = self.resend.map(|settings| Resend::new(settings, self.broker.new_producer_id()));
        let client = Client::new(self.broker, self.limits, transaction, resend, self.batching);
        #[cfg(feature = "sim")]
        let client = client.with_journal(self.journal);
        MemoryTransport::new(client)
    }
}
