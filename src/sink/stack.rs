//! The order of the layers in a sink, and the reasons for it.
//!
//! | from the sink down | reason for its place |
//! |---|---|
//! | [metrics](crate::layers::metrics), which the sink counts itself, and [`default`] by a layer | sees what the caller sees: one send, whatever is retried or rejected below |
//! | with transactions: the completeness guard, which refuses to [commit](crate::KafkaSink::commit_transaction) if a send failed above the transport and its error was never observed | sees which answers the caller takes |
//! | telemetry, if set ([`SinkBuilder`](crate::SinkBuilder), feature `opentelemetry`) | one span per send; the trace context is written into the headers once, before the first attempt |
//! | yours ([`SinkBuilder::layer`](crate::SinkBuilder::layer)) | sees typed messages; the metrics count what it rejects |
//! | [serialize](crate::layers::serialize) | the layers below handle records: encoded once, a record can be kept, counted and retried |
//! | yours ([`SinkBuilder::record_layer`](crate::SinkBuilder::record_layer)) | sees encoded records, once for each send; what it passes on is counted, partitioned and retried |
//! | byte counter of the metrics | counts a record once, whatever is retried below |
//! | [partition](crate::layers::partition) | a retry goes to the partition of the first attempt |
//! | [circuit breaker](crate::layers::circuit_breaker) | outside of retry: it counts outcomes, not attempts, and an open breaker rejects new sends but not retries of earlier ones |
//! | [retry](crate::layers::retry) | next to the transport: a retry sends the same record again |
//! | with `transaction_batch`: [the batching layer](crate::layers::transaction_batch) | directly above the transports: it replays whole batches, and the retry layer above it sends nothing again |
//! | transport | its gate enforces the limits: exact in records and bytes, and freed by delivery reports |
//!
//! [`record_stack`](crate::layers::record_stack) does what the four layers from the byte counter to retry do, in one service.
//! No other place orders the layers. For another order, compose the layers with tower's `ServiceBuilder` and make a
//! sink with [`KafkaSink::from_service`](crate::KafkaSink::from_service).

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_tower_core::{Control, Error, Record, SinkMessage, Transport};
use kafka_tower_layers::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakerLayer};
use kafka_tower_layers::metrics::{Metered, Metrics, MetricsLayer};
use kafka_tower_layers::partition::PartitionLayer;
use kafka_tower_layers::record_stack::RecordStackLayer;
use kafka_tower_layers::retry::{RetryLayer, RetryPolicy};
use kafka_tower_layers::serialize::{BytesSerializer, MessageSerializer, Serialize, SerializeLayer};
use tower_layer::{Identity, Layer};

use super::boxed::DynStack;
use super::client_transport::ClientTransport;
use super::options::{Profiles, StackOptions};
use super::stack_layer::StackLayer;
use super::telemetry::SinkTelemetry;
use crate::KafkaSinkConfig;

/// Type of the [`default`] stack. It changes when a layer is added.
pub type DefaultStack<T, F, S> = Metered<TypedStack<T, F, S>>;

/// The default stack without its metrics, around which [`SinkBuilder::layer`](crate::SinkBuilder::layer) puts your
/// layers.
/// `R` are your layers of records.
pub type TypedStack<T, F, S, R = Identity> = Serialize<<R as Layer<RecordStack<S>>>::Service, T, F>;

/// The layers below the serializer, around which [`SinkBuilder::record_layer`](crate::SinkBuilder::record_layer) puts yours.
pub use kafka_tower_layers::record_stack::RecordStack;

/// Returns the sink's stack without the sink: no box, and no deadline except the messages' own. For telemetry, wrap it
/// in the layer of a `Telemetry`, which records each send but not the reasons for retries.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kafka_tower::Result<()> {
/// use std::sync::Arc;
/// use kafka_tower::memory::MemoryKafka;
/// use kafka_tower::{JsonSerializer, KafkaSinkConfig, SinkMessage, stack};
/// use tower::{Service, ServiceExt};
///
/// let transport = MemoryKafka::new().with_topic("numbers", 1).transport();
/// let control = transport.control();
/// let config = KafkaSinkConfig { topic: "numbers".into(), ..Default::default() };
/// let mut sink = stack::default::<u32, _, _>(&config, Arc::new(JsonSerializer), transport, control);
/// sink.ready().await?.call(SinkMessage::new(7)).await?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn default<T, F, S>(
    config: &KafkaSinkConfig,
    serializer: Arc<F>,
    transport: S,
    control: Arc<dyn Control>,
) -> DefaultStack<T, F, S>
where
    F: MessageSerializer<T> + ?Sized,
    S: Transport,
{
    assembled(config, &StackOptions::of(config), serializer, transport, control)
}

/// The [`default`] stack with seeded retry jitter, so that a run can be repeated in tests, as with `memory::sim`.
/// Give stacks that run side by side different seeds; otherwise records that failed together are retried together.
#[must_use]
pub fn seeded<T, F, S>(
    config: &KafkaSinkConfig,
    serializer: Arc<F>,
    transport: S,
    control: Arc<dyn Control>,
    seed: u64,
) -> DefaultStack<T, F, S>
where
    F: MessageSerializer<T> + ?Sized,
    S: Transport,
{
    let options = StackOptions { jitter_seed: Some(seed), ..StackOptions::of(config) };
    assembled(config, &options, serializer, transport, control)
}

fn assembled<T, F, S>(
    config: &KafkaSinkConfig,
    options: &StackOptions,
    serializer: Arc<F>,
    transport: S,
    control: Arc<dyn Control>,
) -> DefaultStack<T, F, S>
where
    F: MessageSerializer<T> + ?Sized,
    S: Transport,
{
    let instruments = Instruments::new(config);
    let layers = Layers::new(config, options, &instruments, (&transport, control), None);
    MetricsLayer::new(instruments.metrics.clone()).layer(layers.stack(serializer, &Identity::new(), transport))
}

/// State that survives when a sink's layers are rebuilt.
#[derive(Clone, Debug)]
pub(super) struct Instruments {
    pub(super) metrics: Metrics,
    pub(super) telemetry: SinkTelemetry,
    breaker: CircuitBreakerLayer,
    /// False if the breaker must stay closed.
    breaks: bool,
}

impl Instruments {
    pub(super) fn new(config: &KafkaSinkConfig) -> Self {
        let metrics = Metrics::new();
        let trips = metrics.clone();
        let breaker = CircuitBreakerConfig::new()
            .failure_threshold(config.circuit_breaker_threshold)
            .open_for(Duration::from_secs(config.circuit_breaker_timeout_secs))
            // A probe is a send, and a send may take up to `send_timeout`.
            .probe_lease(config.send_timeout().saturating_mul(2));
        let breaker = CircuitBreakerLayer::new(breaker).on_transition(move |transition| {
            if transition.is_trip() {
                trips.record_trip();
            }
        });
        // A rejected send would be missing from its transaction, so no transaction could commit while the breaker is
        // open.
        if !config.enable_circuit_breaker || config.enable_transactions {
            breaker.handle().force_closed();
        }
        Self { metrics, telemetry: SinkTelemetry::default(), breaker, breaks: !config.enable_transactions }
    }

    /// Reports the sink to telemetry from now on.
    pub(super) fn traced(mut self, telemetry: SinkTelemetry, control: &Arc<dyn Control>) -> Self {
        telemetry.watch(self.breaker().as_ref(), control);
        self.telemetry = telemetry;
        self
    }

    /// Handle of the breaker. None where the breaker must stay closed: a reset through the handle would make it count
    /// again.
    pub(super) fn breaker(&self) -> Option<CircuitBreakerHandle> {
        self.breaks.then(|| self.breaker.handle())
    }
}

type Make<T> = Box<dyn Fn(&StackOptions) -> Box<dyn DynStack<T>> + Send + Sync>;

/// Makes the stack of a sink, again with other options if they change, over one transport, breaker and set of metrics.
pub(super) struct StackFactory<T> {
    config: KafkaSinkConfig,
    profiles: Arc<Profiles>,
    make: Make<T>,
    /// Makes a stack for records as they are, without the user's layers.
    make_encoded: Make<Bytes>,
}

impl<T: Send + Sync + 'static> StackFactory<T> {
    /// `outer` are the user's layers, of messages and of records.
    pub(super) fn new<F, S, L, R>(
        config: KafkaSinkConfig,
        serializer: Arc<F>,
        (outer, records): (L, R),
        transport: S,
        control: Arc<dyn Control>,
        instruments: Instruments,
    ) -> Self
    where
        F: MessageSerializer<T> + ?Sized + 'static,
        S: Transport,
        R: StackLayer<Record, RecordStack<S>>,
        L: StackLayer<SinkMessage<T>, TypedStack<T, F, S, R>>,
    {
        let profiles = Arc::<Profiles>::default();
        let common = Arc::new((config.clone(), instruments, control, transport));
        let others = Arc::clone(&profiles);
        let of_records = Arc::clone(&common);
        let make = move |options: &StackOptions| {
            let (settings, instruments, control, transport) = &*common;
            let layers = Layers::new(settings, options, instruments, (transport, Arc::clone(control)), Some(&others));
            let stack = outer.layer(layers.stack(Arc::clone(&serializer), &records, transport.clone()));
            instruments.telemetry.erase(stack)
        };
        let make_encoded = move |options: &StackOptions| {
            let (settings, instruments, control, transport) = &*of_records;
            let layers = Layers::new(settings, options, instruments, (transport, Arc::clone(control)), None);
            let stack = layers.stack::<Bytes, _, _, _>(Arc::new(BytesSerializer), &Identity::new(), transport.clone());
            instruments.telemetry.erase(stack)
        };
        Self { config, profiles, make: Box::new(make), make_encoded: Box::new(make_encoded) }
    }
}

impl<T> StackFactory<T> {
    /// Makes a stack with these options. The error says which of them cannot be combined, if so.
    pub(super) fn make(&self, options: &StackOptions) -> (Box<dyn DynStack<T>>, Option<Error>) {
        ((self.make)(options), self.fault(options))
    }

    /// The error of options that cannot be combined.
    pub(super) fn fault(&self, options: &StackOptions) -> Option<Error> {
        options.fault(&self.config)
    }

    /// The number that stands for these options in messages to the same stack. `None` if there are too many.
    pub(super) fn profile(&self, options: &StackOptions) -> Option<u8> {
        self.profiles.number(options)
    }

    /// Makes a stack with these options that sends values as they are, without a `content-type`, past the user's layers.
    pub(super) fn make_encoded(&self, options: &StackOptions) -> Box<dyn DynStack<Bytes>> {
        (self.make_encoded)(&StackOptions { content_type_header: false, ..options.clone() })
    }
}

/// The layers of a sink, except the outermost ones.
struct Layers {
    topic: Arc<str>,
    records: RecordStackLayer,
    content_type_header: bool,
}

impl Layers {
    fn new<S: Transport>(
        config: &KafkaSinkConfig,
        options: &StackOptions,
        instruments: &Instruments,
        (transport, control): (&S, Arc<dyn Control>),
        profiles: Option<&Arc<Profiles>>,
    ) -> Self {
        // A record that is given back has lost its ticket of a transaction.
        let keeps = config.enable_transactions || !gives_records_back(transport, &*control);
        let mut partition = PartitionLayer::new(options.strategy, control);
        if let Some(partitioner) = &options.partitioner {
            partition = partition.partitioner(Arc::clone(partitioner));
        }
        let (retries, hooks) = (instruments.metrics.clone(), options.retry_hooks.clone());
        let retry = RetryLayer::new(policy(config, options)).keep_records(keeps).on_retry(move |event| {
            if !event.isolated {
                retries.record_retry();
            }
            hooks.iter().for_each(|hook| hook(event));
        });
        let retry = match options.jitter_seed {
            Some(seed) => retry.jitter_seed(seed),
            None => retry,
        };
        let mut retry = instruments.telemetry.retries(retry);
        // Messages with other options take their strategy and their policy from these.
        if let Some(profiles) = profiles {
            let (config, strategies, policies) = (config.clone(), Arc::clone(profiles), Arc::clone(profiles));
            let strategy = |options: &StackOptions| (options.strategy, options.partitioner.clone());
            partition = partition.profiles(move |number| strategies.get(number, strategy));
            retry = retry.profiles(move |number| policies.get(number, |options| policy(&config, options)));
        }
        let records = RecordStackLayer::new(partition, instruments.breaker.clone(), retry, instruments.metrics.clone());
        Self { topic: config.topic.as_str().into(), records, content_type_header: options.content_type_header }
    }

    fn stack<T, F, S, R>(&self, serializer: Arc<F>, yours: &R, transport: S) -> TypedStack<T, F, S, R>
    where
        F: MessageSerializer<T> + ?Sized,
        S: Transport,
        R: Layer<RecordStack<S>>,
    {
        SerializeLayer::new(Arc::clone(&self.topic), serializer)
            .content_type_header(self.content_type_header)
            .layer(yours.layer(self.records.layer(transport)))
    }
}

/// Whether the errors of this service contain their records. A layer of the user around a transport has errors of its own.
fn gives_records_back<S: Transport>(service: &S, control: &dyn Control) -> bool {
    match (service as &dyn Any).downcast_ref::<ClientTransport>() {
        Some(of_client) => of_client.gives_records_back(control),
        None => control.gives_records_back::<S>(),
    }
}

fn policy(config: &KafkaSinkConfig, options: &StackOptions) -> RetryPolicy {
    let base_backoff = Duration::from_millis(config.base_backoff_ms);
    RetryPolicy::new()
        .delivery_guarantee(options.guarantee)
        .allow_duplicates(options.allow_duplicates)
        .max_retries(config.max_retries)
        .base_backoff(base_backoff)
        // A base backoff above 10 s is the user's choice and is not cut.
        .max_backoff(base_backoff.max(Duration::from_secs(10)))
}
