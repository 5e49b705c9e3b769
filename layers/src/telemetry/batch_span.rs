//! Handle of a batch.

use std::fmt;
use std::sync::Arc;

use kafka_tower_core::{Delivery, Result};
use opentelemetry::trace::SpanKind;
use opentelemetry::{Context, ContextGuard};

use super::batch::Batch;
use super::scope::Scope;
use super::semconv;
use super::sink::Sink;
use super::topic::begin;

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
        let batch = Arc::new(Batch::new(Arc::clone(sink), caller, span.flatten()));
        let context = batch.span().unwrap_or(batch.caller()).with_value(Scope::Batch(Arc::clone(&batch)));
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
            batch.joined(&batch.topic_of(topic));
        }
    }

    /// Ends the span with the results of all messages, including those that were never called.
    pub fn finish(mut self, results: &[Result<Delivery>]) {
        if let Some(batch) = self.batch.take() {
            batch.finish(results);
        }
    }
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
