//! How a producer is made.

use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::gate::Limits;

use crate::broker::Broker;
use crate::client::Client;
use crate::handle::DEFAULT_LIMITS;
use crate::lane::Batching;
use crate::resend::{Resend, Settings};
use crate::transaction::client::TxnClient;
use crate::transport::MemoryTransport;

/// Kafka's default of `transaction.timeout.ms`.
pub(crate) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

const RESEND: Settings = Settings { retries: u32::MAX, timeout: Duration::from_secs(120), idempotent: true };

/// A producer to be made. See [`MemoryKafka::producer`](crate::MemoryKafka::producer).
#[derive(Clone, Debug)]
#[must_use = "it makes nothing before `transport`"]
pub struct Producer {
    broker: Arc<Broker>,
    limits: Limits,
    transactional_id: Option<Arc<str>>,
    transaction_timeout: Duration,
    resend: Option<Settings>,
    batching: Option<Batching>,
    #[cfg(feature = "check")]
    journal: Option<Arc<crate::check::Journal>>,
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
            #[cfg(feature = "check")]
            journal: None,
        }
    }

    /// Writes down what is sent and what it is told.
    #[cfg(feature = "check")]
    pub(crate) fn journal(mut self, journal: &Arc<crate::check::Journal>) -> Self {
        self.journal = Some(Arc::clone(journal));
        self
    }

    /// Has at most so much on its way, in place of [`DEFAULT_LIMITS`]; limits of 0 count as 1.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sends in transactions, as `transactional.id` makes a producer do: its
    /// [control](kafka_tower_core::Control::transactions) begins and ends them, and a record outside of one is refused.
    pub fn transactional(mut self, id: impl Into<Arc<str>>) -> Self {
        self.transactional_id = Some(id.into());
        self
    }

    /// `transaction.timeout.ms`, 60 s: the broker aborts what is open for longer, and fences the producer.
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.transaction_timeout = timeout;
        self
    }

    /// Sends again by itself, 100 ms later, what got no answer or may go well, as librdkafka does: so many times, and not
    /// longer than [`delivery_timeout`](Self::delivery_timeout). Without this a producer sends once. Giving up what may have
    /// been written has the price that is told there; librdkafka's own number is without an end.
    ///
    /// It numbers its records, as `enable.idempotence` does, so that the broker knows what it has already; not without
    /// [idempotence](Self::without_idempotence).
    pub fn retries(mut self, retries: u32) -> Self {
        let settings = self.resend.unwrap_or(RESEND);
        self.resend = Some(Settings { retries, ..settings });
        self
    }

    /// `delivery.timeout.ms` (`message.timeout.ms`), 120 s: how long it goes on by itself. The time of a record that may
    /// have been written runs out at a price, as with librdkafka: the producer takes a new epoch, and what else was
    /// written and not answered is **written a second time**, and told `Ok`.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        let settings = self.resend.unwrap_or(RESEND);
        self.resend = Some(Settings { timeout, ..settings });
        self
    }

    /// Does not number its records: one that is sent again can be there twice, and behind later ones.
    pub fn without_idempotence(mut self) -> Self {
        let settings = self.resend.unwrap_or(RESEND);
        self.resend = Some(Settings { idempotent: false, ..settings });
        self
    }

    /// Sends batches: up to so many records of a partition, not later than `linger` after the first. A refusal hits all
    /// of a batch, whichever record is the cause ([`Scope::Batch`](kafka_tower_core::Scope::Batch)). A record that is
    /// [`isolated`](kafka_tower_core::Record::isolated) goes alone. Without this each record does.
    ///
    /// Lingering needs a runtime.
    pub fn batches(mut self, records: usize, linger: Duration) -> Self {
        self.batching = Some(Batching { records: records.max(1), linger });
        self
    }

    /// Makes it.
    ///
    /// # Panics
    ///
    /// If a transactional producer is to send again by itself: here it does not.
    #[must_use]
    pub fn transport(self) -> MemoryTransport {
        let transaction = self.transactional_id.map(|id| TxnClient::new(id, self.transaction_timeout));
        assert!(transaction.is_none() || self.resend.is_none(), "a transactional producer does not send again here");
        let resend = self.resend.map(|settings| Resend::new(settings, self.broker.new_producer_id()));
        let client = Client::new(self.broker, self.limits, transaction, resend, self.batching);
        #[cfg(feature = "check")]
        let client = client.with_journal(self.journal);
        MemoryTransport::new(client)
    }
}
