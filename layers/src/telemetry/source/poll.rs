use std::fmt;
use std::time::SystemTime;

use kafka_tower_core::{Headers, TopicPartition};
use opentelemetry::trace::{Link, TraceContextExt};
use opentelemetry::{Context, KeyValue};

use super::SourceTelemetry;
use crate::telemetry::{attributes, semconv};

/// Maximum number of links of a span: the default limit of SDKs.
const LINKS: usize = 128;

/// The reading of a batch. Created by [`SourceTelemetry::poll`].
///
/// If it is dropped before [`finish`](Self::finish), there is no span.
pub struct PollSpan {
    telemetry: SourceTelemetry,
    begun: SystemTime,
    links: Vec<Link>,
}

impl SourceTelemetry {
    /// Begins to read a batch. `None` if no span will be made.
    #[must_use]
    pub fn poll(&self) -> Option<PollSpan> {
        let inner = &self.0.telemetry.0;
        let makes = Context::map_current(|current| !current.is_telemetry_suppressed() && inner.makes_spans(current));
        makes.then(|| PollSpan { telemetry: self.clone(), begun: SystemTime::now(), links: Vec::new() })
    }
}

impl PollSpan {
    /// Adds a record with these headers.
    pub fn record(&mut self, headers: &Headers) {
        if self.links.len() < LINKS {
            let sender = self.telemetry.0.telemetry.0.propagation.provided(headers);
            self.links.extend(sender.map(Link::with_context));
        }
    }

    /// Makes the span: this many records of a partition were read.
    pub fn finish(self, at: &TopicPartition, records: usize) {
        let Self { telemetry, begun, links } = self;
        let count = i64::try_from(records).unwrap_or(i64::MAX);
        let more = [attributes::partition(at.partition), KeyValue::new(semconv::BATCH_MESSAGE_COUNT, count)];
        let builder = telemetry.topic(&at.topic).poll().span(more, links).with_start_time(begun);
        if let Some(context) = telemetry.0.telemetry.0.spans.start(builder, &Context::current()) {
            context.span().end();
        }
    }
}

impl fmt::Debug for PollSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollSpan").field("links", &self.links.len()).finish_non_exhaustive()
    }
}
