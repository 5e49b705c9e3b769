use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

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
    /// In place of a meter that there is not.
    pub(super) no_meter: Meter,
    /// How often global providers were looked for.
    pub(super) looks: Arc<Looks>,
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
    /// Set the providers before: what is sent until they are found is not recorded. See [`TelemetryBuilder::build`].
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
            no_meter: inner.no_meter.clone(),
            looks: Arc::clone(&inner.looks),
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
        self.0.instruments.live().map_or(&self.0.no_meter, |set| &set.meter)
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

    /// Whether anybody gets what is recorded in the [meter](Self::meter). Looks for the global provider again, if there was none.
    #[must_use]
    pub fn has_meter(&self) -> bool {
        self.0.instruments.look();
        self.0.instruments.live().is_some()
    }
}

impl Inner {
    /// Whether there is neither meter nor tracer, and no baggage to look for. It stays so until providers are looked for.
    pub(super) fn is_quiet(&self) -> bool {
        !(self.instruments.live().is_some() || self.spans.are_made() || self.propagation.baggage)
    }

    /// Looks for global providers that were not there, and says after how many sends to do so again.
    pub(super) fn look(&self) -> u32 {
        if !(self.instruments.may_come() || self.spans.may_come()) {
            return u32::MAX;
        }
        self.instruments.look();
        self.spans.look();
        self.looks.next()
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

/// When global providers are looked for again: soon at first, and less and less often, because a look costs as much as a span.
#[derive(Debug, Default)]
pub(super) struct Looks {
    looks: AtomicU32,
    services: AtomicU32,
}

impl Looks {
    const RARELY: u32 = 12;

    /// Sends until the next look: 1, 2, 4, … 4,096.
    fn next(&self) -> u32 {
        1 << self.looks.fetch_add(1, Ordering::Relaxed).min(Self::RARELY)
    }

    /// The same for a new service. Of those that live for a few sends only, one in as many looks at once.
    pub(super) fn of_new_service(&self) -> u32 {
        let period = 1 << self.looks.load(Ordering::Relaxed).min(Self::RARELY);
        if self.services.fetch_add(1, Ordering::Relaxed) % period == 0 { 0 } else { period }
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
            .field("metrics", &self.0.instruments.live().is_some())
            .field("propagation", &self.0.propagation)
            .field("client", &self.0.client)
            .field("choices", &self.0.choices)
            .finish_non_exhaustive()
    }
}
