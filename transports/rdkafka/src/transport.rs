use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use kafka_tower_core::clock::coarse_now;
use kafka_tower_core::gate::{GateHandle, Gated, Limits, Refused};
use kafka_tower_core::ledger::RecordTransport;
use kafka_tower_core::ticket::Ticket;
use kafka_tower_core::unanswered::Unanswered;
use kafka_tower_core::validate::KnownTopic;
use kafka_tower_core::{Control, Error, IntoTransport, Record, Result, handover, validate};
use tower_service::Service;

use crate::builder::RdkafkaBuilder;
use crate::classify;
use crate::connect;
use crate::control::RdkafkaControl;
use crate::future::DeliveryFuture;
use crate::inner::TransportInner;
use crate::owner::Owner;
use crate::slot::Slot;
use crate::threads;

/// Sends records with librdkafka. A clone is another handle on the same producer. See the [crate](crate) documentation
/// for its guarantees.
///
/// Dropping the last handle, control or awaited future waits for the producer's threads: some milliseconds, or some
/// seconds while the name of a broker cannot be resolved. It first aborts an open transaction: one round trip to its
/// coordinator, at most 3 s if the coordinator does not answer. If that must not block a thread of the runtime, close the
/// transport first, or drop it in `spawn_blocking`.
pub struct RdkafkaTransport {
    owner: Arc<Owner>,
    admission: GateHandle<TransportInner>,
    topic: KnownTopic,
}

impl RdkafkaTransport {
    /// Returns a builder of a transport.
    pub fn builder() -> RdkafkaBuilder {
        RdkafkaBuilder::new()
    }

    pub(crate) fn new(owner: Arc<Owner>) -> Self {
        let admission = owner.inner.handle();
        Self { owner, admission, topic: KnownTopic::default() }
    }

    /// Returns the control side: flush, close, counts, transactions.
    #[must_use]
    pub fn control(&self) -> Arc<dyn Control> {
        Arc::new(RdkafkaControl::new(Arc::clone(&self.owner)))
    }

    /// Limits of the records admitted and not settled.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.owner.inner.gate().limits()
    }

    /// Adds a topic of another sink that shares this transport: admits `records` records for each of its partitions, as
    /// [`records_per_partition`](RdkafkaBuilder::records_per_partition) does. Looks the topic up within `within`; with
    /// `None` in the background.
    ///
    /// # Errors
    ///
    /// As [`RdkafkaBuilder::connect`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the look-up.
    pub async fn add_topic(&self, topic: impl Into<Arc<str>>, records: usize, within: Option<Duration>) -> Result<()> {
        let topic = topic.into();
        validate::topic_name(&topic)?;
        let inner = Arc::clone(&self.owner.inner);
        if let Some(timeout) = within.filter(|_| inner.partitions.get(&topic).is_none()) {
            let topics = [topic.to_string()];
            threads::run("kafka-tower-connect", "cannot connect", move |given_up| {
                connect::look_up(&inner, &topics, timeout, given_up)
            })
            .await?;
        }
        self.owner.inner.count_topic(&topic, records);
        Ok(())
    }

    /// Changes the limits.
    pub fn set_limits(&self, limits: Limits) {
        self.owner.inner.set_limits(limits);
    }
}

impl RdkafkaTransport {
    /// Refuses a record before the gate: the free room that this handle was woken for goes to another handle.
    #[cold]
    fn refuse(&mut self, error: Error, record: Record) -> DeliveryFuture {
        self.admission.pass_on();
        DeliveryFuture::refused(error.with_record(record))
    }
}

impl IntoTransport for RdkafkaTransport {
    type Transport = Self;

    fn into_transport(self) -> (Self, Arc<dyn Control>) {
        let control = self.control();
        (self, control)
    }
}

impl Service<Record> for RdkafkaTransport {
    type Response = kafka_tower_core::Delivery;
    type Error = Error;
    type Future = DeliveryFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.admission.poll_ready(cx).map(Ok)
    }

    /// Hands the record to librdkafka before it returns, or parks it behind records that wait for room.
    fn call(&mut self, mut record: Record) -> DeliveryFuture {
        if let Err(error) = record.validate_with(&mut self.topic) {
            return self.refuse(error, record);
        }
        let ticket = record.take_ticket();
        if let Some(error) = ticket.as_ref().and_then(Ticket::refusal) {
            return self.refuse(error, record);
        }
        let size = record.size();
        let mut now = coarse_now();
        // Errors show shorter times in milliseconds, so they need the exact clock.
        if record.expires_at.is_some_and(|at| at < now + Duration::from_secs(2)) {
            now = Instant::now();
        }
        if record.expires_at.is_some_and(|at| at <= now) {
            let error = classify::too_late(&record);
            return self.refuse(error.with_unanswered(Unanswered::new(None)), record);
        }
        let inner = &self.owner.inner;
        if let Some(error) = inner.request_limit.refusal(&inner.client, &record, size) {
            return self.refuse(error, record);
        }
        let slot = Arc::new(Slot::new(record, now).with_order(inner.next_order()));
        // Before the hand-over: a replacement of the client must know of the record.
        if let Err(error) = inner.watch(&slot) {
            return self.refuse(error, slot.record().clone());
        }
        let admitted = self.admission.call(Arc::clone(&slot), size);
        match admitted {
            Ok(()) => {
                // A record that librdkafka rejected at once is not part of its transaction.
                if !(self.owner.transactional && slot.has_failed()) {
                    handover::taken();
                    ticket.inspect(Ticket::account);
                }
                DeliveryFuture::waiting(slot, Arc::clone(&self.owner))
            }
            Err(refused) => {
                let error = inner.ledger().refusal(&refused);
                DeliveryFuture::refused(match refused {
                    Refused::TooLarge(_) => classify::larger_than_gate(error),
                    Refused::Closed(_) => error,
                })
            }
        }
    }
}

impl Clone for RdkafkaTransport {
    fn clone(&self) -> Self {
        Self { owner: Arc::clone(&self.owner), admission: self.admission.clone(), topic: self.topic.clone() }
    }
}

impl fmt::Debug for RdkafkaTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdkafkaTransport").field("gate", self.owner.inner.gate()).finish_non_exhaustive()
    }
}
