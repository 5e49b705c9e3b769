use std::fmt;
use std::sync::Arc;

use kafka_tower_core::{Control, Headers};
use opentelemetry::metrics::Meter;
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, KeyValue};

use super::attributes::{Client, MetricSets};
use super::instruments::Instruments;
use super::propagation::Propagation;
use super::semconv;
use super::topic::Topic;
use super::tracer::Spans;
use super::{TelemetryBuilder, TelemetryLayer};
use crate::topics::SharedTopics;

/// Tracer, meter, propagator and names: one for an application. A clone is the same.
///
/// Sinks that share one are counted together where all attributes of a metric are the same; two with the same meter would each
/// report their own under the same name.
#[derive(Clone)]
pub struct Telemetry(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) spans: Arc<Spans>,
    pub(super) meter: Meter,
    pub(super) instruments: Arc<Instruments>,
    pub(super) propagation: Propagation,
    pub(super) client: Client,
    pub(super) choices: Choices,
    pub(super) topics: SharedTopics<Arc<Topic>>,
    pub(super) max_topics: usize,
    /// The metrics of topics for which there is no room.
    pub(super) other: Arc<MetricSets>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Choices {
    pub(super) create_spans: bool,
    pub(super) message_key: bool,
    pub(super) partition_in_metrics: bool,
    pub(super) error_text: bool,
    pub(super) follow_parent: bool,
}

impl Telemetry {
    /// With the global tracer and meter, the global propagator, and the names that the environment asks for.
    ///
    /// The providers are taken now: set them before.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// With choices.
    pub fn builder() -> TelemetryBuilder {
        TelemetryBuilder::new()
    }

    /// The layer of a sink to this topic; messages may name others.
    #[must_use]
    pub fn layer(&self, topic: impl Into<Arc<str>>) -> TelemetryLayer {
        TelemetryLayer::new(self.clone(), &topic.into())
    }

    /// The same for a client of this name, and its server if there is one: what was not chosen when it was built.
    #[must_use]
    pub fn for_client(&self, id: &str, server: Option<(&str, u16)>) -> Self {
        let inner = &self.0;
        let mut client = inner.client.clone();
        client.client_id.get_or_insert_with(|| id.into());
        client.server = client.server.or_else(|| server.map(|(address, port)| (address.into(), Some(port))));
        Self(Arc::new(Inner {
            spans: Arc::clone(&inner.spans),
            meter: inner.meter.clone(),
            instruments: Arc::clone(&inner.instruments),
            propagation: inner.propagation.clone(),
            choices: inner.choices,
            topics: SharedTopics::new(inner.max_topics),
            max_topics: inner.max_topics,
            other: Arc::new(client.metrics(&semconv::OTHER_TOPIC.into())),
            client,
        }))
    }

    /// The context in the headers of a record, by this telemetry's propagator. See [`extract`](super::extract).
    #[must_use]
    pub fn extract(&self, headers: &Headers) -> Context {
        self.0.propagation.extract(headers)
    }

    /// Reports what a transport of this client has in flight, as long as it is there. It is not kept open.
    pub fn watch(&self, control: &Arc<dyn Control>) {
        self.0.instruments.watched.watch(self.client_attributes(), control);
    }

    /// The meter, for instruments beside those of the layer.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.0.meter
    }

    /// What metrics of a client have in common: the system, and the client's id if it was given.
    #[must_use]
    pub fn client_attributes(&self) -> Vec<KeyValue> {
        self.0.client.of_client()
    }

    /// What metrics of a topic have in common: the system, and the topic or [`_other`](semconv::OTHER_TOPIC).
    #[must_use]
    pub fn topic_attributes(&self, topic: &str) -> Vec<KeyValue> {
        self.0.topic(&topic.into()).metrics.topic.to_vec()
    }

    /// Whether anybody gets what is recorded in the meter.
    #[must_use]
    pub fn has_meter(&self) -> bool {
        self.0.instruments.live
    }
}

impl Inner {
    /// Whether there is neither meter nor tracer, and no baggage to look for. It stays so.
    pub(super) fn is_quiet(&self) -> bool {
        !(self.instruments.live || self.spans.are_made() || self.propagation.baggage)
    }

    /// Whether spans are to be made below this context.
    pub(super) fn makes_spans(&self, parent: &Context) -> bool {
        self.spans.are_made() && !(self.choices.follow_parent && is_sampled_out(parent))
    }

    /// What is kept for a topic, or the little that is to be known of one for which there is no room.
    pub(super) fn topic(&self, topic: &Arc<str>) -> Arc<Topic> {
        let kept = self.topics.get_or_insert(topic, || Arc::new(Topic::kept(&self.client, topic)));
        kept.unwrap_or_else(|| Arc::new(Topic::other(topic, &self.other)))
    }
}

fn is_sampled_out(parent: &Context) -> bool {
    let span = parent.span();
    let context = span.span_context();
    context.is_valid() && !context.is_sampled()
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("spans", &self.0.spans)
            .field("metrics", &self.0.instruments.live)
            .field("propagation", &self.0.propagation)
            .field("client", &self.0.client)
            .field("choices", &self.0.choices)
            .finish_non_exhaustive()
    }
}
