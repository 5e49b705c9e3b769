//! State that the clones of a sink share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_tower_core::ticket::Ticket;
use kafka_tower_core::{Control, Error, ErrorKind, Persistence, Result, SinkMessage, Tenant};
use kafka_tower_layers::circuit_breaker::CircuitBreakerHandle;
use kafka_tower_layers::metrics::Metrics;

use super::boxed::DynStack;
use super::completeness::{Caller, Completeness, SinkTransactions};
use super::control::SharedTransactions;
use super::of_type::Complete;
use super::open_sends::{self, Known, OpenSends};
use super::options::StackOptions;
use super::stack::StackFactory;
use super::telemetry::{CallerContext, SinkTelemetry};
use super::transaction::Claim;
use super::{control, deadline};

/// State shared by all clones of a sink.
pub(super) struct SinkInner<T> {
    stack: Box<dyn DynStack<T>>,
    /// Rebuilds the stack. None if the user supplied it. It holds the transport, too: before the parts, as the stack.
    factory: Option<Arc<StackFactory<T>>>,
    pub(super) parts: SharedParts,
    options: StackOptions,
    /// An unsupported option: every operation returns this error.
    fault: Option<Error>,
    /// The transaction whose guard sends through this state. None for the sink itself.
    guard: Caller,
    /// Number of the options in its messages. 0: those of the stack.
    pub(super) profile: u8,
    pub(super) complete: Complete<T>,
}

/// What a sink shares with the sinks that were derived from it: they use, flush and close the same transport.
#[derive(Clone)]
pub(super) struct SharedParts {
    pub(super) transport: Arc<dyn Control>,
    /// The transport's control with the transactions of the sink.
    pub(super) control: Arc<dyn Control>,
    pub(super) send_timeout: Duration,
    pub(super) metrics: Metrics,
    pub(super) telemetry: SinkTelemetry,
    /// Present in a sink with transactions.
    pub(super) completeness: Option<Completeness>,
    pub(super) transactions: Option<Arc<SinkTransactions>>,
    pub(super) breaker: Option<CircuitBreakerHandle>,
    pub(super) sends: OpenSends,
    /// Written into each message, if the sink shares its transport.
    pub(super) tenant: Tenant,
    /// The stack contains layers of the user, which may hold messages: topic and key of each open send are kept for the
    /// close report.
    pub(super) foreign: bool,
    closed: Arc<AtomicBool>,
    /// The sends share transactions, which the layer above the transports begins and ends.
    pub(super) is_batched: bool,
    /// The transactional ids. Declared last, so that they are released after the transport is dropped.
    pub(super) claims: Arc<[Claim]>,
}

impl SharedParts {
    pub(super) fn new(
        transport: Arc<dyn Control>,
        transactions: Option<SharedTransactions>,
        send_timeout: Duration,
        metrics: Metrics,
        telemetry: SinkTelemetry,
        breaker: Option<CircuitBreakerHandle>,
        foreign: bool,
    ) -> Self {
        let control = control::decorate(&transport, transactions.as_ref());
        let (completeness, transactions) =
            transactions.map(|shared| (shared.completeness, shared.transactions)).unzip();
        Self {
            tenant: transport.tenant(),
            transport,
            control,
            transactions,
            send_timeout,
            metrics,
            telemetry,
            completeness,
            breaker,
            sends: OpenSends::default(),
            foreign,
            closed: Arc::default(),
            is_batched: false,
            claims: Arc::default(),
        }
    }
}

impl SharedParts {
    /// What a close needs of this sink.
    pub(super) fn member(&self) -> Member {
        Member { closed: Arc::clone(&self.closed), sends: self.sends.clone() }
    }

    /// Whether the transport is the sink's own: closing the sink closes it.
    pub(super) fn owns_transport(&self) -> bool {
        self.tenant.is_none()
    }
}

/// What a flush and a close need of a sink.
#[derive(Clone)]
pub(super) struct Member {
    closed: Arc<AtomicBool>,
    pub(super) sends: OpenSends,
}

impl Member {
    /// Refuses later sends, and wakes those that wait for room.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.sends.wake();
    }
}

impl<T> SinkInner<T> {
    /// State of a sink over the user's own stack.
    pub(super) fn over(stack: Box<dyn DynStack<T>>, parts: SharedParts) -> Self {
        let options = StackOptions::default();
        Self { stack, parts, factory: None, options, fault: None, guard: None, profile: 0, complete: None }
    }

    /// State of a sink whose stack the factory makes.
    pub(super) fn made(factory: Arc<StackFactory<T>>, options: StackOptions, parts: SharedParts) -> Self {
        let (stack, fault) = factory.make(&options);
        Self { factory: Some(factory), options, fault, ..Self::over(stack, parts) }
    }

    /// Returns a copy with other options, over the same transport, layers, breaker and metrics.
    pub(super) fn rebuilt(&self, change: impl FnOnce(&mut StackOptions)) -> Option<Self> {
        let factory = Arc::clone(self.factory.as_ref()?);
        let mut options = self.options.clone();
        change(&mut options);
        // The layers of the builder are applied once, because they may hold what all sinks share, such as a rate limit.
        let profile = if self.parts.foreign { factory.profile(&options) } else { None };
        let state = match profile {
            None => Self::made(factory, options, self.parts.clone()),
            Some(profile) => {
                let fault = factory.fault(&options);
                let state = Self::over(self.fresh(), self.parts.clone());
                Self { factory: Some(factory), options, fault, profile, ..state }
            }
        };
        Some(Self { complete: self.complete, ..state })
    }

    /// Returns a state that sends values as they are, past the serializer and the user's layers. `None` over the user's own
    /// stack.
    pub(super) fn encoded(&self) -> Option<SinkInner<Bytes>> {
        let stack = self.factory.as_ref()?.make_encoded(&self.options);
        Some(SinkInner { fault: self.fault.clone(), ..SinkInner::over(stack, self.parts.clone()) })
    }

    /// Returns a copy whose operations all fail with `fault`.
    pub(super) fn with_fault(&self, fault: Error) -> Self {
        Self { fault: Some(fault), ..Self::over(self.fresh(), self.parts.clone()) }
    }

    /// Returns a copy through which the guard of this transaction sends.
    pub(super) fn guarded(&self, transaction: u64) -> Self {
        let state = Self::over(self.fresh(), self.parts.clone());
        let (profile, complete) = (self.profile, self.complete);
        Self { fault: self.fault.clone(), guard: Some(transaction), profile, complete, ..state }
    }

    /// The transaction whose guard sends through this state. None for the sink itself.
    pub(super) fn guard(&self) -> Caller {
        self.guard
    }

    pub(super) fn fresh(&self) -> Box<dyn DynStack<T>> {
        self.stack.fresh()
    }

    /// What a close reports of a message that a user's layer holds. The layers of this project report their own.
    #[inline]
    pub(super) fn known(&self, message: &SinkMessage<T>) -> Known {
        self.parts.foreign.then(|| Box::new(open_sends::known(message)))
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
        self.parts.metrics.record_failed(&error);
        self.parts.telemetry.refused(message.and_then(topic), &error);
        error
    }

    /// Records a send that failed in `poll_ready`: the stack has failed for good, and the message did not reach it.
    pub(super) fn unready(&self, message: &SinkMessage<T>, since: Option<Instant>, error: Error) -> Error {
        self.failed(Some(message), since, error.with_persistence(Persistence::NotPersisted))
    }

    /// Records a send that found no room in time.
    pub(super) fn no_room(&self, message: &SinkMessage<T>, since: Instant) -> Error {
        let deadline = deadline::of(message, since, self.parts.send_timeout);
        self.failed(Some(message), None, deadline::no_room(since, deadline, &*self.parts.transport))
    }

    /// Records the end of a wait for room.
    pub(super) fn waited(&self, message: &SinkMessage<T>, since: Instant) {
        self.parts.telemetry.waited(topic(message), since);
    }

    /// Records a send that was dropped while it waited for room.
    pub(super) fn abandoned(&self, message: &SinkMessage<T>, since: Option<Instant>, caller: &CallerContext) {
        self.parts.metrics.record_abandoned();
        self.parts.telemetry.abandoned(topic(message), since, caller);
    }

    /// Attaches the message to the current transaction, if the sink has transactions.
    ///
    /// # Errors
    ///
    /// If it may not join the open transaction.
    #[inline]
    pub(super) fn ticket(&self, message: &mut SinkMessage<T>) -> Result<Option<Ticket>> {
        let Some(completeness) = &self.parts.completeness else { return Ok(None) };
        let ticket = completeness.ticket(self.guard)?;
        message.envelope_mut().set_ticket(ticket.clone());
        Ok(Some(ticket))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.parts.closed.load(Ordering::Acquire)
    }
}

/// The topic set on the message, if any.
pub(super) fn topic<T>(message: &SinkMessage<T>) -> Option<&Arc<str>> {
    message.envelope().topic.as_ref()
}
