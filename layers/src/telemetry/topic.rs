//! Names and start attributes of a topic's spans and metrics.

use std::borrow::Cow;
use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Link, SpanBuilder, SpanContext, SpanKind};

use super::attributes::{Client, MetricSets};
use super::semconv;

/// Data that is the same for all messages of a topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) metrics: Arc<MetricSets>,
    /// `None` for a topic beyond the limit: its data would be built again for each message.
    operations: Option<[Operation; 2]>,
}

/// Number of attributes that most spans add at their end: partition and offset. Reserving them avoids a reallocation.
const AT_END: usize = 2;

/// Start of an operation's spans.
#[derive(Debug)]
struct Operation {
    is: &'static str,
    name: String,
    start: Box<[KeyValue]>,
}

impl Topic {
    /// Data of a topic with a value of its own.
    pub(super) fn kept(client: &Client, topic: &Arc<str>) -> Self {
        let operation = |is: &'static str| Operation {
            is,
            name: format!("{is} {topic}"),
            start: client.start(is, Some(topic)).into(),
        };
        Self {
            name: Arc::clone(topic),
            metrics: Arc::new(client.metrics(topic)),
            operations: Some([operation(semconv::SEND), operation(semconv::CREATE)]),
        }
    }

    /// Data of a topic beyond the limit, which shares the metrics of `_other`.
    pub(super) fn other(topic: &Arc<str>, metrics: &Arc<MetricSets>) -> Self {
        Self { name: Arc::clone(topic), metrics: Arc::clone(metrics), operations: None }
    }

    /// Name of an operation's span. Contains the topic only within the limit: span names must have low cardinality,
    /// attributes need not.
    pub(super) fn span_name(&self, operation: &'static str) -> Cow<'static, str> {
        self.operation(operation).map_or(Cow::Borrowed(operation), |kept| Cow::Owned(kept.name.clone()))
    }

    /// Returns a span builder of an operation.
    pub(super) fn span(
        &self,
        client: &Client,
        operation: &'static str,
        kind: SpanKind,
        links: [Option<SpanContext>; 2],
        more: impl FnOnce(&mut Vec<KeyValue>),
    ) -> SpanBuilder {
        let mut start = match self.operation(operation) {
            Some(kept) => {
                let mut start = Vec::with_capacity(kept.start.len() + AT_END);
                start.extend_from_slice(&kept.start);
                start
            }
            None => client.start(operation, Some(&self.name)),
        };
        more(&mut start);
        begin(self.span_name(operation), kind, links, start)
    }

    fn operation(&self, operation: &'static str) -> Option<&Operation> {
        self.operations.as_ref()?.iter().find(|kept| kept.is == operation)
    }
}

/// Returns a span builder.
pub(super) fn begin(
    name: Cow<'static, str>,
    kind: SpanKind,
    links: [Option<SpanContext>; 2],
    start: Vec<KeyValue>,
) -> SpanBuilder {
    let mut builder = SpanBuilder::from_name(name);
    builder.span_kind = Some(kind);
    builder.attributes = Some(start);
    // Most spans have no links.
    if links.iter().any(Option::is_some) {
        builder.links = Some(links.into_iter().flatten().map(Link::with_context).collect());
    }
    builder
}
