use std::fmt;
use std::sync::Arc;

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Tracer, TracerProvider};

use super::Telemetry;
use super::attributes::Client;
use super::handle::{Choices, Inner};
use super::instruments::Instruments;
use super::propagation::{Propagation, Propagator};
use super::semconv::{self, Semconv};
use super::tracer::Spans;
use crate::topics::SharedTopics;

/// Topics with a value of their own in metrics, unless it is said.
const MAX_TOPICS: usize = 100;

/// Makes a [`Telemetry`] with choices: [`Telemetry::builder`].
///
/// ```
/// use kafka_tower_layers::telemetry::Telemetry;
/// use opentelemetry_sdk::metrics::SdkMeterProvider;
/// use opentelemetry_sdk::propagation::TraceContextPropagator;
/// use opentelemetry_sdk::trace::SdkTracerProvider;
///
/// let (tracers, meters) = (SdkTracerProvider::default(), SdkMeterProvider::default());
/// let telemetry = Telemetry::builder()
///     .tracer_provider(&tracers)
///     .meter_provider(&meters)
///     .propagator(TraceContextPropagator::new())
///     .client_id("orders-service-1")
///     .max_topics(20)
///     .build();
/// # let _ = telemetry;
/// ```
#[must_use = "a builder makes nothing before `build`"]
pub struct TelemetryBuilder {
    make_spans: Option<MakeSpans>,
    make_instruments: Option<MakeInstruments>,
    propagation: Propagation,
    client: Client,
    choices: Choices,
    max_topics: usize,
}

type MakeSpans = Box<dyn FnOnce(InstrumentationScope) -> Spans + Send>;
type MakeInstruments = Box<dyn FnOnce(InstrumentationScope) -> Instruments + Send>;

impl TelemetryBuilder {
    pub(super) fn new() -> Self {
        Self {
            make_spans: Some(Box::new(Spans::global)),
            make_instruments: Some(Box::new(Instruments::global)),
            propagation: Propagation {
                enabled: true,
                baggage: false,
                propagator: Propagator::Global,
                warned: Arc::default(),
            },
            client: Client { semconv: Semconv::from_env(), ..Client::default() },
            choices: Choices { create_spans: true, ..Choices::default() },
            max_topics: MAX_TOPICS,
        }
    }

    /// Takes the tracer from this provider, in place of the global one.
    pub fn tracer_provider<P>(mut self, provider: &P) -> Self
    where
        P: TracerProvider + Clone + Send + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        let provider = provider.clone();
        self.make_spans = Some(Box::new(move |scope| Spans::of(provider.tracer_with_scope(scope))));
        self
    }

    /// Takes the meter from this provider, in place of the global one.
    pub fn meter_provider<P: MeterProvider + Clone + Send + 'static>(mut self, provider: &P) -> Self {
        let provider = provider.clone();
        self.make_instruments = Some(Box::new(move |scope| Instruments::of(&provider.meter_with_scope(scope))));
        self
    }

    /// Writes and reads contexts with this propagator, in place of the global one.
    pub fn propagator(mut self, propagator: impl TextMapPropagator + Send + Sync + 'static) -> Self {
        self.propagation.propagator = Propagator::given(propagator);
        self
    }

    /// Makes no spans. A context that is current goes into the headers all the same.
    pub fn without_spans(mut self) -> Self {
        self.make_spans = None;
        self
    }

    /// Makes no metrics.
    pub fn without_metrics(mut self) -> Self {
        self.make_instruments = None;
        self
    }

    /// Writes no headers.
    pub fn without_propagation(mut self) -> Self {
        self.propagation.enabled = false;
        self
    }

    /// Chooses the names, in place of `OTEL_SEMCONV_STABILITY_OPT_IN`.
    pub fn semconv(mut self, semconv: Semconv) -> Self {
        self.client.semconv = semconv;
        self
    }

    /// How many topics have a value of their own in metrics and in the names of spans: 100 if it is not said. Metrics of
    /// those that come later are of the topic [`_other`](semconv::OTHER_TOPIC).
    pub fn max_topics(mut self, topics: usize) -> Self {
        self.max_topics = topics;
        self
    }

    /// Puts the message's key into its span, where it is UTF-8. Off by default: keys are often personal data.
    pub fn message_key(mut self, show: bool) -> Self {
        self.choices.message_key = show;
        self
    }

    /// Puts baggage into the headers, if the propagator does. Off by default: who reads the topic reads it.
    pub fn baggage(mut self, write: bool) -> Self {
        self.propagation.baggage = write;
        self
    }

    /// Makes a `create` span for each message of a batch, as the conventions recommend. Without them the messages carry the
    /// context of the batch's span.
    pub fn create_spans(mut self, make: bool) -> Self {
        self.choices.create_spans = make;
        self
    }

    /// Makes no span below one that is sampled out, and does not ask the sampler: the caller's context goes on into the headers.
    /// The same as with the SDK's default sampler, which follows the parent too, at a small part of the cost. Off by default:
    /// another sampler may think otherwise.
    pub fn follow_parent(mut self, follow: bool) -> Self {
        self.choices.follow_parent = follow;
        self
    }

    /// Adds the partition to the metrics of messages. Off by default: it multiplies their number.
    pub fn partition_in_metrics(mut self, add: bool) -> Self {
        self.choices.partition_in_metrics = add;
        self
    }

    /// Puts an error's [message](kafka_tower_core::Error::message) into the status of its span. Off by default: a serializer, a
    /// partitioner or a layer of your own may write there what the message holds.
    pub fn error_text(mut self, show: bool) -> Self {
        self.choices.error_text = show;
        self
    }

    /// Names the client: `messaging.client.id`.
    pub fn client_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.client.client_id = Some(id.into());
        self
    }

    /// Names the server, where there is one: `server.address` and `server.port`.
    pub fn server(mut self, address: impl Into<Arc<str>>, port: Option<u16>) -> Self {
        self.client.server = Some((address.into(), port));
        self
    }

    /// Names the cluster: `messaging.kafka.cluster.id`.
    pub fn cluster_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.client.cluster_id = Some(id.into());
        self
    }

    /// Takes tracer and meter from their providers, and makes the instruments.
    ///
    /// A global provider that is set later is found: the meter's when a sink is made, and both by one of the next sends, the 4,096th
    /// at the latest. A warning in the log says once that one is missing.
    #[must_use]
    pub fn build(self) -> Telemetry {
        let scope = InstrumentationScope::builder(semconv::SCOPE_NAME)
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(self.client.semconv.schema_url())
            .build();
        let spans = self.make_spans.map_or_else(Spans::none, |make| make(scope.clone()));
        let instruments = self.make_instruments.map_or_else(Instruments::none, |make| make(scope.clone()));
        let meter = opentelemetry::metrics::noop::NoopMeterProvider::new().meter_with_scope(scope);
        let other = Arc::new(self.client.metrics(&semconv::OTHER_TOPIC.into()));
        Telemetry(Arc::new(Inner {
            spans: Arc::new(spans),
            no_meter: meter,
            looks: Arc::default(),
            instruments: Arc::new(instruments),
            propagation: self.propagation,
            client: self.client,
            choices: self.choices,
            topics: SharedTopics::new(self.max_topics),
            max_topics: self.max_topics,
            other,
        }))
    }
}

impl fmt::Debug for TelemetryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryBuilder")
            .field("client", &self.client)
            .field("choices", &self.choices)
            .field("propagation", &self.propagation)
            .field("max_topics", &self.max_topics)
            .finish_non_exhaustive()
    }
}
