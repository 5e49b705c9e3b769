//! A send from its call to its answer.

use std::sync::Arc;

use kafka_tower_core::{Delivery, Persistence, Result};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanContext, SpanKind, TraceContextExt};
use opentelemetry::{Context, ContextGuard, KeyValue};
use tokio::time::Instant;

use super::attributes::{self, error_type, was_sent};
use super::batch::Batch;
use super::end::{abandoned, dropped, fail, tried};
use super::handle::Inner;
use super::layer::Sink;
use super::scope::{SendScope, batch_of, is_scoped, scoped, send_of};
use super::semconv;
use super::topic::Topic;
use crate::Outgoing;

/// A send that is told about once, however it ends.
pub(super) struct Open {
    telemetry: Arc<Inner>,
    topic: Arc<Topic>,
    /// What is current while the send is at work, until it ends; none if the caller's is as good. It is of this send if that is
    /// recorded.
    context: Option<Context>,
    /// Whether the span in it is the send's: else it is its batch's or its caller's, and not ended here.
    own: bool,
    /// Of a send that is no batch's, if there is a meter.
    called: Option<Instant>,
    answered: bool,
}

impl Open {
    /// Begins the span of a message and writes its context into the headers. None if nobody wants to know of it.
    #[inline]
    pub(super) fn begin<R: Outgoing>(sink: &Sink, message: &mut R) -> Option<Self> {
        let telemetry = &sink.telemetry.0;
        if telemetry.instruments.live().is_none() && passed_on(telemetry, message) {
            return None;
        }
        Self::told(sink, message)
    }

    /// Apart, so that the way of those whom nobody asks about stays short.
    #[inline(never)]
    fn told<R: Outgoing>(sink: &Sink, message: &mut R) -> Option<Self> {
        let telemetry = &sink.telemetry.0;
        let metrics = telemetry.instruments.live().is_some();
        let current = Context::current();
        if current.is_telemetry_suppressed() {
            return None;
        }
        let transaction = sink.transaction.joined();
        let batch = batch_of(&current, sink);
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
        let context = context.map(|context| scoped(context, recorded));
        Some(Self { telemetry: Arc::clone(telemetry), topic, context, own: is_own, called, answered: false })
    }

    /// Makes the send's context the current one, until the guard is dropped in the same poll.
    pub(super) fn attach(&self) -> Option<ContextGuard> {
        self.context.clone().map(Context::attach)
    }

    pub(super) fn answered(&mut self, answer: &Result<Delivery>) {
        self.answered = true;
        self.record(answer);
        let Some(context) = self.context.take() else { return };
        // A span that is not recorded has no end.
        let Some(recorded) = send_of(&context) else { return };
        if answer.as_ref().is_err_and(|error| error.kind() == kafka_tower_core::ErrorKind::CircuitOpen) {
            recorded.event(semconv::EVENT_REJECTION, Vec::new());
        }
        if !self.own {
            return;
        }
        match answer {
            Ok(delivery) => {
                let end = self.telemetry.client.delivered(delivery).chain(tried(recorded.attempts()));
                context.span().set_attributes(end);
            }
            Err(error) => fail(&context, self.telemetry.choices.error_text, error, recorded.attempts()),
        }
        context.span().end();
    }

    fn record(&self, answer: &Result<Delivery>) {
        let Some(instruments) = self.telemetry.instruments.live() else { return };
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
        if let Some(instruments) = self.telemetry.instruments.live() {
            let sets = &self.topic.metrics;
            instruments.sent.add(1, &attributes::with(&sets.sent, [Some(abandoned())]));
            if let Some(called) = self.called {
                instruments.duration(called.elapsed(), &attributes::with(&sets.duration, [Some(abandoned())]));
            }
        }
        let Some(context) = self.context.take().filter(|_| self.own) else { return };
        let Some(recorded) = send_of(&context) else { return };
        dropped(&context, Persistence::PossiblyPersisted, "dropped before its answer");
        context.span().set_attributes(tried(recorded.attempts()));
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
            let builder = topic.span(client, semconv::CREATE, SpanKind::Producer, [None, None], of_message);
            let context = telemetry.spans.start(builder, batch.caller())?;
            batch.link(context.span().span_context().clone());
            telemetry.propagation.inject(&context, message.headers_mut());
            return Some(context);
        }
        // Whose context is in the headers made the message; this only sends it.
        let kind = if provided.is_some() { SpanKind::Client } else { SpanKind::Producer };
        let made = provided.is_some();
        let builder = topic.span(client, semconv::SEND, kind, [provided, transaction], of_message);
        let context = telemetry.spans.start(builder, current)?;
        if !made {
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
#[inline]
fn passed_on<R: Outgoing>(telemetry: &Inner, message: &mut R) -> bool {
    let (tell, carries) = Context::map_current(|current| {
        (telemetry.makes_spans(current) || is_scoped(current), telemetry.carries(current))
    });
    if !tell && carries {
        carry_on(telemetry, message);
    }
    !tell
}

/// Outside of the look at the current context: a propagator is not ours, and may use it.
#[inline(never)]
fn carry_on<R: Outgoing>(telemetry: &Inner, message: &mut R) {
    let caller = Context::current();
    if !caller.is_telemetry_suppressed() {
        telemetry.pass_on(&caller, message);
    }
}

/// Where the events of a send go, if anything is recorded of it: to its batch's span, or to its own.
fn recorded(own: Option<&Context>, batch: Option<&Batch>) -> Option<SendScope> {
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
