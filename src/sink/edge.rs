//! The boxed stack (type-erased), and the state that all clones of a sink share.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use kafka_tower_core::{Control, Delivery, Error, ErrorKind, Persistence, Result, SinkMessage};
use kafka_tower_layers::circuit_breaker::CircuitBreakerHandle;
use kafka_tower_layers::metrics::Metrics;
use tower_service::Service;

use super::choices::Choices;
use super::deadline;
use super::open_sends::{self, Known, OpenSends};
use super::recipe::{Recipe, Stacks};
use super::stack::Instruments;
use super::traces::{Caller, Traces};
use super::whole::{Part, Watched, Whole};
use crate::KafkaSinkConfig;

pub(super) type BoxFuture = Pin<Box<dyn Future<Output = Result<Delivery>> + Send>>;

/// Type-erased handle of a stack. `Send + Sync` for every `T`, because it holds no `T`.
pub(super) trait Edge<T>: Send + Sync {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;
    fn call(&mut self, message: SinkMessage<T>) -> BoxFuture;
    /// Returns another handle of the same stack, not ready.
    fn fresh(&self) -> Box<dyn Edge<T>>;
}

#[derive(Clone)]
struct Typed<S>(S);

/// Erases the type of a stack. With `whole`, its sends are tracked for the completeness of transactions.
pub(super) fn boxed<T, S>(stack: S, whole: Option<&Whole>) -> Box<dyn Edge<T>>
where
    S: Service<SinkMessage<T>, Response = Delivery, Error = Error> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    match whole {
        Some(whole) => Box::new(Watched::new(Typed(stack), whole.clone())),
        None => Box::new(Typed(stack)),
    }
}

impl<T, S> Edge<T> for Typed<S>
where
    S: Service<SinkMessage<T>, Response = Delivery, Error = Error> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, message: SinkMessage<T>) -> BoxFuture {
        Box::pin(self.0.call(message))
    }

    fn fresh(&self) -> Box<dyn Edge<T>> {
        Box::new(Self(self.0.clone()))
    }
}

/// State shared by all clones of a sink.
pub(super) struct Shared<T> {
    stacks: Stacks<T>,
    /// A handle that sends borrow for one poll, so that its buffers are reused.
    idle: Mutex<Option<Box<dyn Edge<T>>>>,
    pub(super) control: Arc<dyn Control>,
    pub(super) send_timeout: Duration,
    pub(super) metrics: Metrics,
    pub(super) sends: OpenSends,
    /// The stack contains layers of the user, which may hold messages: topic and key of each open send are kept for the
    /// close report.
    pub(super) foreign: bool,
    pub(super) traces: Traces,
    pub(super) breaker: Option<CircuitBreakerHandle>,
    /// Present in a sink with transactions.
    pub(super) whole: Option<Whole>,
    /// Rebuilds the stacks. None if the user supplied the stack.
    recipe: Option<Arc<Recipe<T>>>,
    choices: Choices,
    /// An unsupported option: every operation returns this error.
    fault: Option<Error>,
    /// Shared with sinks that were derived from this one, which close the same transport.
    closed: Arc<AtomicBool>,
}

impl<T> Shared<T> {
    /// State of a sink over the user's own stack.
    pub(super) fn of_service(
        stacks: Stacks<T>,
        control: Arc<dyn Control>,
        send_timeout: Duration,
        metrics: Metrics,
        whole: Option<Whole>,
    ) -> Self {
        Self {
            stacks,
            idle: Mutex::new(None),
            control,
            send_timeout,
            metrics,
            sends: OpenSends::default(),
            foreign: true,
            traces: Traces::default(),
            breaker: None,
            whole,
            recipe: None,
            choices: Choices::of(&KafkaSinkConfig::default()),
            fault: None,
            closed: Arc::default(),
        }
    }

    pub(super) fn of_recipe(
        recipe: Recipe<T>,
        choices: Choices,
        control: Arc<dyn Control>,
        send_timeout: Duration,
        instruments: &Instruments,
    ) -> Self {
        let (stacks, fault) = recipe.cook(&choices);
        Self {
            stacks,
            idle: Mutex::new(None),
            control,
            send_timeout,
            metrics: instruments.metrics.clone(),
            sends: OpenSends::default(),
            foreign: false,
            traces: instruments.traces.clone(),
            breaker: instruments.breaker(),
            whole: instruments.whole.clone(),
            recipe: Some(Arc::new(recipe)),
            choices,
            fault,
            closed: Arc::default(),
        }
    }

    /// Returns a copy with other options, over the same transport, breaker and metrics.
    pub(super) fn rebuilt(&self, change: impl FnOnce(&mut Choices)) -> Option<Self> {
        let recipe = self.recipe.as_ref()?;
        let mut choices = self.choices.clone();
        change(&mut choices);
        let (stacks, fault) = recipe.cook(&choices);
        Some(Self {
            stacks,
            idle: Mutex::new(None),
            control: Arc::clone(&self.control),
            send_timeout: self.send_timeout,
            metrics: self.metrics.clone(),
            sends: self.sends.clone(),
            foreign: self.foreign,
            traces: self.traces.clone(),
            breaker: self.breaker.clone(),
            whole: self.whole.clone(),
            recipe: Some(Arc::clone(recipe)),
            choices,
            fault,
            closed: Arc::clone(&self.closed),
        })
    }

    /// Returns a copy whose operations all fail with `fault`.
    pub(super) fn with_fault(&self, fault: Error) -> Self {
        let stacks = Stacks { prototype: self.fresh(), ordered: self.fresh_ordered() };
        let (control, metrics, whole) = (Arc::clone(&self.control), self.metrics.clone(), self.whole.clone());
        let mut faulty = Self::of_service(stacks, control, self.send_timeout, metrics, whole);
        faulty.fault = Some(fault);
        faulty.sends = self.sends.clone();
        faulty.traces = self.traces.clone();
        faulty.closed = Arc::clone(&self.closed);
        faulty
    }

    pub(super) fn fresh(&self) -> Box<dyn Edge<T>> {
        self.stacks.prototype.fresh()
    }

    pub(super) fn fresh_ordered(&self) -> Box<dyn Edge<T>> {
        self.stacks.ordered.fresh()
    }

    /// Takes the idle handle, or makes a fresh one. Never blocks on the lock.
    pub(super) fn take(&self) -> Box<dyn Edge<T>> {
        self.idle.try_lock().ok().and_then(|mut idle| idle.take()).unwrap_or_else(|| self.fresh())
    }

    /// Returns a handle whose readiness was used.
    pub(super) fn give(&self, edge: Box<dyn Edge<T>>) {
        let unwanted = match self.idle.try_lock() {
            Ok(mut idle) if idle.is_none() => idle.replace(edge),
            _ => Some(edge),
        };
        drop(unwanted);
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// What a close reports of a message that a user's layer holds. The layers of this project report their own.
    #[inline]
    pub(super) fn known(&self, message: &SinkMessage<T>) -> Known {
        self.foreign.then(|| Box::new(open_sends::known(message)))
    }

    /// Returns the reason why the sink rejects every send, if it does.
    #[inline]
    pub(super) fn refusal(&self) -> Option<Error> {
        if self.is_closed() || self.fault.is_some() { self.why_refused() } else { None }
    }

    #[cold]
    fn why_refused(&self) -> Option<Error> {
        if self.is_closed() {
            return Some(Error::new(ErrorKind::Closed, "the sink was closed"));
        }
        self.fault.clone()
    }

    /// Records a send that ended without reaching the stack; without a message, a batch that ended before its first.
    /// `since` is the time at which the wait for room began.
    pub(super) fn failed(&self, message: Option<&SinkMessage<T>>, since: Option<Instant>, error: Error) -> Error {
        let error = match since {
            Some(since) => error.with_elapsed(deadline::now().saturating_duration_since(since)),
            None => error,
        };
        self.metrics.record_failed(&error);
        self.traces.refused(message.and_then(topic), &error);
        error
    }

    /// Records a send that failed in `poll_ready`: the stack has failed for good, and the message did not reach it.
    pub(super) fn unready(&self, message: &SinkMessage<T>, since: Option<Instant>, error: Error) -> Error {
        self.failed(Some(message), since, error.with_persistence(Persistence::NotPersisted))
    }

    /// Records a send that found no room in time.
    pub(super) fn no_room(&self, message: &SinkMessage<T>, since: Instant) -> Error {
        let deadline = deadline::of(message, since, self.send_timeout);
        self.failed(Some(message), None, deadline::no_room(since, deadline, &*self.control))
    }

    /// Records the end of a wait for room.
    pub(super) fn waited(&self, message: &SinkMessage<T>, since: Instant) {
        self.traces.waited(topic(message), since);
    }

    /// Records a send that was dropped while it waited for room.
    pub(super) fn abandoned(&self, message: &SinkMessage<T>, since: Option<Instant>, caller: &Caller) {
        self.metrics.record_abandoned();
        self.traces.abandoned(topic(message), since, caller);
    }

    /// Begins tracking a send for the completeness of the transaction, if the sink has transactions.
    pub(super) fn part(&self) -> Option<Part> {
        self.whole.as_ref().map(Whole::part)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// The topic set on the message, if any.
pub(super) fn topic<T>(message: &SinkMessage<T>) -> Option<&Arc<str>> {
    message.envelope().topic.as_ref()
}
