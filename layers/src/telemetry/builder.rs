use std::fmt;
use std::sync::Arc;

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Tracer, TracerProvider};

use super::attributes::Client;
use super::handle::{Inner, Options, Telemetry};
use super::instruments::Instruments;
use super::propagation::{Propagation, Propagator};
use super::semconv::{self, Semconv};
use super::tracer::Spans;
use crate::topics::SharedTopics;

/// Default number of topics with a value of their own in metrics.
const MAX_TOPICS: usize = 100;

/// Builder of a [`Telemetry`]. Create it with [`Telemetry::builder`].
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
    make_spans: MakeSpans,
    creates_spans: bool,
    make_instruments: MakeInstruments,
    records_metrics: bool,
    propagation: Propagation,
    client: Client,
    options: Options,
    max_topics: usize,
}

type MakeSpans = Box<dyn FnOnce(InstrumentationScope) -> Spans + Send>;
type MakeInstruments = Box<dyn FnOnce(InstrumentationScope) -> Instruments + Send>;

impl Telemetry {
    /// Creates a `Telemetry` with the global tracer and meter provider, the global propagator, and the attribute
    /// names that the environment selects.
    ///
    /// Set the global providers first: sends before they are found are not recorded. See [`TelemetryBuilder::build`].
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder.
    pub fn builder() -> TelemetryBuilder {
        TelemetryBuilder::new()
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl TelemetryBuilder {
    fn new() -> Self {
        Self {
            make_spans: Box::new(Spans::global),
            creates_spans: true,
            make_instruments: Box::new(Instruments::global),
            records_metrics: true,
            propagation: Propagation {
                enabled: true,
                baggage: false,
                propagator: Propagator::Global,
                warned: Arc::default(),
            },
            client: Client { semconv: Semconv::from_env(), ..Client::default() },
            options: Options { create_spans: true, ..Options::default() },
            max_topics: MAX_TOPICS,
        }
    }

    /// Uses this tracer provider. Default: the global one.
    pub fn tracer_provider<P>(mut self, provider: &P) -> Self
    where
        P: TracerProvider + Clone + Send + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        let provider = provider.clone();
        self.make_spans = Box::new(move |scope| Spans::of(provider.tracer_with_scope(scope)));
        self
    }

    /// Uses this meter provider. Default: the global one.
    pub fn meter_provider<P: MeterProvider + Clone + Send + 'static>(mut self, provider: &P) -> Self {
        let provider = provider.clone();
        self.make_instruments = Box::new(move |scope| Instruments::of(&provider.meter_with_scope(scope)));
        self
    }

    /// Writes and reads contexts with this propagator. Default: the global one.
    pub fn propagator(mut self, propagator: impl TextMapPropagator + Send + Sync + 'static) -> Self {
        self.propagation.propagator = Propagator::given(propagator);
        self
    }

    /// Whether spans are created. Default: true. With false, the current context is still written into the headers.
    pub fn spans(mut self, create: bool) -> Self {
        self.creates_spans = create;
        self
    }

    /// Whether metrics are recorded. Default: true.
    pub fn metrics(mut self, record: bool) -> Self {
        self.records_metrics = record;
        self
    }

    /// Whether the context is written into headers. Default: true.
    pub fn propagation(mut self, write: bool) -> Self {
        self.propagation.enabled = write;
        self
    }

    /// Sets the version of the attribute names. Default: as `OTEL_SEMCONV_STABILITY_OPT_IN` says.
    pub fn semconv(mut self, semconv: Semconv) -> Self {
        self.client.semconv = semconv;
        self
    }

    /// Sets the number of topics that have a value of their own in metrics and span names. Default: 100. Later topics
    /// share the metrics of [`_other`](semconv::OTHER_TOPIC).
    pub fn max_topics(mut self, topics: usize) -> Self {
        self.max_topics = topics;
        self
    }

    /// Adds the message's key to its span, if the key is UTF-8. Default: false, because keys are often personal data.
    pub fn message_key(mut self, show: bool) -> Self {
        self.options.message_key = show;
        self
    }

    /// Writes baggage into the headers, if the propagator does. Default: false, because every reader of the topic can
    /// read it.
    pub fn baggage(mut self, write: bool) -> Self {
        self.propagation.baggage = write;
        self
    }

    /// Creates a `create` span for each message of a batch, as the conventions recommend. Default: true. Otherwise
    /// the messages carry the context of the batch's span.
    pub fn create_spans(mut self, make: bool) -> Self {
        self.options.create_spans = make;
        self
    }

    /// Creates no span below a parent that is sampled out, without calling the sampler: the caller's context is
    /// written into the headers. Default: false. The result is the same as with the SDK's default sampler, which also
    /// follows the parent, at a fraction of the cost. With other samplers the result may differ.
    pub fn follow_parent(mut self, follow: bool) -> Self {
        self.options.follow_parent = follow;
        self
    }

    /// Makes the sender's context the parent of a `process` span, in the sender's trace. Default: false, and the sender is only
    /// a link of it: messages that are handled together come from several traces.
    pub fn parent_from_message(mut self, make: bool) -> Self {
        self.options.parent_from_message = make;
        self
    }

    /// Adds the partition to the metrics of messages. Default: false, because it multiplies the number of time
    /// series.
    pub fn partition_in_metrics(mut self, add: bool) -> Self {
        self.options.partition_in_metrics = add;
        self
    }

    /// Puts an error's [message](kafka_tower_core::Error::message) into the status of its span. Default: false,
    /// because a serializer, a partitioner or a foreign layer may write parts of the message into it.
    pub fn error_text(mut self, show: bool) -> Self {
        self.options.error_text = show;
        self
    }

    /// Sets `messaging.client.id`.
    pub fn client_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.client.client_id = Some(id.into());
        self
    }

    /// Sets `server.address` and `server.port`, if the client was given a single server.
    pub fn server(mut self, address: impl Into<Arc<str>>, port: Option<u16>) -> Self {
        self.client.server = Some((address.into(), port));
        self
    }

    /// Sets `messaging.kafka.cluster.id`.
    pub fn cluster_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.client.cluster_id = Some(id.into());
        self
    }

    /// Gets tracer and meter from their providers, and creates the instruments.
    ///
    /// A global provider that is set later is found: the meter provider when a sink is created, and both by a later
    /// send, at the latest after 4,096 sends. A warning is logged once if a provider is missing.
    #[must_use]
    pub fn build(self) -> Telemetry {
        let scope = InstrumentationScope::builder(semconv::SCOPE_NAME)
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(self.client.semconv.schema_url())
            .build();
        let spans = if self.creates_spans { (self.make_spans)(scope.clone()) } else { Spans::none() };
        let instruments =
            if self.records_metrics { (self.make_instruments)(scope.clone()) } else { Instruments::none() };
        let meter = opentelemetry::metrics::noop::NoopMeterProvider::new().meter_with_scope(scope);
        let other = Arc::new(self.client.metrics(&semconv::OTHER_TOPIC.into()));
        Telemetry(Arc::new(Inner {
            spans: Arc::new(spans),
            no_meter: meter,
            looks: Arc::default(),
            instruments: Arc::new(instruments),
            propagation: self.propagation,
            client: self.client,
            options: self.options,
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
            .field("options", &self.options)
            .field("propagation", &self.propagation)
            .field("max_topics", &self.max_topics)
            .finish_non_exhaustive()
    }
}
