//! A transport of one's own: it sends records to the [`ToyBroker`] in this process. The ledger does the hard part: limits,
//! order, wake-ups, outcomes and the report of a close. `docs/transport.md` explains this file.

use std::any::TypeId;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use kafka_tower_core::error::transport as errors;
use kafka_tower_core::gate::{Gate, GateHandle, Gated, Limits, Permit};
use kafka_tower_core::ledger::{DeliveryFuture, Keeper, Ledger, RecordTransport};
use kafka_tower_core::partitioner::partition_for_key;
use kafka_tower_core::{
    CloseReport, Control, ControlFuture, Delivery, Error, ErrorKind, InFlight, IntoTransport, Persistence, Record,
    Result, TransactionControl, handover, ledger,
};
use tokio::time::{sleep_until, timeout};
use tower_service::Service;

use crate::broker::ToyBroker;

/// Time after which a record is overdue. With it, the ledger watches a record beyond its deadline; a close gives up what is
/// watched.
const BOUND: Duration = Duration::from_secs(300);

type Slot = ledger::Slot<Delivery>;

#[derive(Clone)]
pub(crate) struct ToyTransport(GateHandle<Toy>);

/// What the handles share.
pub(crate) struct Toy {
    broker: Arc<ToyBroker>,
    ledger: Ledger<Delivery>,
}

impl ToyTransport {
    pub(crate) fn new(broker: Arc<ToyBroker>, limits: Limits) -> Self {
        Self(Arc::new(Toy { broker, ledger: Ledger::new(limits, Some(BOUND)) }).handle())
    }

    pub(crate) fn control(&self) -> Arc<dyn Control> {
        Arc::new(ToyControl(Arc::clone(self.0.transport())))
    }
}

impl IntoTransport for ToyTransport {
    type Transport = Self;

    fn into_transport(self) -> (Self, Arc<dyn Control>) {
        let control = self.control();
        (self, control)
    }
}

impl Service<Record> for ToyTransport {
    type Response = Delivery;
    type Error = Error;
    type Future = DeliveryFuture<Toy>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.poll_ready(cx).map(Ok)
    }

    /// Everything that fixes the record's place happens before this returns. The future only waits.
    fn call(&mut self, mut record: Record) -> Self::Future {
        let ticket = record.take_ticket();
        let toy = Arc::clone(self.0.transport());
        if let Err(error) = toy.check(&mut record, ticket.as_ref().and_then(|ticket| ticket.refusal())) {
            self.0.pass_on(); // this handle was woken for free room, and does not take it
            return DeliveryFuture::refused(error.with_record(record));
        }
        let (bytes, slot) = (record.size(), Arc::new(Slot::new(record, toy.now())));
        if let Err(error) = toy.ledger.watch(&slot) {
            self.0.pass_on();
            return DeliveryFuture::refused(error.with_record(slot.record().clone()));
        }
        match self.0.call(Arc::clone(&slot), bytes) {
            Ok(()) => {
                handover::taken(); // from now on the transport answers for the record, also to its transaction
                ticket.inspect(|ticket| ticket.account());
                toy.keep_deadline(&slot);
                DeliveryFuture::waiting(slot, toy)
            }
            Err(refused) => DeliveryFuture::refused(toy.ledger.refusal(&refused)),
        }
    }
}

impl Toy {
    /// Refuses a record that cannot be sent, and picks its partition.
    fn check(&self, record: &mut Record, refusal: Option<Error>) -> Result<()> {
        record.validate()?;
        let count = self.broker.partition_count(&record.topic).unwrap_or(0);
        let of_key = || record.key.as_deref().map_or(0, |key| partition_for_key(key, count.max(1)));
        let partition = record.partition.unwrap_or_else(of_key);
        if partition as u32 >= count {
            let text = format!("there is no partition {partition} of {}", record.topic);
            let error = Error::new(ErrorKind::UnknownTopicOrPartition, text);
            return Err(error.with_persistence(Persistence::NotPersisted));
        }
        record.partition = Some(partition);
        refusal.map_or(Ok(()), Err)
    }

    /// Settles a record, then gives its room back.
    fn report(self: &Arc<Self>, slot: &Slot, outcome: Result<Delivery>) {
        self.release(self.settle(slot, outcome));
    }

    /// A task for each record is good enough for a toy.
    fn keep_deadline(self: &Arc<Self>, slot: &Slot) {
        let Some(at) = slot.record().expires_at.filter(|_| !slot.is_settled()) else { return };
        let toy = Arc::clone(self);
        tokio::spawn(async move {
            sleep_until(at.into()).await;
            let late = |slot: &Slot, admitted| errors::expired(&slot.record().topic, None, admitted, None);
            let overdue = toy.expire(toy.now(), late);
            toy.ledger.watch_again(&overdue, toy.now() + BOUND); // a close must still find them
        });
    }
}

impl Gated for Toy {
    type Item = Arc<Slot>;

    fn gate(&self) -> &Gate<Arc<Slot>> {
        self.ledger.gate()
    }

    /// Hands an admitted record to the broker. The gate calls this, in order.
    fn enqueue(self: &Arc<Self>, slot: Arc<Slot>, permit: Permit) -> Result<(), Permit> {
        slot.admit(permit);
        if slot.record().expires_at.is_some_and(|at| at <= self.now()) {
            let error = errors::too_late(slot.record());
            return self.settle(&slot, Err(error)).map_or(Ok(()), Err);
        }
        let (toy, record) = (Arc::clone(self), slot.record().clone());
        self.broker.produce(record, Box::new(move |delivery| toy.report(&slot, Ok(delivery))));
        Ok(())
    }
}

impl RecordTransport for Toy {
    type Acknowledgement = Delivery;

    fn ledger(&self) -> &Ledger<Delivery> {
        &self.ledger
    }

    /// It has no transactions that a failure could end.
    fn failed(&self, _slot: &Slot, _error: &Error) {}

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

impl Keeper for Toy {
    type Transport = Self;

    fn transport(&self) -> &Self {
        self
    }
}

struct ToyControl(Arc<Toy>);

impl Control for ToyControl {
    fn flush(&self) -> ControlFuture<'_, ()> {
        let flush = self.0.flush();
        Box::pin(async {
            flush.await;
            Ok(())
        })
    }

    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport> {
        let toy = &self.0;
        let close = toy.ledger.closing().begin(None);
        toy.gate().close();
        let flush = toy.flush();
        Box::pin(async move {
            let _complete = timeout(within, flush).await;
            let without_room = |slot: Arc<Slot>| {
                toy.report(&slot, Err(errors::without_room_at_close(&slot.record().topic, None)));
            };
            toy.withdraw(|_| true, without_room);
            for slot in toy.ledger.watched() {
                toy.report(&slot, Err(errors::lost(&slot.record().topic)));
            }
            Ok(close.report())
        })
    }

    fn giver(&self) -> Option<TypeId> {
        Some(TypeId::of::<ToyTransport>())
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.0.broker.partition_count(topic)
    }

    fn in_flight(&self) -> InFlight {
        self.0.gate().in_flight()
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        None
    }
}

impl std::fmt::Debug for ToyControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ToyControl").field(self.0.gate()).finish()
    }
}
