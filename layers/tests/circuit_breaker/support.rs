pub(crate) use std::future::Future;
pub(crate) use std::panic::{AssertUnwindSafe, catch_unwind};
pub(crate) use std::pin::Pin;
pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};
pub(crate) use std::sync::{Arc, Mutex};
pub(crate) use std::task::{Context, Poll, Wake, Waker};
pub(crate) use std::time::Duration;

pub(crate) use kafka_tower_core::gate::Limits;
pub(crate) use kafka_tower_core::{BoxError, Error, ErrorKind, Persistence, Record, Result};
pub(crate) use kafka_tower_layers::circuit_breaker::{
    CircuitBreaker, CircuitBreakerConfig, CircuitBreakerFuture, CircuitBreakerHandle, CircuitBreakerLayer,
    CircuitState, DefaultClassifier, Outcome,
};
pub(crate) use kafka_tower_memory::MemoryKafka;
pub(crate) use proptest::prelude::*;
pub(crate) use tokio::sync::oneshot;
pub(crate) use tower::{Layer, Service, ServiceExt};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A service whose room and responses are controlled by the test. Panics if it is called before it was ready.
#[derive(Default)]
pub(crate) struct Backend {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) ready: bool,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) full: bool,
    pub(crate) broken: bool,
    pub(crate) polls: usize,
    pub(crate) clones: usize,
    pub(crate) waiting: Vec<Waker>,
    pub(crate) answers: Vec<Option<oneshot::Sender<Result<u32>>>>,
}

impl Clone for Backend {
    fn clone(&self) -> Self {
        self.state.lock().unwrap().clones += 1;
        Self { state: Arc::clone(&self.state), ready: false }
    }
}

impl Backend {
    pub(crate) fn calls(&self) -> usize {
        self.state.lock().unwrap().answers.len()
    }

    pub(crate) fn polls(&self) -> usize {
        self.state.lock().unwrap().polls
    }

    pub(crate) fn set_full(&self, full: bool) {
        let mut state = self.state.lock().unwrap();
        state.full = full;
        let waiting = if full { Vec::new() } else { std::mem::take(&mut state.waiting) };
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn answer(&self, call: usize, answer: Result<u32>) {
        let sender = self.state.lock().unwrap().answers[call].take().unwrap();
        let _ = sender.send(answer);
    }
}

pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<u32>> + Send>>;

/// The request selects the response: 0 waits for [`Backend::answer`], 99 panics when polled, others resolve at once.
impl Service<u32> for Backend {
    type Response = u32;
    type Error = Error;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.state.lock().unwrap();
        state.polls += 1;
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

    fn call(&mut self, request: u32) -> Answer {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        let (sender, answer) = oneshot::channel();
        self.state.lock().unwrap().answers.push(Some(sender));
        Box::pin(async move {
            match request {
                0 => answer.await.unwrap(),
                99 => panic!("planted"),
                code => answer_of(code),
            }
        })
    }
}

pub(crate) fn answer_of(code: u32) -> Result<u32> {
    match code {
        OK => Ok(code),
        FAIL => Err(Error::new(ErrorKind::Broker, "no leader")),
        _ => Err(Error::new(ErrorKind::InvalidRecord, "no topic name")),
    }
}

pub(crate) const WAIT: u32 = 0;
pub(crate) const OK: u32 = 1;
pub(crate) const FAIL: u32 = 2;
pub(crate) const NEUTRAL: u32 = 3;
pub(crate) const PANIC: u32 = 99;

pub(crate) type Breaker = CircuitBreaker<Backend, DefaultClassifier>;
pub(crate) type Call = CircuitBreakerFuture<Answer, DefaultClassifier>;

pub(crate) fn config() -> CircuitBreakerConfig {
    CircuitBreakerConfig::new().failure_threshold(3).open_for(10 * SECOND).probe_lease(20 * SECOND)
}

pub(crate) fn breaker(config: CircuitBreakerConfig) -> (Breaker, Backend, CircuitBreakerHandle) {
    let backend = Backend::default();
    let layer = CircuitBreakerLayer::new(config);
    (layer.layer(backend.clone()), backend, layer.handle())
}

#[derive(Default)]
pub(crate) struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) fn poll_ready(service: &mut Breaker, count: &Arc<Count>) -> Poll<Result<()>> {
    service.poll_ready(&mut Context::from_waker(&Waker::from(Arc::clone(count))))
}

pub(crate) fn poll(future: &mut Call) -> Poll<Result<u32>> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Fails instead of waiting for ever: a paused clock advances when all tasks are idle.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(1_000 * SECOND, future).await.expect("waits for ever")
}

pub(crate) async fn start(service: &mut Breaker, request: u32) -> Call {
    soon(service.ready()).await.unwrap().call(request)
}

pub(crate) async fn send(service: &mut Breaker, request: u32) -> Result<u32> {
    start(service, request).await.await
}

pub(crate) async fn trip(service: &mut Breaker) {
    for _ in 0..3 {
        send(service, FAIL).await.unwrap_err();
    }
}

pub(crate) async fn half_open(service: &mut Breaker) {
    trip(service).await;
    tokio::time::advance(10 * SECOND).await;
}

pub(crate) fn assert_rejected(result: &Result<u32>) {
    let error = result.as_ref().unwrap_err();
    assert_eq!((error.kind(), error.persistence()), (ErrorKind::CircuitOpen, Persistence::NotPersisted), "{error}");
}
