//! Span of messages that are sent with one call.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kafka_tower_core::{Delivery, Result};
use opentelemetry::trace::{SpanContext, SpanKind, TraceContextExt};
use opentelemetry::{Context, ContextGuard, KeyValue};
use tokio::time::Instant;

use super::attributes::{self, destination, error_type};
use super::end::fail;
use super::layer::Sink;
use super::scope::Scope;
use super::semconv;
use super::topic::{Topic, begin};

/// Span of a batch, from its first message to its last result. Created by
/// [`TelemetryLayer::batch`](super::TelemetryLayer::batch).
///
/// While its [context](Self::attach) is current, sends through the layer's services belong to it. If it is dropped
/// before [`finish`](Self::finish), it ends as abandoned.
pub struct BatchSpan {
    batch: Option<Arc<Batch>>,
    /// Context that contains the batch.
    context: Context,
}

pub(super) struct Batch {
    sink: Arc<Sink>,
    /// Context that was current when the batch began. Parent of the spans of the batch and of its messages.
    caller: Context,
    /// Context that contains the batch's span.
    span: Option<Context>,
    begun: Instant,
    messages: AtomicUsize,
    /// A message went to another topic than the sink's.
    mixed: AtomicBool,
}

impl BatchSpan {
    pub(super) fn begin(sink: &Arc<Sink>) -> Self {
        let telemetry = &sink.telemetry.0;
        let caller = Context::current();
        let spans = telemetry.makes_spans(&caller);
        if caller.is_telemetry_suppressed() || !(spans || telemetry.instruments.live().is_some()) {
            return Self { batch: None, context: caller };
        }
        let kind = if telemetry.options.create_spans { SpanKind::Client } else { SpanKind::Producer };
        let span = spans.then(|| {
            let start = telemetry.client.start(semconv::SEND, None);
            let builder = begin(sink.topic.span_name(semconv::SEND), kind, [sink.transaction.link(), None], start);
            telemetry.spans.start(builder, &caller)
        });
        let batch = Arc::new(Batch {
            sink: Arc::clone(sink),
            caller,
            span: span.flatten(),
            begun: Instant::now(),
            messages: AtomicUsize::new(0),
            mixed: AtomicBool::new(false),
        });
        let context = batch.span.as_ref().unwrap_or(&batch.caller).with_value(Scope::Batch(Arc::clone(&batch)));
        Self { batch: Some(batch), context }
    }

    /// Makes the batch current until the guard is dropped, which must happen in the same poll.
    #[must_use = "the batch is current until the guard is dropped"]
    pub fn attach(&self) -> Option<ContextGuard> {
        self.batch.as_ref().map(|_| self.context.clone().attach())
    }

    /// Records that a message of the batch was dropped while it waited for readiness. `topic` is the message's own
    /// topic.
    pub fn record_abandoned(&self, topic: Option<&Arc<str>>) {
        if let Some(batch) = &self.batch {
            batch.joined(&batch.sink.topic_of(topic));
        }
    }

    /// Ends the span with the results of all messages, including those that were never called.
    pub fn finish(mut self, results: &[Result<Delivery>]) {
        if let Some(batch) = self.batch.take() {
            batch.finish(results);
        }
    }
}

impl Batch {
    pub(super) fn is_of(&self, sink: &Sink) -> bool {
        std::ptr::eq(&*self.sink, sink)
    }

    pub(super) fn caller(&self) -> &Context {
        &self.caller
    }

    pub(super) fn span(&self) -> Option<&Context> {
        self.span.as_ref()
    }

    /// Index of the message that joined last.
    pub(super) fn index(&self) -> usize {
        self.messages.load(Ordering::Relaxed).saturating_sub(1)
    }

    pub(super) fn joined(&self, topic: &Topic) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        if topic.name != self.sink.topic.name && !self.mixed.swap(true, Ordering::Relaxed) {
            if let Some(span) = &self.span {
                span.span().update_name(semconv::SEND);
            }
        }
    }

    pub(super) fn link(&self, message: SpanContext) {
        if let Some(span) = &self.span {
            span.span().add_link(message, Vec::new());
        }
    }

    fn finish(&self, results: &[Result<Delivery>]) {
        let failed = results.iter().filter(|result| result.is_err()).count();
        let first = results.iter().find_map(|result| result.as_ref().err());
        self.end(results.len(), |span, text| {
            if let Some(first) = first {
                fail(span, text, first, 1);
                span.span().set_attribute(KeyValue::new(semconv::BATCH_FAILED, count(failed)));
            }
        });
        self.record(results.len(), first.map(error_type));
    }

    fn abandoned(&self) {
        let abandoned = KeyValue::new(semconv::ERROR_TYPE, semconv::ABANDONED);
        let messages = self.messages.load(Ordering::Relaxed);
        self.end(messages, |span, _| {
            span.span().set_attribute(abandoned.clone());
            span.span().set_status(opentelemetry::trace::Status::error("dropped before its answer"));
        });
        self.record(messages, Some(abandoned));
    }

    fn end(&self, messages: usize, more: impl FnOnce(&Context, bool)) {
        let Some(context) = &self.span else { return };
        let span = context.span();
        if span.is_recording() {
            if !self.mixed.load(Ordering::Relaxed) {
                span.set_attribute(destination(&self.sink.topic.name));
            }
            span.set_attribute(KeyValue::new(semconv::BATCH_MESSAGE_COUNT, count(messages)));
            more(context, self.sink.telemetry.0.options.error_text);
        }
        span.end();
    }

    fn record(&self, messages: usize, error: Option<KeyValue>) {
        if let Some(instruments) = self.sink.telemetry.0.instruments.live() {
            let sets = &self.sink.topic.metrics;
            instruments.duration(self.begun.elapsed(), &attributes::with(&sets.duration, [error]));
            instruments.batch.record(messages as u64, &sets.topic);
        }
    }
}

fn count(messages: usize) -> i64 {
    i64::try_from(messages).unwrap_or(i64::MAX)
}

impl Drop for BatchSpan {
    fn drop(&mut self) {
        if let Some(batch) = &self.batch {
            batch.abandoned();
        }
    }
}

impl fmt::Debug for BatchSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchSpan").field("context", &self.context).finish_non_exhaustive()
    }
}
