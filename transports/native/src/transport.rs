//! The transport service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use kafka_tower_core::gate::{GateHandle, Gated, Limits, Refused};
use kafka_tower_core::ledger::{self, RecordTransport};
use kafka_tower_core::ticket::Ticket;
use kafka_tower_core::unanswered::Unanswered;
use kafka_tower_core::validate::KnownTopic;
use kafka_tower_core::{Control, Delivery, Error, IntoTransport, Record, Result, handover};
use tower_service::Service;

use crate::builder::NativeBuilder;
use crate::control::NativeControl;
use crate::failure;
use crate::owner::Owner;
use crate::shared::{Shared, watch};
use crate::slot::Slot;

/// Errors show times below this in milliseconds, so they need the exact clock.
const SHORT: Duration = Duration::from_secs(2);

/// Sends records to Kafka without librdkafka. A clone is another handle on the same client. See the [crate](crate)
/// documentation.
///
/// Its task runs on the runtime that connected. If that runtime ends, or its only thread is blocked, nothing is sent.
pub struct NativeTransport {
    owner: Arc<Owner>,
    admission: GateHandle<Shared>,
    topic: KnownTopic,
}

impl NativeTransport {
    /// Returns a builder of a transport.
    pub fn builder() -> NativeBuilder {
        NativeBuilder::new()
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let admission = shared.handle();
        Self { owner: Arc::new(Owner { shared }), admission, topic: KnownTopic::default() }
    }

    /// Returns the control side: flush, close, counts.
    #[must_use]
    pub fn control(&self) -> Arc<dyn Control> {
        Arc::new(NativeControl::new(Arc::clone(&self.owner)))
    }

    /// Limits of the records admitted and not settled.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.owner.shared.gate().limits()
    }

    /// Changes the limits.
    pub fn set_limits(&self, limits: Limits) {
        self.owner.shared.set_limits(limits);
    }

    /// Admits `records` records for each partition of a topic of another sink that shares this transport, as
    /// [`records_per_partition`](NativeBuilder::records_per_partition) does.
    pub fn count_topic(&self, topic: impl Into<Arc<str>>, records: usize) {
        self.owner.shared.count_topic(topic.into(), records);
    }

    /// Refuses a record before the gate: the free room that this handle was woken for goes to another handle.
    #[cold]
    fn refuse(&mut self, error: Error, record: Record) -> DeliveryFuture {
        self.admission.pass_on();
        DeliveryFuture(ledger::DeliveryFuture::refused(error.with_record(record)))
    }
}

impl IntoTransport for NativeTransport {
    type Transport = Self;

    fn into_transport(self) -> (Self, Arc<dyn Control>) {
        let control = self.control();
        (self, control)
    }
}

impl Service<Record> for NativeTransport {
    type Response = Delivery;
    type Error = Error;
    type Future = DeliveryFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.admission.poll_ready(cx).map(Ok)
    }

    /// Puts the record into the client's queue before it returns, or parks it behind records that wait for room.
    fn call(&mut self, mut record: Record) -> DeliveryFuture {
        if let Err(error) = record.validate_with(&mut self.topic) {
            return self.refuse(error, record);
        }
        let ticket = record.take_ticket();
        if let Some(error) = ticket.as_ref().and_then(Ticket::refusal) {
            return self.refuse(error, record);
        }
        let size = record.size();
        let settings = &self.owner.shared.settings;
        if size > settings.max_request_bytes {
            let error = failure::too_large(&record, settings.max_request_bytes);
            return self.refuse(error, record);
        }
        let mut now = settings.clock.coarse_now();
        if let Some(at) = record.expires_at {
            if at < now + SHORT {
                now = settings.clock.now();
            }
            if at <= now {
                let error = failure::too_late(&record).with_unanswered(Unanswered::new(None));
                return self.refuse(error, record);
            }
        }
        let slot = Arc::new(Slot::new(record, now).with_order(self.owner.shared.next_order()));
        // Before the hand-over: the close of its sink must know of it.
        if let Err(error) = watch(&self.owner.shared, &slot) {
            return self.refuse(error, slot.record().clone());
        }
        match self.admission.call(Arc::clone(&slot), size) {
            Ok(()) => {
                handover::taken();
                ticket.inspect(Ticket::account);
                DeliveryFuture(ledger::DeliveryFuture::waiting(slot, Arc::clone(&self.owner)))
            }
            Err(refused) => {
                let error = self.owner.shared.ledger().refusal(&refused);
                let error = match refused {
                    Refused::TooLarge(_) => error.with_help("send a smaller record, or raise the limit of bytes"),
                    Refused::Closed(_) => error,
                };
                DeliveryFuture(ledger::DeliveryFuture::refused(error))
            }
        }
    }
}

impl Clone for NativeTransport {
    fn clone(&self) -> Self {
        Self { owner: Arc::clone(&self.owner), admission: self.admission.clone(), topic: self.topic.clone() }
    }
}

impl fmt::Debug for NativeTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeTransport").field("gate", self.owner.shared.gate()).finish_non_exhaustive()
    }
}

/// Future of a record: resolves with its outcome, or when its deadline has passed. An error [contains the
/// record](Error::take_record).
///
/// # Cancel safety
///
/// Dropping it does not cancel the record; its answer frees its room. While it is awaited it keeps the client alive as a
/// handle does, so that `oneshot` on the last handle delivers.
#[must_use = "futures do nothing unless polled"]
pub struct DeliveryFuture(ledger::DeliveryFuture<Owner>);

impl Future for DeliveryFuture {
    type Output = Result<Delivery>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl fmt::Debug for DeliveryFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use kafka_tower_core::{ErrorKind, Timestamp};

    use super::*;

    #[tokio::test]
    async fn records_are_checked_also_behind_one_of_the_same_topic() {
        let transport = NativeTransport::builder().bootstrap("localhost:1").connect_check(false).connect();
        let mut transport = transport.await.unwrap();
        // The error of a record that is refused at once.
        let refused = |transport: &mut NativeTransport, record: Record| {
            let mut future = transport.call(record);
            match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(outcome) => Some(outcome.unwrap_err().kind()),
                Poll::Pending => None,
            }
        };
        let (good, bad): (Arc<str>, Arc<str>) = ("orders".into(), "bad topic!".into());
        for _ in 0..2 {
            assert_eq!(refused(&mut transport, Record::new(Arc::clone(&good))), None);
            assert_eq!(refused(&mut transport.clone(), Record::new(Arc::clone(&good))), None);
            for wrong in [
                Record::new(Arc::clone(&good)).with_partition(-1),
                Record::new(Arc::clone(&good)).with_timestamp(Timestamp::from_millis(0)),
                Record::new(Arc::clone(&bad)),
                Record::new(Arc::clone(&bad)),
            ] {
                assert_eq!(refused(&mut transport, wrong), Some(ErrorKind::InvalidRecord));
            }
        }
    }
}
