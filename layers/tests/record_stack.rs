//! Tests of `RecordStack`: it does what the composed layers do, for any sequence of calls, polls, drops and answers.
#![cfg(feature = "record-stack")]
#![allow(clippy::unwrap_used)] // a test may fail

use std::collections::VecDeque;
use std::fmt::Debug;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kafka_tower_core::unanswered::{self, Unanswered};
use kafka_tower_core::{Delivery, Error, ErrorKind, Persistence, Record, Result, Scope, handover};
use kafka_tower_layers::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, CircuitState};
use kafka_tower_layers::metrics::Metrics;
use kafka_tower_layers::partition::{PartitionLayer, PartitionStrategy};
use kafka_tower_layers::record_stack::RecordStackLayer;
use kafka_tower_layers::retry::{RetryLayer, RetryPolicy};
use kafka_tower_memory::MemoryKafka;
use proptest::prelude::*;
use tower::{Layer, Service, ServiceExt};

const MS: Duration = Duration::from_millis(1);

/// What the service below does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Delivered,
    /// Not persisted, to be retried.
    Failed,
    /// Possibly persisted.
    Lost,
    Throttled,
    RefusedWithItsBatch,
    TimedOut,
    Fatal,
    /// None before the test gives one.
    Later,
}

const ANSWERS: [Answer; 8] = [
    Answer::Delivered,
    Answer::Failed,
    Answer::Lost,
    Answer::Throttled,
    Answer::RefusedWithItsBatch,
    Answer::TimedOut,
    Answer::Fatal,
    Answer::Later,
];

impl Answer {
    fn result(self) -> Option<Result<Delivery>> {
        let not_persisted = |kind| Error::new(kind, format!("{kind:?}")).with_persistence(Persistence::NotPersisted);
        Some(Err(match self {
            Self::Later => return None,
            Self::Delivered => return Some(Ok(Delivery::new("orders", 0))),
            Self::Failed => not_persisted(ErrorKind::Broker),
            Self::Lost => Error::new(ErrorKind::Connection, "lost"),
            Self::Throttled => not_persisted(ErrorKind::Throttled),
            Self::RefusedWithItsBatch => not_persisted(ErrorKind::Rejected).with_scope(Scope::Batch),
            Self::TimedOut => {
                Error::new(ErrorKind::Timeout, "late").with_unanswered(Unanswered::new(Some(Duration::from_secs(60))))
            }
            Self::Fatal => Error::new(ErrorKind::Fatal, "ended"),
        }))
    }
}

/// A service with scripted answers. Its clones share the script and the list of calls.
#[derive(Debug)]
struct Scripted {
    shared: Arc<Mutex<Script>>,
    is_ready: bool,
}

#[derive(Debug, Default)]
struct Script {
    answers: VecDeque<Answer>,
    calls: Vec<Record>,
    is_full: bool,
    panics: bool,
    /// Its errors contain the records.
    gives_back: bool,
}

impl Clone for Scripted {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), is_ready: false }
    }
}

impl Scripted {
    fn new(answers: &[Answer], gives_back: bool) -> Self {
        let script = Script { answers: answers.iter().copied().collect(), gives_back, ..Script::default() };
        Self { shared: Arc::new(Mutex::new(script)), is_ready: false }
    }
}

impl Service<Record> for Scripted {
    type Response = Delivery;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Delivery>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        self.is_ready = !self.shared.lock().unwrap().is_full;
        if self.is_ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, record: Record) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called before it was ready");
        let mut script = self.shared.lock().unwrap();
        script.calls.push(record.clone());
        handover::taken();
        let panics = script.panics;
        let (answer, gives_back) = (script.answers.pop_front().unwrap_or(Answer::Delivered), script.gives_back);
        drop(script);
        assert!(!panics, "planted");
        Box::pin(async move {
            match answer.result() {
                Some(result) => result.map_err(|error| if gives_back { error.with_record(record) } else { error }),
                None => {
                    let _told = ToldWhenDropped;
                    std::future::pending().await
                }
            }
        })
    }
}

/// Says that Kafka's client had the record for long, as a transport does whose future is dropped.
struct ToldWhenDropped;

impl Drop for ToldWhenDropped {
    fn drop(&mut self) {
        unanswered::tell(|| Some(Unanswered::new(Some(Duration::from_secs(60)))));
    }
}

/// What a stack of records looks like from outside.
trait Stack: Service<Record, Response = Delivery, Error = Error> {}
impl<S: Service<Record, Response = Delivery, Error = Error>> Stack for S {}

/// Layers of one of the two stacks.
struct Layers {
    partition: PartitionLayer,
    breaker: CircuitBreakerLayer,
    retry: RetryLayer,
    metrics: Metrics,
}

impl Layers {
    fn new(gives_back: bool) -> Self {
        let counts = MemoryKafka::new().with_topic("orders", 3).transport().control();
        let policy = RetryPolicy::new().max_retries(2).base_backoff(10 * MS).allow_duplicates(true);
        Self {
            partition: PartitionLayer::new(PartitionStrategy::RoundRobin, counts),
            breaker: CircuitBreakerLayer::new(CircuitBreakerConfig::new().failure_threshold(2).open_for(50 * MS)),
            retry: RetryLayer::new(policy).jitter_seed(7).keep_records(!gives_back),
            metrics: Metrics::new(),
        }
    }

    fn fused(&self, below: Scripted) -> impl Stack<Future: Debug> + Clone {
        let (partition, breaker) = (self.partition.clone(), self.breaker.clone());
        RecordStackLayer::new(partition, breaker, self.retry.clone(), self.metrics.clone()).layer(below)
    }

    fn composed(&self, below: Scripted) -> impl Stack + Clone {
        let partitioned = self.partition.layer(self.breaker.layer(self.retry.layer(below)));
        self.metrics.bytes_layer().layer(partitioned)
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Polls for readiness, and calls if it is ready.
    Send,
    /// Polls for readiness only.
    Ready,
    Clone,
    Poll(prop::sample::Index),
    Drop(prop::sample::Index),
    Advance(u8),
    Full(bool),
    Force(Option<bool>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Send),
        1 => Just(Step::Ready),
        1 => Just(Step::Clone),
        8 => any::<prop::sample::Index>().prop_map(Step::Poll),
        2 => any::<prop::sample::Index>().prop_map(Step::Drop),
        3 => any::<u8>().prop_map(Step::Advance),
        1 => any::<bool>().prop_map(Step::Full),
        1 => any::<Option<bool>>().prop_map(Step::Force),
    ]
}

fn told(error: &Error) -> String {
    let record = error.clone().take_record().map(|record| (record.partition, record.isolated, record.value));
    format!("{error:?} {record:?}")
}

/// Runs the steps on one stack and returns everything that can be seen.
async fn seen<S: Stack + Clone>(layers: &Layers, below: &Scripted, mut stack: S, steps: &[Step]) -> Vec<String> {
    let mut cx = Context::from_waker(Waker::noop());
    let (mut open, mut seen, mut sent) = (Vec::<(usize, Pin<Box<S::Future>>)>::new(), Vec::new(), 0);
    for step in steps {
        match step {
            Step::Send | Step::Ready => {
                let ready = stack.poll_ready(&mut cx).map(|ready| ready.map_err(|error| told(&error)));
                seen.push(format!("{ready:?}"));
                if matches!((ready, step), (Poll::Ready(Ok(())), Step::Send)) {
                    let record = Record::new("orders").with_value(format!("{sent}"));
                    open.push((sent, Box::pin(stack.call(record))));
                    sent += 1;
                }
            }
            Step::Clone => stack = stack.clone(),
            Step::Poll(at) if !open.is_empty() => {
                let at = at.index(open.len());
                if let Poll::Ready(result) = open[at].1.as_mut().poll(&mut cx) {
                    let number = open.swap_remove(at).0;
                    seen.push(format!("{number}: {:?}", result.map_err(|error| told(&error))));
                }
            }
            Step::Drop(at) if !open.is_empty() => drop(open.swap_remove(at.index(open.len()))),
            Step::Poll(_) | Step::Drop(_) => {}
            Step::Advance(ms) => tokio::time::advance(MS * u32::from(*ms)).await,
            Step::Full(is_full) => below.shared.lock().unwrap().is_full = *is_full,
            Step::Force(None) => layers.breaker.handle().reset(),
            Step::Force(Some(true)) => layers.breaker.handle().force_open(),
            Step::Force(Some(false)) => layers.breaker.handle().force_closed(),
        }
        seen.push(format!("{:?}", layers.breaker.handle().state()));
    }
    drop(open);
    let script = below.shared.lock().unwrap();
    let calls =
        script.calls.iter().map(|record| format!("{:?} {} {:?}", record.partition, record.isolated, record.value));
    seen.extend(calls);
    seen.push(format!("{:?} {}", layers.breaker.handle().state(), layers.metrics.snapshot().bytes_sent));
    seen
}

proptest! {
    /// The same steps and answers, on both stacks: every result, call, state of the breaker and count is the same.
    #[test]
    fn it_does_what_the_composed_layers_do(
        answers in prop::collection::vec(prop::sample::select(&ANSWERS[..]), 0..60),
        steps in prop::collection::vec(step(), 1..120),
        gives_back: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (fused, composed) = runtime.block_on(async {
            let below = Scripted::new(&answers, gives_back);
            let layers = Layers::new(gives_back);
            let fused = seen(&layers, &below, layers.fused(below.clone()), &steps).await;
            let below = Scripted::new(&answers, gives_back);
            let layers = Layers::new(gives_back);
            (fused, seen(&layers, &below, layers.composed(below.clone()), &steps).await)
        });
        prop_assert_eq!(fused, composed);
    }
}

/// A time-out does not count if another record was delivered after its call: through any handle, and also if the call is polled
/// only after that.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_polled_late_knows_of_deliveries() {
    for (delivers, state) in [(true, CircuitState::Closed), (false, CircuitState::Open)] {
        let below = Scripted::new(&[Answer::TimedOut, Answer::TimedOut, Answer::Delivered], true);
        let layers = Layers::new(true);
        let mut stack = layers.fused(below);
        let mut other = stack.clone();
        let mut late = Vec::new();
        for _ in 0..2 {
            late.push(stack.ready().await.unwrap().call(Record::new("orders")));
        }
        let delivered = other.ready().await.unwrap().call(Record::new("orders"));
        if delivers {
            delivered.await.unwrap();
        }
        for call in late {
            call.await.unwrap_err();
        }
        assert_eq!(layers.breaker.handle().state(), state);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_its_error_gives_back_is_sent_again() {
    for gives_back in [false, true] {
        let below = Scripted::new(&[Answer::Failed, Answer::RefusedWithItsBatch, Answer::Delivered], gives_back);
        let layers = Layers::new(gives_back);
        let record = Record::new("orders").with_key("k").with_value("abc").with_partition(2);
        layers.fused(below.clone()).oneshot(record.clone()).await.unwrap();
        let mut isolated = record.clone();
        isolated.isolated = true;
        assert_eq!(below.shared.lock().unwrap().calls, [record.clone(), record, isolated]);
        assert_eq!(layers.metrics.snapshot().bytes_sent, 4);
    }
}

#[tokio::test(start_paused = true)]
async fn the_final_error_contains_the_record() {
    for gives_back in [false, true] {
        let below = Scripted::new(&[Answer::Failed; 3], gives_back);
        let layers = Layers::new(gives_back);
        let mut error =
            layers.fused(below).oneshot(Record::new("orders").with_value("abc").with_partition(0)).await.unwrap_err();
        assert_eq!(error.attempts(), 3);
        assert_eq!(error.take_record(), Some(Record::new("orders").with_value("abc").with_partition(0)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_leaves_the_place_of_a_probe_free() {
    let below = Scripted::new(&[], true);
    let layers = Layers::new(true);
    let mut stack = layers.fused(below.clone());
    // Half-open after two failures and the open time.
    below.shared.lock().unwrap().answers = VecDeque::from([Answer::Fatal; 2]);
    for _ in 0..2 {
        stack.ready().await.unwrap().call(Record::new("orders")).await.unwrap_err();
    }
    assert!(matches!(layers.breaker.handle().state(), CircuitState::Open));
    tokio::time::advance(51 * MS).await;
    below.shared.lock().unwrap().panics = true;
    stack.ready().await.unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(stack.call(Record::new("orders"))))).is_err());
    below.shared.lock().unwrap().panics = false;
    stack.ready().await.unwrap().call(Record::new("orders")).await.unwrap();
    assert_eq!(layers.breaker.handle().state(), CircuitState::Closed);
}
