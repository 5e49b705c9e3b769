//! Messages that are sent with one call, and their span.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kafka_tower_core::{Delivery, Result};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;

use super::attributes::{self, destination, error_type};
use super::end::fail;
use super::semconv;
use super::sink::Sink;
use super::topic::Topic;

pub(super) struct Batch {
    sink: Arc<Sink>,
    /// Context that was current when the batch began. Parent of the spans of the batch and of its messages, so that sends
    /// that a layer makes within a message do not join the batch.
    caller: Context,
    /// Context that contains the batch's span.
    span: Option<Context>,
    begun: Instant,
    messages: AtomicUsize,
    /// A message went to another topic than the sink's.
    mixed: AtomicBool,
}

impl Batch {
    pub(super) fn new(sink: Arc<Sink>, caller: Context, span: Option<Context>) -> Self {
        let (begun, messages, mixed) = (Instant::now(), AtomicUsize::new(0), AtomicBool::new(false));
        Self { sink, caller, span, begun, messages, mixed }
    }

    pub(super) fn topic_of(&self, topic: Option<&Arc<str>>) -> Arc<Topic> {
        self.sink.topic_of(topic)
    }

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

    pub(super) fn finish(&self, results: &[Result<Delivery>]) {
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

    pub(super) fn abandoned(&self) {
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
