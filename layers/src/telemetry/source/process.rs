use std::fmt;
use std::sync::Arc;

use opentelemetry::trace::{Link, Status, TraceContextExt};
use opentelemetry::{Context, ContextGuard, KeyValue};
use tokio::time::Instant;

use super::topic::SourceTopic;
use super::{ReceivedHead, SourceTelemetry};
use crate::telemetry::attributes;
use crate::telemetry::semconv;

/// The handling of one message: a span, and its duration. Created by [`SourceTelemetry::process`].
///
/// If it is dropped before [`finish`](Self::finish), it ends as abandoned.
#[must_use = "a span that is dropped ends as abandoned"]
pub struct ProcessSpan(Option<Open>);

struct Open {
    telemetry: SourceTelemetry,
    topic: Arc<SourceTopic>,
    /// `None` if there is no span.
    context: Option<Context>,
    /// `None` if there is no meter.
    begun: Option<Instant>,
}

impl SourceTelemetry {
    /// Begins the handling of a message. Its span is a child of the current one.
    pub fn process(&self, message: &ReceivedHead<'_>) -> ProcessSpan {
        self.look();
        let inner = &self.0.telemetry.0;
        let current = Context::current();
        let begun = self.live().map(|_| Instant::now());
        if current.is_telemetry_suppressed() || (begun.is_none() && !inner.spans.are_made()) {
            return ProcessSpan(None);
        }
        let topic = self.topic(&message.at.topic);
        let context = self.process_context(message, &topic, &current);
        if context.is_none() && begun.is_none() {
            return ProcessSpan(None);
        }
        ProcessSpan(Some(Open { telemetry: self.clone(), topic, context, begun }))
    }

    fn process_context(&self, message: &ReceivedHead<'_>, topic: &SourceTopic, current: &Context) -> Option<Context> {
        let inner = &self.0.telemetry.0;
        if !inner.spans.are_made() {
            return None;
        }
        let sender = inner.propagation.provided(message.headers);
        let parent = match &sender {
            Some(sender) if inner.options.parent_from_message => {
                Context::current().with_remote_span_context(sender.clone())
            }
            _ => current.clone(),
        };
        if !inner.makes_spans(&parent) {
            return None;
        }
        let links = sender.into_iter().map(Link::with_context).collect();
        inner.spans.start(topic.process().span(self.of_message(message), links), &parent)
    }

    fn of_message(&self, message: &ReceivedHead<'_>) -> Vec<KeyValue> {
        let inner = &self.0.telemetry.0;
        let mut more = vec![attributes::partition(message.at.partition)];
        more.extend(inner.client.renamed(semconv::KAFKA_OFFSET, message.offset));
        let key = message.key.filter(|_| inner.options.message_key);
        inner.client.message(message.is_tombstone, key, &mut more);
        if message.attempt > 1 {
            more.push(KeyValue::new(semconv::DELIVERY_ATTEMPT, i64::from(message.attempt)));
        }
        more
    }
}

impl ProcessSpan {
    /// Makes the span current until the guard is dropped, which must happen in the same poll.
    #[must_use = "the span is current until the guard is dropped"]
    pub fn attach(&self) -> Option<ContextGuard> {
        self.0.as_ref()?.context.clone().map(Context::attach)
    }

    /// Ends the handling. `failure` is an `error.type` of low cardinality; `None` if the message was handled.
    pub fn finish(mut self, failure: Option<&'static str>) {
        if let Some(open) = self.0.take() {
            open.end(failure, "not handled");
        }
    }
}

impl Open {
    fn end(self, failure: Option<&'static str>, text: &'static str) {
        let error = failure.map(|failure| KeyValue::new(semconv::ERROR_TYPE, failure));
        if let Some(context) = &self.context {
            let span = context.span();
            if let Some(error) = error.clone() {
                span.set_attribute(error);
                span.set_status(Status::error(text));
            }
            span.end();
        }
        if let (Some(begun), Some(instruments)) = (self.begun, self.telemetry.live()) {
            let set = &self.topic.process_duration;
            match error {
                None => instruments.processed(begun.elapsed(), set),
                Some(_) => instruments.processed(begun.elapsed(), &attributes::with(set, [error])),
            }
        }
    }
}

impl Drop for ProcessSpan {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            open.end(Some(semconv::ABANDONED), "dropped before it was settled");
        }
    }
}

impl fmt::Debug for ProcessSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProcessSpan").field(&self.0.is_some()).finish()
    }
}
