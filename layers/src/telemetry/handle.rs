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
use crate::topics::SharedTopics;

/// Tracer, meter, propagator and client attributes: one per application. Clones share them.
///
/// Sinks that share one `Telemetry` add up in one time series if all their attributes are the same. Two `Telemetry`
/// values over one meter would each report their own series under the same name.
#[derive(Clone)]
pub struct Telemetry(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) spans: Arc<Spans>,
    /// Used if there is no meter provider.
    pub(super) no_meter: Meter,
    /// Counts the look-ups of global providers.
    pub(super) looks: Arc<Looks>,
    pub(super) instruments: Arc<Instruments>,
    pub(super) propagation: Propagation,
    pub(super) client: Client,
    pub(super) options: Options,
    pub(super) topics: SharedTopics<Arc<Topic>>,
    pub(super) max_topics: usize,
    /// Attribute sets of the topics beyond the limit.
    pub(super) other: Arc<MetricSets>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub(super) create_spans: bool,
    pub(super) message_key: bool,
    pub(super) partition_in_metrics: bool,
    pub(super) error_text: bool,
    pub(super) follow_parent: bool,
    pub(super) parent_from_message: bool,
}

impl Telemetry {
    /// Returns a copy for the client `id` and its server, if it has a single one. Values that were set in the builder
    /// stay.
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
            options: inner.options,
            topics: SharedTopics::new(inner.max_topics),
            max_topics: inner.max_topics,
            other: Arc::new(client.metrics(&semconv::OTHER_TOPIC.into())),
            client,
        }))
    }

    /// Reads the context from a record's headers with this propagator. See [`extract`](super::extract).
    #[must_use]
    pub fn extract(&self, headers: &Headers) -> Context {
        self.0.propagation.extract(headers)
    }

    /// Reports the records in flight of a transport of this client, as long as the transport exists. Does not keep it
    /// alive.
    pub fn watch(&self, control: &Arc<dyn Control>) {
        self.0.instruments.watched.watch(self.client_attributes(), control);
    }

    /// The meter, for additional instruments.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        self.0.instruments.live().map_or(&self.0.no_meter, |set| &set.meter)
    }

    /// Common attributes of a client's metrics: the system, and the client id if it is set.
    #[must_use]
    pub fn client_attributes(&self) -> Vec<KeyValue> {
        self.0.client.of_client()
    }

    /// Common attributes of a topic's metrics: the system, and the topic or [`_other`](semconv::OTHER_TOPIC).
    #[must_use]
    pub fn topic_attributes(&self, topic: &str) -> Vec<KeyValue> {
        self.0.topic(&topic.into()).metrics.topic.to_vec()
    }

    /// Whether measurements in the [meter](Self::meter) are recorded. Looks up the global provider again, if it was
    /// missing.
    #[must_use]
    pub fn has_meter(&self) -> bool {
        self.0.instruments.look();
        self.0.instruments.live().is_some()
    }
}

impl Inner {
    /// Whether there is neither a meter nor a tracer, nor baggage to propagate. This can change only when providers
    /// are looked up.
    pub(super) fn is_quiet(&self) -> bool {
        !(self.instruments.live().is_some() || self.spans.are_made() || self.propagation.baggage)
    }

    /// Looks up missing global providers. Returns the number of sends until the next look-up.
    pub(super) fn look(&self) -> u32 {
        if !(self.instruments.may_come() || self.spans.may_come()) {
            return u32::MAX;
        }
        self.instruments.look();
        self.spans.look();
        self.looks.next()
    }

    /// Whether to create spans below this context.
    pub(super) fn makes_spans(&self, parent: &Context) -> bool {
        self.spans.are_made() && !(self.options.follow_parent && is_sampled_out(parent))
    }

    /// Returns the cached data of a topic, or minimal data for one beyond the limit.
    pub(super) fn topic(&self, topic: &Arc<str>) -> Arc<Topic> {
        let kept = self.topics.get_or_insert(topic, || Arc::new(Topic::kept(&self.client, topic)));
        kept.unwrap_or_else(|| Arc::new(Topic::other(topic, &self.other)))
    }
}

/// Schedule of look-ups of global providers: soon at first and then less and less often, because a look-up costs as
/// much as a span.
#[derive(Debug, Default)]
pub(super) struct Looks {
    looks: AtomicU32,
    services: AtomicU32,
}

impl Looks {
    const RARELY: u32 = 12;

    /// Number of sends until the next look-up: 1, 2, 4, … 4,096.
    fn next(&self) -> u32 {
        1 << self.looks.fetch_add(1, Ordering::Relaxed).min(Self::RARELY)
    }

    /// Number of sends until the first look-up of a new service: the current period, but 0 for one service in each
    /// period, so that services which live for only a few sends look too.
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

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("spans", &self.0.spans)
            .field("metrics", &self.0.instruments.live().is_some())
            .field("propagation", &self.0.propagation)
            .field("client", &self.0.client)
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}
