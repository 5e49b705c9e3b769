//! Transports with a defect, for stacks that run their own transactions.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use kafka_tower::memory::MemoryTransport;
use kafka_tower::{
    ConsumerGroup, Control, ControlFuture, Delivery, Error, IntoTransport, Persistence, Record, Recovery, Result,
    TopicOffset, TransactionControl,
};
use kafka_tower_test_suite::control::WithTransactions;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower::{Service, ServiceExt};

use super::BoxedStack;

/// A defect of a transport's transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    None,
    /// A commit is answered with `Ok` at once, and goes on.
    AnswerBeforeCommit,
    /// A commit in doubt counts as refused, and its abort as done: the next transaction can begin.
    DoubtIsRefusal,
    /// An abort is sent again later, whatever transaction is open then.
    AbortTwice,
}

/// A transport that may have a defect.
#[derive(Clone, Debug)]
pub(crate) struct Planted {
    service: BoxedStack,
    control: Arc<dyn Control>,
    /// A transaction is open, and its commit was not called.
    open: Arc<AtomicBool>,
}

impl Planted {
    pub(crate) fn new(transport: MemoryTransport, plant: Plant) -> Self {
        let (below, open) = (transport.control(), Arc::<AtomicBool>::default());
        let transactions = Arc::new(PlantedTransactions {
            inner: below.transactions().unwrap(),
            plant,
            open: Arc::clone(&open),
            commit: Mutex::default(),
            doubted: AtomicBool::default(),
        });
        let control = Arc::new(WithTransactions { below, transactions });
        Self { service: BoxedStack::new(transport), control, open }
    }

    /// Changes each record before the transport gets it.
    pub(crate) fn changing(transport: MemoryTransport, change: fn(Record) -> Record) -> Self {
        let honest = Self::new(transport.clone(), Plant::None);
        Self { service: BoxedStack::new(transport.map_request(change)), ..honest }
    }

    /// Sends no record that was [sent before](Ahead) its batch.
    pub(crate) fn ahead(transport: MemoryTransport, plan: fn(&Record) -> bool) -> (Self, Ahead) {
        let honest = Self::new(transport.clone(), Plant::None);
        let sent = Arc::new(Mutex::new(HashMap::<_, Answer>::new()));
        let ahead = Ahead { transport: transport.clone(), open: Arc::clone(&honest.open), plan, sent };
        let sent = Arc::clone(&ahead.sent);
        let service = tower::service_fn(move |record: Record| match sent.lock().unwrap().remove(&number(&record)) {
            Some(answer) => answer,
            None => Box::pin(transport.clone().call(record)),
        });
        (Self { service: BoxedStack::new(service), ..honest }, ahead)
    }

    pub(crate) fn control(&self) -> Arc<dyn Control> {
        Arc::clone(&self.control)
    }
}

/// Number of a record of the checker.
pub(crate) fn number(record: &Record) -> u64 {
    super::transactions::mood(record.value.as_deref().unwrap_or_default())
}

type Answer = Pin<Box<dyn Future<Output = Result<Delivery>> + Send>>;

/// Sends records at their call, in the transaction that is open then, and not with their batch.
#[derive(Clone)]
pub(crate) struct Ahead {
    transport: MemoryTransport,
    open: Arc<AtomicBool>,
    plan: fn(&Record) -> bool,
    sent: Arc<Mutex<HashMap<u64, Answer>>>,
}

impl Ahead {
    pub(crate) fn send(&self, record: &Record) {
        if (self.plan)(record) && self.open.load(Ordering::SeqCst) {
            let answer = Box::pin(self.transport.clone().call(record.clone()));
            self.sent.lock().unwrap().insert(number(record), answer);
        }
    }
}

impl IntoTransport for Planted {
    type Transport = Self;

    fn into_transport(self) -> (Self, Arc<dyn Control>) {
        let control = self.control();
        (self, control)
    }
}

impl Service<Record> for Planted {
    type Response = Delivery;
    type Error = Error;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, record: Record) -> Answer {
        self.service.call(record)
    }
}

#[derive(Debug)]
struct PlantedTransactions {
    inner: Arc<dyn TransactionControl>,
    plant: Plant,
    open: Arc<AtomicBool>,
    /// A commit that was answered and goes on.
    commit: Mutex<Option<JoinHandle<()>>>,
    /// The last commit was in doubt.
    doubted: AtomicBool,
}

impl TransactionControl for PlantedTransactions {
    fn init(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.inner.init(within)
    }

    fn begin(&self, within: Duration) -> ControlFuture<'_, ()> {
        Box::pin(async move {
            let commit = self.commit.lock().unwrap().take();
            if let Some(commit) = commit {
                commit.await.unwrap();
            }
            let mut begun = self.inner.begin(within).await;
            if begun.is_err() && self.plant == Plant::DoubtIsRefusal {
                drop(self.inner.commit(within).await);
                begun = self.inner.begin(within).await;
            }
            begun?;
            self.open.store(true, Ordering::SeqCst);
            Ok(())
        })
    }

    fn commit(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.open.store(false, Ordering::SeqCst);
        let inner = Arc::clone(&self.inner);
        match self.plant {
            Plant::AnswerBeforeCommit => Box::pin(async move {
                let commit = tokio::spawn(async move { drop(inner.commit(within).await) });
                *self.commit.lock().unwrap() = Some(commit);
                Ok(())
            }),
            Plant::DoubtIsRefusal => Box::pin(async move {
                let refused = |error: Error| {
                    self.doubted.store(error.may_be_written(), Ordering::SeqCst);
                    error.with_recovery(Recovery::AbortTransaction).with_persistence(Persistence::NotPersisted)
                };
                self.inner.commit(within).await.map_err(refused)
            }),
            Plant::None | Plant::AbortTwice => self.inner.commit(within),
        }
    }

    fn abort(&self, within: Duration) -> ControlFuture<'_, ()> {
        self.open.store(false, Ordering::SeqCst);
        match self.plant {
            Plant::DoubtIsRefusal if self.doubted.swap(false, Ordering::SeqCst) => {
                Box::pin(async move { self.inner.abort(within).await.or(Ok(())) })
            }
            Plant::AbortTwice => {
                let inner = Arc::clone(&self.inner);
                tokio::spawn(async move {
                    sleep(Duration::from_millis(5)).await;
                    drop(inner.abort(within).await);
                });
                self.inner.abort(within)
            }
            Plant::None | Plant::AnswerBeforeCommit | Plant::DoubtIsRefusal => self.inner.abort(within),
        }
    }

    fn send_offsets(&self, o: Vec<TopicOffset>, group: ConsumerGroup, within: Duration) -> ControlFuture<'_, ()> {
        self.inner.send_offsets(o, group, within)
    }
}
