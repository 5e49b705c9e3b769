//! Ends of spans whose send failed or was dropped.

use std::time::{Duration, SystemTime};

use kafka_tower_core::{Error, Persistence};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue};

use super::attributes::{self, error_type, persistence, status};
use super::semconv;
use super::sink::Sink;
use super::topic::Topic;

/// Records a send that ended before it was called: it found no room, or nothing can be sent. Without an error its
/// future was dropped.
pub(super) fn unsent(sink: &Sink, caller: &Context, topic: &Topic, waited: Duration, error: Option<&Error>) {
    let telemetry = &sink.telemetry.0;
    if caller.is_telemetry_suppressed() {
        return;
    }
    if telemetry.makes_spans(caller) {
        let now = SystemTime::now();
        let builder = topic
            .span(&telemetry.client, semconv::SEND, SpanKind::Producer, [sink.transaction.link(), None], |_| ())
            .with_start_time(now.checked_sub(waited).unwrap_or(now));
        if let Some(context) = telemetry.spans.start(builder, caller) {
            match error {
                Some(error) => fail(&context, telemetry.options.error_text, error, 1),
                None => dropped(&context, Persistence::NotPersisted, "dropped while it waited for room"),
            }
            context.span().end();
        }
    }
    if let Some(instruments) = telemetry.instruments.live() {
        let why = error.map_or_else(abandoned, error_type);
        instruments.duration(waited, &attributes::with(&topic.metrics.duration, [Some(why)]));
    }
}

pub(super) fn abandoned() -> KeyValue {
    KeyValue::new(semconv::ERROR_TYPE, semconv::ABANDONED)
}

/// Marks the span of a send whose future was dropped.
pub(super) fn dropped(context: &Context, may_be: Persistence, text: &'static str) {
    let span = context.span();
    span.set_attributes([abandoned(), persistence(may_be)]);
    span.set_status(Status::error(text));
}

/// Marks the span of a send that failed.
pub(super) fn fail(context: &Context, text: bool, error: &Error, attempts: u32) {
    let span = context.span();
    span.set_attributes([error_type(error), persistence(error.persistence())]);
    span.set_attributes(tried(attempts.max(error.attempts())));
    span.set_status(status(error, text));
}

pub(super) fn tried(attempts: u32) -> Option<KeyValue> {
    (attempts > 1).then(|| KeyValue::new(semconv::ATTEMPTS, i64::from(attempts)))
}
