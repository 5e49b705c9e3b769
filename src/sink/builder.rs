use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use kafka_tower_core::{Control, Delivery, Error, ErrorKind, Result, SinkMessage, TransactionControl, Transport};
use kafka_tower_layers::partition::{PartitionStrategy, Partitioner};
use kafka_tower_layers::retry::{DeliveryGuarantee, RetryEvent};
use kafka_tower_layers::serialize::MessageSerializer;
use tower_layer::{Identity, Layer, Stack};
use tower_service::Service;

use super::choices::Choices;
use super::edge::Shared;
use super::recipe::Recipe;
use super::stack::{Instruments, Typed};
use super::traces::Told;
use super::{IntoTransport, KafkaSink};
use crate::KafkaSinkConfig;

/// Default serializer: JSON with the feature `json`. Without it there is none, and [`SinkBuilder::serializer`] must be
/// called.
#[cfg(feature = "json")]
pub type DefaultSerializer = kafka_tower_layers::serialize::JsonSerializer;

/// Default serializer: JSON with the feature `json`. Without it there is none, and [`SinkBuilder::serializer`] must be
/// called.
#[cfg(not(feature = "json"))]
pub type DefaultSerializer = NoSerializer;

/// Placeholder for a builder without a serializer. It implements no [`MessageSerializer`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct NoSerializer;

/// Transport source of a builder that connects through librdkafka, according to the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Connect {
    #[cfg_attr(not(feature = "rdkafka"), allow(dead_code))]
    pub(super) check: bool,
}

/// Transport source of a builder that was given a transport.
#[derive(Clone, Debug)]
pub struct Given<S> {
    transport: S,
    control: Arc<dyn Control>,
}

/// Builds a [`KafkaSink`]: see [`KafkaSink::builder`].
///
/// `F` is the serializer, `S` the transport source, `L` your own layers.
#[must_use = "a builder makes nothing before `build`"]
pub struct SinkBuilder<T, F: ?Sized = DefaultSerializer, S = Connect, L = Identity> {
    pub(super) config: KafkaSinkConfig,
    pub(super) serializer: Arc<F>,
    pub(super) source: S,
    layer: L,
    choices: Choices,
    pub(super) told: Told,
    message: PhantomData<fn(T)>,
}

impl<T> SinkBuilder<T> {
    pub(super) fn new(config: KafkaSinkConfig) -> Self {
        let choices = Choices::of(&config);
        let serializer = Arc::new(DefaultSerializer::default());
        let source = Connect { check: true };
        Self {
            config,
            serializer,
            source,
            layer: Identity::new(),
            choices,
            told: Told::default(),
            message: PhantomData,
        }
    }
}

impl<T, F: ?Sized, S, L> SinkBuilder<T, F, S, L> {
    /// Sets the serializer. Default: JSON. Also accepts an `Arc<dyn MessageSerializer<T>>`.
    pub fn serializer<G: MessageSerializer<T> + ?Sized>(self, serializer: Arc<G>) -> SinkBuilder<T, G, S, L> {
        let Self { config, source, layer, choices, told, message, .. } = self;
        SinkBuilder { config, serializer, source, layer, choices, told, message }
    }

    /// Sends through this transport instead of connecting through librdkafka. The configuration's settings for the
    /// transport then have no effect.
    pub fn transport<X: IntoTransport>(self, transport: X) -> SinkBuilder<T, F, Given<X::Transport>, L> {
        let (transport, control) = transport.into_transport();
        let Self { config, serializer, layer, choices, told, message, .. } = self;
        SinkBuilder { config, serializer, source: Given { transport, control }, layer, choices, told, message }
    }

    /// Adds a layer around the stack, where messages still have their type. The first layer is the outermost, as in
    /// tower's `ServiceBuilder`. The sink's metrics are outside of all layers, so that they count what the caller sees.
    ///
    /// The layer is applied more than once: batches and streams have a stack of their own, and each `with_…` method
    /// builds new stacks. Keep state that must be shared in the layer itself, as tower's `GlobalConcurrencyLimitLayer`
    /// does.
    ///
    /// To add a layer around the transport, pass the layered transport to [`transport`](Self::transport) together with
    /// its control. For another order of all layers use [`KafkaSink::from_service`](super::KafkaSink::from_service).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kafka_tower::Result<()> {
    /// use kafka_tower::memory::MemoryKafka;
    /// use kafka_tower::{KafkaSink, KafkaSinkConfig, SinkMessage};
    /// use tower::util::MapRequestLayer;
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 1);
    /// let config = KafkaSinkConfig { topic: "orders".into(), ..Default::default() };
    /// let sink = KafkaSink::<String>::builder(config)
    ///     .transport(kafka.transport())
    ///     .layer(MapRequestLayer::new(|message: SinkMessage<String>| message.with_header("region", "eu")))
    ///     .build()
    ///     .await?;
    /// sink.send("hello".to_string()).await?;
    /// assert!(kafka.records("orders")[0].record.headers.contains("region"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn layer<M>(self, layer: M) -> SinkBuilder<T, F, S, Stack<M, L>> {
        let Self { config, serializer, source, layer: outer, choices, told, message } = self;
        SinkBuilder { config, serializer, source, layer: Stack::new(layer, outer), choices, told, message }
    }

    /// Sets the partition strategy for records without an explicit partition. Default: `KeyHash`.
    pub fn partition_strategy(mut self, strategy: PartitionStrategy) -> Self {
        self.choices.strategy = strategy;
        self.choices.partitioner = None;
        self
    }

    /// Sets a custom partitioner for records without an explicit partition.
    pub fn partitioner(mut self, partitioner: impl Partitioner + 'static) -> Self {
        self.choices.strategy = PartitionStrategy::Custom;
        self.choices.partitioner = Some(Arc::new(partitioner));
        self
    }

    /// Sets the delivery guarantee, which limits what a retry may do. Default: `ExactlyOnce` with transactions,
    /// otherwise `AtLeastOnce`.
    pub fn delivery_guarantee(mut self, guarantee: DeliveryGuarantee) -> Self {
        self.choices.guarantee = guarantee;
        self
    }

    /// Under `AtLeastOnce`, also retries records that are `PossiblyPersisted`; such a record may then be in the log
    /// twice. Default: false, and the caller gets the `PossiblyPersisted` error.
    pub fn allow_duplicates(mut self, allow: bool) -> Self {
        self.choices.allow_duplicates = allow;
        self
    }

    /// Adds the serializer's content type as the header `content-type` to each message that has none. Default: false,
    /// because one header doubles the cost of a small record.
    pub fn content_type_header(mut self, add: bool) -> Self {
        self.choices.content_type_header = add;
        self
    }

    /// Seeds the jitter of retries, so that a run can be repeated in tests, as with `memory::sim`. Default: each
    /// stack has a random seed, so that records that failed together are not retried together.
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.choices.jitter_seed = Some(seed);
        self
    }

    /// Calls `hook` before each retry of a record, as
    /// [`RetryLayer::on_retry`](kafka_tower_layers::retry::RetryLayer::on_retry) does. Use it for your own metrics.
    pub fn on_retry(mut self, hook: impl Fn(&RetryEvent<'_>) + Send + Sync + 'static) -> Self {
        self.choices.retry_hooks.push(Arc::new(hook));
        self
    }

    /// Reports each send, batch and transaction to OpenTelemetry, as the outermost layer of the stack. Share one
    /// `Telemetry` between sinks.
    ///
    /// A sink that connects through librdkafka sets the telemetry's client id to `client_id` and, if exactly one broker
    /// is configured, the server address to that broker, unless they were set before. With the property
    /// `statistics.interval.ms`, librdkafka's statistics are exported as metrics too.
    #[cfg(feature = "opentelemetry")]
    #[cfg_attr(docsrs, doc(cfg(feature = "opentelemetry")))]
    pub fn telemetry(mut self, telemetry: kafka_tower_layers::telemetry::Telemetry) -> Self {
        self.told = Told::of(telemetry);
        self
    }

    /// Reports configuration errors that can be found without connecting.
    pub(super) fn check(&self) -> Result<()> {
        self.config.validate()?;
        self.choices.fault(&self.config).map_or(Ok(()), Err)
    }
}

impl<T, F, S, L> SinkBuilder<T, F, Given<S>, L>
where
    T: Send + Sync + 'static,
    F: MessageSerializer<T> + ?Sized + 'static,
    S: Transport,
    L: Layer<Typed<T, F, S>> + Send + Sync + 'static,
    L::Service: Service<SinkMessage<T>, Response = Delivery, Error: Into<Error>> + Clone + Send + Sync + 'static,
    <L::Service as Service<SinkMessage<T>>>::Future: Send + 'static,
{
    /// Validates the configuration and makes the sink. With transactions, initialises the transactional id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for settings that cannot work.
    ///
    /// # Cancel safety
    ///
    /// The sink is not made. An initialisation of the transactional id that has begun goes on in the transport.
    pub async fn build(self) -> Result<KafkaSink<T>> {
        self.check()?;
        let Given { transport, control } = self.source;
        if self.config.enable_transactions {
            transactions(&*control)?.init(self.config.send_timeout()).await?;
        }
        let instruments = Instruments::new(&self.config).whole(&*control);
        let instruments = instruments.traced(self.told.traces(&self.config.topic), &control);
        let send_timeout = self.config.send_timeout();
        let (layer, serializer) = (self.layer, self.serializer);
        let recipe = Recipe::new(self.config, serializer, layer, transport, Arc::clone(&control), instruments.clone());
        let mut shared = Shared::of_recipe(recipe, self.choices, control, send_timeout, &instruments);
        shared.foreign = TypeId::of::<L>() != TypeId::of::<Identity>();
        Ok(KafkaSink::of(shared))
    }
}

/// The transactional side of a transport.
pub(super) fn transactions(control: &dyn Control) -> Result<&dyn TransactionControl> {
    control.transactions().ok_or_else(|| {
        Error::new(ErrorKind::Config, "this sink has no transactions")
            .with_help("set `enable_transactions` and a `transactional_id`; your own transport must support them too")
    })
}

impl<T, F: ?Sized, S: fmt::Debug, L> fmt::Debug for SinkBuilder<T, F, S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkBuilder")
            .field("config", &self.config)
            .field("source", &self.source)
            .field("choices", &self.choices)
            .finish_non_exhaustive()
    }
}
