//! A send from its call to its answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kafka_tower_core::{Delivery, Error, Persistence, Result};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, ContextGuard, KeyValue};
use tokio::time::Instant;

use super::attributes::{self, error_type, persistence, status, was_sent};
use super::batch::Batch;
use super::handle::Inner;
use super::layer::Sink;
use super::scope::{SendScope, current_batch, is_scoped, scoped};
use super::semconv;
use super::topic::Topic;
use crate::Outgoing;

/// A send that is told about once, however it ends.
pub(super) struct Open {
    telemetry: Arc<Inner>,
    topic: Arc<Topic>,
    /// What is current while the send is at work, until it ends; none if the caller's is as good.
    context: Option<Context>,
    /// Whether the span in it is the send's: else it is its batch's or its caller's, and not ended here.
    own: bool,
    /// Of a span that is recorded.
    recorded: Option<Arc<SendScope>>,
    /// Of a send that is no batch's, if there is a meter.
    called: Option<Instant>,
    answered: bool,
}

impl Open {
    /// Begins the span of a message and writes its context into the headers. None if nobody wants to know of it.
    pub(super) fn begin<R: Outgoing>(sink: &Sink, message: &mut R) -> Option<Self> {
        let telemetry = &sink.telemetry.0;
        let metrics = telemetry.instruments.live;
        if !metrics && passed_on(telemetry, message) {
            return None;
        }
        let current = Context::current();
        if current.is_telemetry_suppressed() {
            return None;
        }
        let transaction = sink.transaction.joined();
        let batch = current_batch(sink);
        let topic = sink.topic_of(message.topic());
        if let Some(batch) = &batch {
            batch.joined(&topic);
        }
        let spans = telemetry.makes_spans(batch.as_ref().map_or(&current, |batch| batch.caller()));
        let own = if spans { sink.start(&current, batch.as_deref(), transaction, &topic, message) } else { None };
        if own.is_none() {
            let caller = batch.as_ref().map_or(&current, |batch| batch.caller());
            telemetry.pass_on(caller, message);
        }
        let recorded = recorded(own.as_ref(), batch.as_deref());
        let called = (metrics && batch.is_none()).then(Instant::now);
        let is_own = own.is_some();
        // Without a span of its own it works below its batch's, or its caller's.
        let context = match (own, &batch) {
            (Some(own), _) => Some(own),
            (None, Some(batch)) => Some(batch.span().unwrap_or_else(|| batch.caller()).clone()),
            (None, None) => is_scoped(&current).then_some(current),
        };
        let context = context.map(|context| scoped(context, recorded.as_ref()));
        Some(Self { telemetry: Arc::clone(telemetry), topic, context, own: is_own, recorded, called, answered: false })
    }

    /// Makes the send's context the current one, until the guard is dropped in the same poll.
    pub(super) fn attach(&self) -> Option<ContextGuard> {
        self.context.clone().map(Context::attach)
    }

    pub(super) fn answered(&mut self, answer: &Result<Delivery>) {
        self.answered = true;
        self.record(answer);
        let Some(context) = self.context.take() else { return };
        if let (Some(recorded), Err(error)) = (&self.recorded, answer) {
            if error.kind() == kafka_tower_core::ErrorKind::CircuitOpen {
                recorded.event(semconv::EVENT_REJECTION, Vec::new());
            }
        }
        if !self.own {
            return;
        }
        if let Some(recorded) = &self.recorded {
            match answer {
                Ok(delivery) => {
                    let span = context.span();
                    span.set_attributes(self.telemetry.client.delivered(delivery));
                    span.set_attributes(tried(recorded.attempts()));
                }
                Err(error) => fail(&context, self.telemetry.choices.error_text, error, recorded.attempts()),
            }
        }
        context.span().end();
    }

    fn record(&self, answer: &Result<Delivery>) {
        let instruments = &self.telemetry.instruments;
        if !instruments.live {
            return;
        }
        let sets = &self.topic.metrics;
        let took = self.called.map(|called| called.elapsed());
        let partition = match answer {
            Ok(delivery) if self.telemetry.choices.partition_in_metrics => {
                Some(attributes::partition(delivery.partition))
            }
            _ => None,
        };
        let failed = answer.as_ref().err();
        if partition.is_none() && failed.is_none() {
            instruments.sent.add(1, &sets.sent);
            if let Some(took) = took {
                instruments.duration(took, &sets.duration);
            }
            return;
        }
        if failed.is_none_or(was_sent) {
            instruments.sent.add(1, &attributes::with(&sets.sent, [partition.clone(), failed.map(error_type)]));
        }
        if let Some(took) = took {
            instruments.duration(took, &attributes::with(&sets.duration, [partition, failed.map(error_type)]));
        }
        if failed.is_some_and(|error| error.kind() == kafka_tower_core::ErrorKind::CircuitOpen) {
            instruments.rejections.add(1, &sets.topic);
        }
    }

    /// The future was dropped: the record may have gone on, and nobody will know.
    fn abandoned(&mut self) {
        let instruments = &self.telemetry.instruments;
        if instruments.live {
            let sets = &self.topic.metrics;
            instruments.sent.add(1, &attributes::with(&sets.sent, [Some(abandoned())]));
            if let Some(called) = self.called {
                instruments.duration(called.elapsed(), &attributes::with(&sets.duration, [Some(abandoned())]));
            }
        }
        let Some(context) = self.context.take().filter(|_| self.own) else { return };
        if let Some(recorded) = &self.recorded {
            drop_told(&context, Persistence::PossiblyPersisted, "dropped before its answer");
            context.span().set_attributes(tried(recorded.attempts()));
        }
        context.span().end();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.answered {
            self.abandoned();
        }
    }
}

impl Sink {
    /// Starts the span of a message: its own, or one of its batch's.
    fn start<R: Outgoing>(
        &self,
        current: &Context,
        batch: Option<&Batch>,
        transaction: Option<SpanContext>,
        topic: &Topic,
        message: &mut R,
    ) -> Option<Context> {
        let telemetry = &self.telemetry.0;
        let provided = telemetry.propagation.provided(message.headers());
        let client = &telemetry.client;
        let key = telemetry.choices.message_key.then(|| message.key()).flatten();
        let of_message = |start: &mut Vec<KeyValue>| client.message(message.is_tombstone(), key, start);
        if let Some(batch) = batch {
            if let Some(provided) = provided {
                batch.link(provided);
                return None;
            }
            if !telemetry.choices.create_spans {
                if let Some(span) = batch.span() {
                    telemetry.propagation.inject(span, message.headers_mut());
                }
                return None;
            }
            let builder = topic.span(client, semconv::CREATE, SpanKind::Producer, None, of_message);
            let context = telemetry.spans.start(builder, batch.caller())?;
            batch.link(context.span().span_context().clone());
            telemetry.propagation.inject(&context, message.headers_mut());
            return Some(context);
        }
        // Whose context is in the headers made the message; this only sends it.
        let kind = if provided.is_some() { SpanKind::Client } else { SpanKind::Producer };
        let links = provided.iter().cloned().chain(transaction);
        let builder = topic.span(client, semconv::SEND, kind, links, of_message);
        let context = telemetry.spans.start(builder, current)?;
        if provided.is_none() {
            telemetry.propagation.inject(&context, message.headers_mut());
        }
        Some(context)
    }
}

impl Inner {
    /// Whether the application has something there for consumers.
    fn carries(&self, caller: &Context) -> bool {
        caller.span().span_context().is_valid() || (self.propagation.baggage && !caller.baggage().is_empty())
    }

    /// No span of ours is made, but the application's goes on: as the API's no-op tracer would have it.
    fn pass_on<R: Outgoing>(&self, caller: &Context, message: &mut R) {
        if self.carries(caller) && self.propagation.provided(message.headers()).is_none() {
            self.propagation.inject(caller, message.headers_mut());
        }
    }
}

/// If no span is to be made, the current context goes into the headers. It is cloned only if it carries something. Not within
/// another send or a batch: there is a scope to leave then.
fn passed_on<R: Outgoing>(telemetry: &Inner, message: &mut R) -> bool {
    let (tell, carries) = Context::map_current(|current| {
        (telemetry.makes_spans(current) || is_scoped(current), telemetry.carries(current))
    });
    if !tell && carries {
        // Outside of the look at the current context: a propagator is not ours, and may use it.
        let caller = Context::current();
        if !caller.is_telemetry_suppressed() {
            telemetry.pass_on(&caller, message);
        }
    }
    !tell
}

/// A send that ends before it was called: it found no room, or nothing could be sent. Without an error it was dropped.
pub(super) fn unsent(sink: &Sink, caller: &Context, topic: &Topic, waited: Duration, error: Option<&Error>) {
    let telemetry = &sink.telemetry.0;
    if caller.is_telemetry_suppressed() {
        return;
    }
    if telemetry.makes_spans(caller) {
        let now = SystemTime::now();
        let builder = topic
            .span(&telemetry.client, semconv::SEND, SpanKind::Producer, sink.transaction.link(), |_| ())
            .with_start_time(now.checked_sub(waited).unwrap_or(now));
        if let Some(context) = telemetry.spans.start(builder, caller) {
            match error {
                Some(error) => fail(&context, telemetry.choices.error_text, error, 1),
                None => drop_told(&context, Persistence::NotPersisted, "dropped while it waited for room"),
            }
            context.span().end();
        }
    }
    if telemetry.instruments.live {
        let why = error.map_or_else(abandoned, error_type);
        telemetry.instruments.duration(waited, &attributes::with(&topic.metrics.duration, [Some(why)]));
    }
}

fn abandoned() -> KeyValue {
    KeyValue::new(semconv::ERROR_TYPE, semconv::ABANDONED)
}

/// What is said of a send whose future was dropped.
fn drop_told(context: &Context, may_be: Persistence, text: &'static str) {
    let span = context.span();
    span.set_attributes([abandoned(), persistence(may_be)]);
    span.set_status(Status::error(text));
}

/// Where the events of a send go, if anything is recorded of it: to its batch's span, or to its own.
fn recorded(own: Option<&Context>, batch: Option<&Batch>) -> Option<Arc<SendScope>> {
    let of_batch = batch.and_then(|batch| Some((batch.span()?, batch.index())));
    let told = own.or(of_batch.map(|(span, _)| span))?;
    if !told.span().is_recording() {
        return None;
    }
    Some(match of_batch {
        Some((span, index)) => SendScope::new(span.clone(), Some(index)),
        None => SendScope::new(told.clone(), None),
    })
}

/// Ends well or not at all: what is said of a failure.
pub(super) fn fail(context: &Context, text: bool, error: &Error, attempts: u32) {
    let span = context.span();
    span.set_attributes([error_type(error), persistence(error.persistence())]);
    span.set_attributes(tried(attempts.max(error.attempts())));
    span.set_status(status(error, text));
}

fn tried(attempts: u32) -> Option<KeyValue> {
    (attempts > 1).then(|| KeyValue::new(semconv::ATTEMPTS, i64::from(attempts)))
}
