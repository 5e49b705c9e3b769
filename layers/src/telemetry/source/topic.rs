//! Names and attributes of a topic's spans and metrics.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Link, SpanBuilder, SpanKind};

use crate::telemetry::attributes::{self, Client};
use crate::telemetry::semconv;

/// Data that is the same for all messages of a topic.
#[derive(Debug)]
pub(super) struct SourceTopic {
    /// The topic, or [`OTHER_TOPIC`](semconv::OTHER_TOPIC).
    pub(super) name: Arc<str>,
    poll: Operation,
    process: Operation,
    commit: Operation,
    pub(super) consumed: Box<[KeyValue]>,
    pub(super) process_duration: Box<[KeyValue]>,
    pub(super) commit_duration: Box<[KeyValue]>,
    /// For metrics in our own namespace.
    pub(super) own: Box<[KeyValue]>,
}

/// Start of an operation's spans.
#[derive(Debug)]
pub(super) struct Operation {
    name: String,
    kind: SpanKind,
    start: Box<[KeyValue]>,
}

impl SourceTopic {
    pub(super) fn new(client: &Client, topic: &Arc<str>, group: &Arc<str>) -> Self {
        let operation = |name: &'static str, is: &'static str, kind| {
            let mut start = client.start_as(name, is, Some(topic));
            start.push(attributes::group(group));
            // Span names must have low cardinality: of a topic beyond the limit, only the operation.
            let name = if **topic == *semconv::OTHER_TOPIC { name.to_owned() } else { format!("{name} {topic}") };
            Operation { name, kind, start: start.into() }
        };
        let of = |name: &'static str| (semconv::OPERATION_NAME, name);
        let is = |kind: &'static str| (semconv::OPERATION_TYPE, kind);
        let set =
            |operation: &[(&'static str, &'static str)], server| client.set(operation, topic, Some(group), server);
        Self {
            name: Arc::clone(topic),
            poll: operation(semconv::POLL, semconv::RECEIVE, SpanKind::Client),
            process: operation(semconv::PROCESS, semconv::PROCESS, SpanKind::Consumer),
            commit: operation(semconv::COMMIT, semconv::SETTLE, SpanKind::Client),
            consumed: set(&[of(semconv::POLL)], true),
            process_duration: set(&[of(semconv::PROCESS)], true),
            commit_duration: set(&[of(semconv::COMMIT), is(semconv::SETTLE)], true),
            own: set(&[], false),
        }
    }

    pub(super) fn poll(&self) -> &Operation {
        &self.poll
    }

    pub(super) fn process(&self) -> &Operation {
        &self.process
    }

    pub(super) fn commit(&self) -> &Operation {
        &self.commit
    }
}

impl Operation {
    /// Returns a span builder.
    pub(super) fn span(&self, more: impl IntoIterator<Item = KeyValue>, links: Vec<Link>) -> SpanBuilder {
        let attributes = self.start.iter().cloned().chain(more).collect();
        let mut builder = SpanBuilder::from_name(self.name.clone());
        builder.span_kind = Some(self.kind.clone());
        builder.attributes = Some(attributes);
        builder.links = (!links.is_empty()).then_some(links);
        builder
    }
}
