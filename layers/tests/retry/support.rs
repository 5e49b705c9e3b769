pub(crate) use std::collections::{BTreeSet, VecDeque};
pub(crate) use std::future::{Future, Ready, ready};
pub(crate) use std::pin::Pin;
pub(crate) use std::sync::{Arc, Mutex};
pub(crate) use std::task::{Context, Poll, Waker};
pub(crate) use std::time::Duration;

pub(crate) use kafka_tower_core::gate::Limits;
pub(crate) use kafka_tower_core::{BoxError, Delivery, Error, ErrorKind, Persistence, Record, Recovery, Result, Scope};
pub(crate) use kafka_tower_layers::retry::{DeliveryGuarantee, Jitter, Retry, RetryLayer, RetryPolicy};
pub(crate) use kafka_tower_memory::MemoryKafka;
pub(crate) use tokio::time::Instant;
pub(crate) use tower::{Layer, Service, ServiceExt};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// A transport that returns the scripted errors, then deliveries. Panics if it is called before it was ready.
#[derive(Debug, Default)]
pub(crate) struct Scripted {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) ready: bool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) answers: VecDeque<Error>,
    /// Time, record, and whether it was isolated.
    pub(crate) calls: Vec<(Instant, String, bool)>,
    pub(crate) full: bool,
    pub(crate) broken: bool,
    pub(crate) waiting: Vec<Waker>,
}

impl Clone for Scripted {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), ready: false }
    }
}

impl Scripted {
    pub(crate) fn new(answers: impl IntoIterator<Item = Error>) -> Self {
        let state = State { answers: answers.into_iter().collect(), ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), ready: false }
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn calls(&self) -> usize {
        self.lock().calls.len()
    }

    /// Times of the calls in milliseconds since `since`.
    pub(crate) fn times(&self, since: Instant) -> Vec<u128> {
        self.lock().calls.iter().map(|(at, ..)| (*at - since).as_millis()).collect()
    }

    pub(crate) fn set_full(&self, full: bool) {
        let mut state = self.lock();
        state.full = full;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Service<Record> for Scripted {
    type Response = Delivery;
    type Error = Error;
    type Future = Ready<Result<Delivery>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.state.lock().unwrap();
        if state.broken {
            return Poll::Ready(Err(Error::new(ErrorKind::Closed, "finished")));
        }
        if state.full {
            state.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, record: Record) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        let mut state = self.state.lock().unwrap();
        let value = String::from_utf8(record.value.as_deref().unwrap_or_default().to_vec()).unwrap();
        state.calls.push((Instant::now(), value, record.isolated));
        ready(match state.answers.pop_front() {
            Some(error) => Err(error),
            None => Ok(Delivery::new(Arc::clone(&record.topic), 0)),
        })
    }
}

pub(crate) fn error(kind: ErrorKind, persistence: Persistence) -> Error {
    Error::new(kind, "planted").with_persistence(persistence)
}

pub(crate) fn not_written() -> Error {
    error(ErrorKind::Broker, Persistence::NotPersisted)
}

pub(crate) fn perhaps_written() -> Error {
    error(ErrorKind::Broker, Persistence::PossiblyPersisted)
}

pub(crate) fn many(n: usize) -> impl Iterator<Item = Error> {
    std::iter::repeat_with(not_written).take(n)
}

pub(crate) fn policy() -> RetryPolicy {
    RetryPolicy::new().jitter(Jitter::None)
}

pub(crate) fn retry(policy: RetryPolicy, inner: &Scripted) -> Retry<Scripted> {
    RetryLayer::new(policy).layer(inner.clone())
}

pub(crate) fn record() -> Record {
    Record::new("orders").with_value("1")
}

pub(crate) fn patient(left: Duration) -> Record {
    record().with_expires_at(Instant::now() + left)
}

pub(crate) async fn send(service: &mut Retry<Scripted>, record: Record) -> Result<Delivery> {
    service.ready().await.unwrap().call(record).await
}

pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}
