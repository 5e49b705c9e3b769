//! A transport of one's own: it sends records to the [`ToyBroker`] in this process. The gate does the hard part: limits,
//! order, and who is woken. `docs/transport.md` explains this file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use kafka_tower_core::error::transport as errors;
use kafka_tower_core::gate::{Gate, GateHandle, Limits, Permit, Refused};
use kafka_tower_core::partitioner::partition_for_key;
use kafka_tower_core::{
    CloseReport, Control, ControlFuture, Delivery, Error, ErrorKind, InFlight, IntoTransport, Persistence, Record,
    Result, TransactionControl, handover,
};
use tokio::sync::oneshot;
use tokio::time::{timeout, timeout_at};
use tower_service::Service;

use crate::broker::ToyBroker;

#[derive(Clone)]
pub(crate) struct ToyTransport {
    inner: Arc<Inner>,
    handle: GateHandle<u64>,
}

/// What the handles share. The gate holds the numbers of parked calls, and `calls` everything else about them.
struct Inner {
    broker: Arc<ToyBroker>,
    gate: Arc<Gate<u64>>,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    next: u64,
    open: BTreeMap<u64, Call>,
    closing: Option<CloseReport>,
}

struct Call {
    record: Record,
    caller: oneshot::Sender<Result<Delivery>>,
    /// The room that the record holds; `None` while it is parked.
    permit: Option<Permit>,
}

impl ToyTransport {
    pub(crate) fn new(broker: Arc<ToyBroker>, limits: Limits) -> Self {
        let gate = Gate::new(limits);
        let handle = gate.handle();
        Self { inner: Arc::new(Inner { broker, gate, calls: Mutex::default() }), handle }
    }

    pub(crate) fn control(&self) -> Arc<dyn Control> {
        Arc::new(ToyControl(Arc::clone(&self.inner)))
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
    type Future = ControlFuture<'static, Delivery>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.handle.poll_ready(cx).map(Ok)
    }

    /// Everything that fixes the record's place happens before this returns. The future only waits.
    fn call(&mut self, mut record: Record) -> Self::Future {
        let ticket = record.take_ticket();
        if let Err(error) = self.inner.check(&mut record, ticket.as_ref().and_then(|ticket| ticket.refusal())) {
            self.handle.pass_on(); // this handle was woken for free room, and does not take it
            return refused(error);
        }
        let (topic, bytes, expires_at) = (Arc::clone(&record.topic), record.size(), record.expires_at);
        let (caller, answer) = oneshot::channel();
        let id = self.inner.calls().begin(Call { record, caller, permit: None });
        if let Err(why) = self.handle.call(id, bytes, |id, permit| self.inner.send(id, permit)) {
            self.inner.calls().open.remove(&id);
            return refused(match why {
                Refused::TooLarge(_) => errors::larger_than_gate(&topic, bytes, self.inner.gate.limits().bytes),
                Refused::Closed(_) => errors::after_close(&topic),
            });
        }
        handover::taken(); // from now on the transport answers for the record, also to its transaction
        ticket.inspect(|ticket| ticket.account());
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let outcome = inner.wait(id, &topic, answer, expires_at).await;
            handover::returned();
            outcome
        })
    }
}

impl Inner {
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

    /// Hands an admitted record to the broker. The gate calls this, in order.
    fn send(self: &Arc<Self>, id: u64, permit: Permit) -> Result<(), Permit> {
        let record = match self.calls().open.get_mut(&id) {
            Some(call) => {
                call.permit = Some(permit);
                call.record.clone()
            }
            None => return Err(permit),
        };
        if record.expires_at.is_some_and(|at| at <= tokio::time::Instant::now().into_std()) {
            self.settle(id, |record| Err(errors::too_late(record)));
            return Ok(());
        }
        let inner = Arc::clone(self);
        self.broker.produce(record, Box::new(move |delivery| inner.settle(id, |_| Ok(delivery))));
        Ok(())
    }

    /// The outcome of a record: counts it, tells the caller if it still waits, and gives the room back. Only the first
    /// outcome of a record counts.
    fn settle(self: &Arc<Self>, id: u64, outcome: impl FnOnce(&Record) -> Result<Delivery>) {
        let mut calls = self.calls();
        let Some(Call { record, caller, permit }) = calls.open.remove(&id) else { return };
        let outcome = outcome(&record);
        if let Some(report) = &mut calls.closing {
            report.count(record, &outcome);
        }
        drop(calls);
        let _dropped_by_the_caller = caller.send(outcome);
        self.gate.release(permit, |id, permit| self.send(id, permit));
    }

    /// Withdraws parked records: they are certainly not written. Returns their number.
    fn withdraw(self: &Arc<Self>, which: impl Fn(u64) -> bool, error: impl Fn(&str) -> Error) -> usize {
        let settle = |id| self.settle(id, |record| Err(error(&record.topic)));
        self.gate.withdraw(|id| which(*id), settle, |id, permit| self.send(id, permit))
    }

    async fn wait(
        self: Arc<Self>,
        id: u64,
        topic: &str,
        answer: oneshot::Receiver<Result<Delivery>>,
        expires_at: Option<Instant>,
    ) -> Result<Delivery> {
        let lost = |_| Err(errors::lost(topic));
        let Some(at) = expires_at else { return answer.await.unwrap_or_else(lost) };
        if let Ok(answer) = timeout_at(at.into(), answer).await {
            return answer.unwrap_or_else(lost);
        }
        let withdrawn = self.withdraw(|parked| parked == id, |topic| errors::expired(topic, None, false, None));
        // Not withdrawn: the broker has it and has not answered, and its room comes back with the answer.
        Err(errors::expired(topic, None, withdrawn == 0, None))
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calls {
    fn begin(&mut self, call: Call) -> u64 {
        self.next += 1;
        self.open.insert(self.next, call);
        self.next
    }
}

struct ToyControl(Arc<Inner>);

impl Control for ToyControl {
    fn flush(&self) -> ControlFuture<'_, ()> {
        let flush = self.0.gate.flush();
        Box::pin(async {
            flush.await;
            Ok(())
        })
    }

    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport> {
        self.0.calls().closing.get_or_insert_default();
        self.0.gate.close();
        let flush = self.0.gate.flush();
        Box::pin(async move {
            let _complete = timeout(within, flush).await;
            self.0.withdraw(|_| true, |topic| errors::without_room_at_close(topic, None));
            let open: Vec<u64> = self.0.calls().open.keys().copied().collect();
            for id in open {
                self.0.settle(id, |record| Err(errors::lost(&record.topic)));
            }
            Ok(self.0.calls().closing.take().unwrap_or_default())
        })
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.0.broker.partition_count(topic)
    }

    fn in_flight(&self) -> InFlight {
        self.0.gate.in_flight()
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        None
    }
}

impl std::fmt::Debug for ToyControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ToyControl").field(&self.0.gate).finish()
    }
}

fn refused(error: Error) -> ControlFuture<'static, Delivery> {
    Box::pin(async {
        handover::returned();
        Err(error)
    })
}
