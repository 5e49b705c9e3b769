//! A transport with one defect.

use std::any::TypeId;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use kafka_tower_core::{
    CloseReport, Control, ControlFuture, Delivery, Error, ErrorKind, Headers, InFlight, Persistence, Record, Result,
    TransactionControl, handover,
};
use kafka_tower_memory::MemoryTransport;
use tower_service::Service;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    SendsAtTheFirstPoll,
    KeepsTheRoomOfDroppedFutures,
    FlushesNothing,
    ForgetsTheWaker,
    AdmitsOneMore,
    AlwaysReady,
    FailsWhereItIsFull,
    DoubtsEveryError,
    KeepsTheRecord,
    IgnoresDeadlines,
    AnswersBeforeTheAppend,
    ReportsNothing,
    ForgetsFuturesWithTheLastHandle,
    DropsHeaders,
    SendsToTheFirstPartition,
    AcceptsSilently,
    DropsTickets,
    LeavesTransactionsOpen,
    LeaksAHandle,
}

#[derive(Clone)]
pub(crate) struct Broken {
    memory: MemoryTransport,
    defect: Option<Defect>,
    /// Records whose room is kept for ever.
    leaked: Arc<AtomicUsize>,
    alive: Arc<()>,
}

impl Broken {
    pub(crate) fn new(memory: MemoryTransport, defect: Option<Defect>) -> Self {
        if defect == Some(Defect::LeaksAHandle) {
            std::mem::forget(memory.clone());
        }
        Self { memory, defect, leaked: Arc::default(), alive: Arc::default() }
    }

    pub(crate) fn control(&self) -> Arc<dyn Control> {
        let (memory, leaked) = (self.memory.control(), Arc::clone(&self.leaked));
        Arc::new(BrokenControl { memory, defect: self.defect, leaked })
    }

    fn change(&self, record: &mut Record) {
        match self.defect {
            Some(Defect::IgnoresDeadlines) => record.expires_at = None,
            Some(Defect::DropsHeaders) => record.headers = Headers::new(),
            Some(Defect::SendsToTheFirstPartition) => record.partition = record.partition.or(Some(0)),
            Some(Defect::DropsTickets) => drop(record.take_ticket()),
            _ => {}
        }
    }
}

impl Service<Record> for Broken {
    type Response = Delivery;
    type Error = Error;
    type Future = ControlFuture<'static, Delivery>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let ready = match self.defect {
            Some(Defect::ForgetsTheWaker) => self.memory.poll_ready(&mut Context::from_waker(std::task::Waker::noop())),
            _ => self.memory.poll_ready(cx),
        };
        match self.defect {
            Some(Defect::AlwaysReady) => Poll::Ready(Ok(())),
            Some(Defect::FailsWhereItIsFull) if ready.is_pending() => {
                Poll::Ready(Err(Error::new(ErrorKind::Timeout, "the queue is full")))
            }
            _ => ready,
        }
    }

    fn call(&mut self, mut record: Record) -> Self::Future {
        self.change(&mut record);
        let alive: Weak<()> = Arc::downgrade(&self.alive);
        match self.defect {
            Some(Defect::SendsAtTheFirstPoll) => {
                let mut memory = self.memory.clone();
                Box::pin(async move { memory.call(record).await })
            }
            Some(Defect::KeepsTheRoomOfDroppedFutures) => {
                let kept = Kept(Some(Arc::clone(&self.leaked)));
                let future = self.memory.call(record);
                Box::pin(async move {
                    let outcome = future.await;
                    kept.resolve();
                    outcome
                })
            }
            Some(Defect::DoubtsEveryError) => {
                let future = self.memory.call(record);
                Box::pin(async { future.await.map_err(|error| error.with_persistence(Persistence::PossiblyPersisted)) })
            }
            Some(Defect::KeepsTheRecord) => {
                let future = self.memory.call(record);
                Box::pin(async {
                    future.await.map_err(|mut error| {
                        let _kept = error.take_record();
                        error
                    })
                })
            }
            Some(Defect::AnswersBeforeTheAppend) => {
                let delivery = Delivery::new(Arc::clone(&record.topic), record.partition.unwrap_or(0));
                let _nobody_waits = self.memory.call(record);
                Box::pin(async { Ok(delivery) })
            }
            Some(Defect::ForgetsFuturesWithTheLastHandle) => {
                let mut future = Box::pin(self.memory.call(record));
                Box::pin(poll_fn(move |cx| match alive.upgrade() {
                    Some(_) => future.as_mut().poll(cx),
                    None => Poll::Pending,
                }))
            }
            Some(Defect::AcceptsSilently) => {
                let (future, _not_passed_on) = handover::observe(|| self.memory.call(record));
                Box::pin(future)
            }
            _ => Box::pin(self.memory.call(record)),
        }
    }
}

/// Counts a record whose future is dropped before it resolves.
struct Kept(Option<Arc<AtomicUsize>>);

impl Kept {
    fn resolve(mut self) {
        self.0 = None;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(leaked) = &self.0 {
            leaked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
struct BrokenControl {
    memory: Arc<dyn Control>,
    defect: Option<Defect>,
    leaked: Arc<AtomicUsize>,
}

impl Control for BrokenControl {
    fn flush(&self) -> ControlFuture<'_, ()> {
        match self.defect {
            Some(Defect::FlushesNothing) => Box::pin(async { Ok(()) }),
            _ => self.memory.flush(),
        }
    }

    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport> {
        let close: Pin<Box<_>> = match self.defect {
            Some(Defect::LeavesTransactionsOpen) => return Box::pin(async { Ok(CloseReport::default()) }),
            _ => self.memory.close(within),
        };
        match self.defect {
            Some(Defect::ReportsNothing) => Box::pin(async {
                let _lost = close.await?;
                Ok(CloseReport::default())
            }),
            _ => close,
        }
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.memory.partition_count(topic)
    }

    fn in_flight(&self) -> InFlight {
        let mut now = self.memory.in_flight();
        now.records += self.leaked.load(Ordering::Relaxed);
        now
    }

    fn giver(&self) -> Option<TypeId> {
        Some(TypeId::of::<Broken>())
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        self.memory.transactions()
    }
}
