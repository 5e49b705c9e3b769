use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::clock::later;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Control, Delivery, Error, Record, Result};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::TransactionBatch;
use super::event::{Hooks, TransactionEvent};
use super::expiry::keep_deadlines;
use super::inner::BatchInner;
use super::open::Open;
use super::settings::Settings;
use super::worker::{Connect, Worker};

/// Layer that creates [`TransactionBatch`] services. See the [module](super).
#[derive(Clone)]
pub struct TransactionBatchLayer {
    controls: Vec<Arc<dyn Control>>,
    settings: Settings,
    hooks: Hooks,
}

impl TransactionBatchLayer {
    /// Creates a layer for one transactional transport. Call [`init`](Self::init) before the first send.
    ///
    /// # Panics
    ///
    /// If the transport has no [transactions](Control::transactions): it was created without a transactional id.
    #[must_use]
    #[track_caller]
    pub fn new(control: Arc<dyn Control>) -> Self {
        Self::lanes(vec![control])
    }

    /// Creates a layer for several transactional transports, whose transactions run side by side. Each one needs a
    /// transactional id of its own. See [lanes](super#lanes).
    ///
    /// # Panics
    ///
    /// If there is none, or one has no [transactions](Control::transactions).
    #[must_use]
    #[track_caller]
    pub fn lanes(controls: Vec<Arc<dyn Control>>) -> Self {
        assert!(!controls.is_empty(), "a batching layer needs at least one transactional transport");
        let all = controls.iter().all(|control| control.transactions().is_some());
        assert!(all, "a batching layer needs transports with a transactional id");
        Self { controls, settings: Settings::default(), hooks: Hooks::default() }
    }

    /// Sets the number of records at which a batch is cut. Default: 1,000.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn records(mut self, records: usize) -> Self {
        assert!(records > 0, "a batch has at least one record");
        self.settings.cut.records = records;
        self
    }

    /// Sets the number of bytes of keys, values and headers at which a batch is cut. A larger record is a batch of its own.
    /// Default: 1 MiB.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn bytes(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "a batch has at least one byte");
        self.settings.cut.bytes = bytes;
        self
    }

    /// Sets the time after the call of its oldest record at which a batch is cut. Default: 50 ms. With zero, a batch is
    /// what was called while the one before it was committed.
    #[must_use]
    pub fn age(mut self, age: Duration) -> Self {
        self.settings.cut.age = age;
        self
    }

    /// Sets the maximum number of records and bytes that were called and whose transaction has not ended, in all lanes
    /// together. Default: 10,000 records and 32 MiB. Further records wait. If records wait for room, batches are cut
    /// below their limits.
    ///
    /// # Panics
    ///
    /// If one is 0.
    #[must_use]
    #[track_caller]
    pub fn room(mut self, records: usize, bytes: usize) -> Self {
        assert!(records > 0 && bytes > 0, "there is room for at least one record and one byte");
        self.settings.room = Limits { records, bytes };
        self
    }

    /// Sets how often an aborted batch is replayed before its records fail. Default: 3. Removing a refused record does
    /// not count. The time before a replay is 100 ms, doubled with each one, at most 5 s.
    #[must_use]
    pub fn replays(mut self, replays: u32) -> Self {
        self.settings.replays = replays;
        self
    }

    /// Sets the maximum time of a transaction, from its begin to the answer of its commit, and as much again for an abort.
    /// Default: 20 s. Keep it at a third of the producer's `transaction.timeout.ms` (default: 60 s) or below: after that
    /// time the broker aborts the transaction and fences the producer.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        assert!(!timeout.is_zero(), "a transaction needs time");
        self.settings.timeout = timeout;
        self
    }

    /// Sets the producers' `transaction.timeout.ms`. Default: 60 s, which is Kafka's. A producer that is fenced while its
    /// transaction is younger was taken over by another process, and is not [replaced](Self::layer_lanes_with).
    #[must_use]
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.settings.transaction_timeout = timeout;
        self
    }

    /// Calls `hook` after each transaction, before its records get their outcomes. It must not block.
    #[must_use]
    pub fn on_transaction(mut self, hook: impl Fn(&TransactionEvent<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.push(hook);
        self
    }

    /// Acquires the transactional ids of all lanes, within this time. Fences older producers with the same ids and ends
    /// the transactions that they left open. Call it once, before the first send.
    ///
    /// # Errors
    ///
    /// `Timeout` with recovery `Retry` if the time ran out. Otherwise those of [`TransactionControl::init`](kafka_tower_core::TransactionControl::init).
    pub async fn init(&self, within: Duration) -> Result<()> {
        let end = Instant::from_std(later(Instant::now().into(), within));
        for transactions in self.controls.iter().filter_map(|control| control.transactions()) {
            transactions.init(end.saturating_duration_since(Instant::now())).await?;
        }
        Ok(())
    }

    /// Creates the service over several transports, one for each control that was given to [`lanes`](Self::lanes), in the
    /// same order.
    ///
    /// # Panics
    ///
    /// If their number differs from that of the controls, or outside of a tokio runtime.
    #[must_use]
    #[track_caller]
    pub fn layer_lanes<S>(&self, services: Vec<S>) -> TransactionBatch
    where
        S: Service<Record, Response = Delivery> + Clone + Send + 'static,
        S::Error: Into<Error>,
        S::Future: Send,
    {
        self.start(services, None)
    }

    /// As [`layer_lanes`](Self::layer_lanes), and replaces the transport of a lane whose producer has ended. `connect` gets
    /// the index of the lane, and makes a transport with the same transactional id; the layer initialises it. It is called
    /// until it succeeds: after 100 ms, and later after up to 5 s.
    ///
    /// Without it a lane whose producer has ended takes no more records.
    ///
    /// # Panics
    ///
    /// As [`layer_lanes`](Self::layer_lanes).
    #[must_use]
    #[track_caller]
    pub fn layer_lanes_with<S, C, Fut>(&self, services: Vec<S>, connect: C) -> TransactionBatch
    where
        S: Service<Record, Response = Delivery> + Clone + Send + 'static,
        S::Error: Into<Error>,
        S::Future: Send,
        C: Fn(usize) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(S, Arc<dyn Control>)>> + Send + 'static,
    {
        let connect: Connect<S> = Arc::new(move |lane| Box::pin(connect(lane)));
        self.start(services, Some(&connect))
    }

    #[track_caller]
    fn start<S>(&self, services: Vec<S>, connect: Option<&Connect<S>>) -> TransactionBatch
    where
        S: Service<Record, Response = Delivery> + Clone + Send + 'static,
        S::Error: Into<Error>,
        S::Future: Send,
    {
        let (lanes, given) = (self.controls.len(), services.len());
        assert!(lanes == given, "the layer has {lanes} lanes, and {given} services were given");
        let runtime = Handle::current();
        let inner = Arc::new(BatchInner::new(self.settings, self.hooks.clone(), &self.controls));
        for (lane, prototype) in services.into_iter().enumerate() {
            let Some(transactions) = self.controls[lane].transactions() else { continue };
            let (inner, connect) = (Arc::clone(&inner), connect.cloned());
            let (open, begun) = (Open::default(), Instant::now());
            runtime.spawn(Worker { inner, lane, prototype, open, transactions, begun, connect }.run());
        }
        runtime.spawn(keep_deadlines(Arc::downgrade(&inner)));
        TransactionBatch::new(inner)
    }
}

impl<S> Layer<S> for TransactionBatchLayer
where
    S: Service<Record, Response = Delivery> + Clone + Send + 'static,
    S::Error: Into<Error>,
    S::Future: Send,
{
    type Service = TransactionBatch;

    /// Creates the service, and starts its owner task on the current tokio runtime.
    ///
    /// # Panics
    ///
    /// If the layer has several [lanes](Self::lanes), or outside of a tokio runtime.
    fn layer(&self, inner: S) -> TransactionBatch {
        self.layer_lanes(vec![inner])
    }
}

impl fmt::Debug for TransactionBatchLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionBatchLayer")
            .field("lanes", &self.controls.len())
            .field("settings", &self.settings)
            .finish()
    }
}
