pub(crate) use std::sync::Arc;
pub(crate) use std::task::{Context, Poll, Waker};
pub(crate) use std::time::Duration;

pub(crate) use kafka_tower_core::{
    ConsumerGroup, Control, Delivery, Error, ErrorKind, Persistence, Record, Recovery, Result, Scope, TopicOffset,
};
pub(crate) use kafka_tower_layers::transaction_batch::{
    JoinFuture, TransactionBatch, TransactionBatchFuture, TransactionBatchLayer, Unit,
};
pub(crate) use kafka_tower_memory::{MemoryKafka, MemoryTransport, ScriptedTransaction, StoredRecord, TransactionCall};
pub(crate) use tokio::task::yield_now;
pub(crate) use tokio::time::{Instant, sleep};
pub(crate) use tower::{Layer, Service, ServiceExt};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn kafka() -> MemoryKafka {
    MemoryKafka::new().with_topic("orders", 2)
}

pub(crate) fn to(partition: i32, value: impl ToString) -> Record {
    Record::new("orders").with_partition(partition).with_value(value.to_string())
}

pub(crate) fn plain(layer: TransactionBatchLayer) -> TransactionBatchLayer {
    layer
}

/// A service with one lane, and these settings.
pub(crate) async fn service(
    kafka: &MemoryKafka,
    settings: impl FnOnce(TransactionBatchLayer) -> TransactionBatchLayer,
) -> TransactionBatch {
    let transport = kafka.transactional_transport("id");
    let layer = settings(TransactionBatchLayer::new(transport.control()));
    layer.init(SECOND).await.unwrap();
    layer.layer(transport)
}

/// Calls without waiting for room.
pub(crate) fn send(service: &TransactionBatch, partition: i32, value: impl ToString) -> TransactionBatchFuture {
    let mut handle = service.clone();
    handle.call(to(partition, value))
}

/// Sends these values to partition 0.
pub(crate) fn send_all<T: ToString>(
    service: &TransactionBatch,
    values: impl IntoIterator<Item = T>,
) -> Vec<TransactionBatchFuture> {
    values.into_iter().map(|value| send(service, 0, value)).collect()
}

pub(crate) async fn all(futures: Vec<TransactionBatchFuture>) -> Vec<Result<Delivery>> {
    let mut outcomes = Vec::new();
    for future in futures {
        outcomes.push(future.await);
    }
    outcomes
}

pub(crate) fn offsets(outcomes: &[Result<Delivery>]) -> Vec<Option<i64>> {
    outcomes.iter().map(|outcome| outcome.as_ref().ok().and_then(|delivery| delivery.offset)).collect()
}

pub(crate) fn values(records: &[StoredRecord]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8(r.value().unwrap().to_vec()).unwrap()).collect()
}

/// The records that a `read_committed` consumer sees.
pub(crate) fn committed(kafka: &MemoryKafka) -> Vec<String> {
    values(&kafka.committed("orders"))
}

/// Number of transactions that ended in partition 0: committed, aborted.
pub(crate) fn transactions(kafka: &MemoryKafka) -> (usize, usize) {
    let markers = kafka.markers("orders", 0);
    let committed = markers.iter().filter(|marker| marker.committed).count();
    (committed, markers.len() - committed)
}

pub(crate) fn facts(outcome: &Result<Delivery>) -> (ErrorKind, Recovery, Persistence) {
    let error = outcome.as_ref().unwrap_err();
    (error.kind(), error.recovery(), error.persistence())
}

pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets the tasks run until nothing is left to do at this time.
pub(crate) async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

pub(crate) fn broken() -> Error {
    Error::new(ErrorKind::Broker, "planted").with_persistence(Persistence::NotPersisted)
}

pub(crate) fn must_abort() -> Error {
    broken().with_recovery(Recovery::AbortTransaction)
}

/// Loses all requests to commit until it is cancelled: the transport repeats them every 100 ms.
pub(crate) fn block_commits(kafka: &MemoryKafka) -> ScriptedTransaction {
    kafka.script_transactions().on(TransactionCall::Commit).always().lose_request()
}

/// Refuses records that have this value, as a broker does that says which record it refuses, or not.
#[derive(Clone)]
struct Refusing {
    inner: MemoryTransport,
    poison: &'static [&'static str],
    scope: Scope,
}

impl Service<Record> for Refusing {
    type Response = Delivery;
    type Error = Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Delivery>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, record: Record) -> Self::Future {
        let is_poison = record.value.as_deref().is_some_and(|v| self.poison.iter().any(|p| p.as_bytes() == v));
        let scope = self.scope;
        let sent = self.inner.call(record);
        Box::pin(async move {
            let delivery = sent.await?;
            match is_poison {
                true => Err(Error::new(ErrorKind::Rejected, "planted").with_scope(scope)),
                false => Ok(delivery),
            }
        })
    }
}

/// A service whose transport refuses records with these values, as a broker does that says which record it refuses, or not.
pub(crate) async fn refusing(kafka: &MemoryKafka, poison: &'static [&'static str], scope: Scope) -> TransactionBatch {
    let inner = kafka.transactional_transport("id");
    let layer = TransactionBatchLayer::new(inner.control()).replays(0);
    layer.init(SECOND).await.unwrap();
    layer.layer(Refusing { inner, poison, scope })
}
