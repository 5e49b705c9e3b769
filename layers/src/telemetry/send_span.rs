//! A send from its call to its result.

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
use super::scope::{SendScope, batch_of, is_scoped, scoped, send_of};
use super::semconv;
use super::sink::Sink;
use super::topic::Topic;
use crate::MessageHead;

/// A send that is reported once, however it ends.
pub(super) struct SendSpan {
    telemetry: Arc<Inner>,
    topic: Arc<Topic>,
    /// Context that is current while the send is polled, until it ends. `None` if the caller's context serves as
    /// well. Contains this send if the send is recorded.
    context: Option<Context>,
    /// Whether the span in `context` belongs to this send. Otherwise it is the batch's or the caller's, and is not
    /// ended here.
    own: bool,
    /// Set if there is a meter and the send is not part of a batch.
    called: Option<Instant>,
    answered: bool,
}

impl SendSpan {
    /// Starts the span of a message and writes its context into the headers. `None` if nothing is recorded.
    #[inline]
    pub(super) fn begin<R: MessageHead>(sink: &Sink, message: &mut R) -> Option<Self> {
        let telemetry = &sink.telemetry.0;
        if telemetry.instruments.live().is_none() && only_propagated(telemetry, message) {
            return None;
        }
        Self::begin_recorded(sink, message)
    }

    /// A separate function, to keep the path without telemetry short.
    #[inline(never)]
    fn begin_recorded<R: MessageHead>(sink: &Sink, message: &mut R) -> Option<Self> {
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
            telemetry.propagate(caller, message);
        }
        let recorded = recorded(own.as_ref(), batch.as_deref());
        let called = (metrics && batch.is_none()).then(Instant::now);
        let is_own = own.is_some();
        // A send without a span of its own runs in the context of its batch or its caller.
        let context = match (own, &batch) {
            (Some(own), _) => Some(own),
            (None, Some(batch)) => Some(batch.span().unwrap_or_else(|| batch.caller()).clone()),
            (None, None) => is_scoped(&current).then_some(current),
        };
        let context = context.map(|context| scoped(context, recorded));
        Some(Self { telemetry: Arc::clone(telemetry), topic, context, own: is_own, called, answered: false })
    }

    /// Makes the send's context current until the guard is dropped, which must happen in the same poll.
    pub(super) fn attach(&self) -> Option<ContextGuard> {
        self.context.clone().map(Context::attach)
    }

    pub(super) fn answered(&mut self, answer: &Result<Delivery>) {
        self.answered = true;
        self.record(answer);
        let Some(context) = self.context.take() else { return };
        // A span that is not recorded needs no end.
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
            Err(error) => fail(&context, self.telemetry.options.error_text, error, recorded.attempts()),
        }
        context.span().end();
    }

    fn record(&self, answer: &Result<Delivery>) {
        let Some(instruments) = self.telemetry.instruments.live() else { return };
        let sets = &self.topic.metrics;
        let took = self.called.map(|called| called.elapsed());
        let partition = match answer {
            Ok(delivery) if self.telemetry.options.partition_in_metrics => {
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

    /// Reports that the future was dropped: the record may still be written, and its outcome stays unknown here.
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

impl Drop for SendSpan {
    fn drop(&mut self) {
        if !self.answered {
            self.abandoned();
        }
    }
}

impl Sink {
    /// Starts the span of a message: a `send` span, or a `create` span in a batch.
    fn start<R: MessageHead>(
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
        let key = telemetry.options.message_key.then(|| message.key()).flatten();
        let of_message = |start: &mut Vec<KeyValue>| client.message(message.is_tombstone(), key, start);
        if let Some(batch) = batch {
            if let Some(provided) = provided {
                batch.link(provided);
                return None;
            }
            if !telemetry.options.create_spans {
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
        // The creator of the message put its context into the headers; this span only sends the message.
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
    /// Whether the application's context contains anything for consumers.
    fn carries(&self, caller: &Context) -> bool {
        caller.span().span_context().is_valid() || (self.propagation.baggage && !caller.baggage().is_empty())
    }

    /// Writes the application's context into the headers if no span was created, as the API's no-op tracer would.
    fn propagate<R: MessageHead>(&self, caller: &Context, message: &mut R) {
        if self.carries(caller) && self.propagation.provided(message.headers()).is_none() {
            self.propagation.inject(caller, message.headers_mut());
        }
    }
}

/// Writes the current context into the headers if no span will be created. Returns false inside another send or a
/// batch, whose scope must be left. Clones the context only if it carries something.
#[inline]
fn only_propagated<R: MessageHead>(telemetry: &Inner, message: &mut R) -> bool {
    let (records, carries) = Context::map_current(|current| {
        (telemetry.makes_spans(current) || is_scoped(current), telemetry.carries(current))
    });
    if !records && carries {
        propagate_current(telemetry, message);
    }
    !records
}

/// Not inside `map_current`: a foreign propagator may use the current context itself.
#[inline(never)]
fn propagate_current<R: MessageHead>(telemetry: &Inner, message: &mut R) {
    let caller = Context::current();
    if !caller.is_telemetry_suppressed() {
        telemetry.propagate(&caller, message);
    }
}

/// Returns where a send's events are recorded: in its batch's span, or in its own. `None` if nothing is recorded.
fn recorded(own: Option<&Context>, batch: Option<&Batch>) -> Option<SendScope> {
    let of_batch = batch.and_then(|batch| Some((batch.span()?, batch.index())));
    let recorded = own.or(of_batch.map(|(span, _)| span))?;
    if !recorded.span().is_recording() {
        return None;
    }
    Some(match of_batch {
        Some((span, index)) => SendScope::new(span.clone(), Some(index)),
        None => SendScope::new(recorded.clone(), None),
    })
}
