use std::any::TypeId;
use std::fmt;
use std::sync::Arc;

use kafka_tower_core::{Control, Error, ErrorKind, IntoTransport, Record, Result, SinkMessage, Transport};
use kafka_tower_layers::partition::{PartitionStrategy, Partitioner};
use kafka_tower_layers::retry::{DeliveryGuarantee, RetryEvent};
use kafka_tower_layers::serialize::MessageSerializer;
use tower_layer::{Identity, Stack};

use super::KafkaSink;
use super::control::SharedTransactions;
use super::inner::{SharedParts, SinkInner};
use super::of_type::Complete;
use super::options::StackOptions;
use super::stack::{Instruments, RecordStack, StackFactory, TypedStack};
use super::stack_layer::StackLayer;
use super::telemetry::transactions;
use super::transaction::Claim;
use super::transaction_batch::{Batched, TransactionBatchOptions};
use crate::KafkaSinkConfig;
use crate::optional::TelemetrySetting;

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
/// `F` is the serializer, `S` the transport source, `L` your own layers, `R` those of records.
#[must_use = "a builder makes nothing before `build`"]
pub struct SinkBuilder<T, F: ?Sized = DefaultSerializer, S = Connect, L = Identity, R = Identity> {
    pub(super) config: KafkaSinkConfig,
    pub(super) serializer: Arc<F>,
    pub(super) source: S,
    layer: L,
    record_layer: R,
    options: StackOptions,
    pub(super) telemetry: TelemetrySetting,
    pub(super) complete: Complete<T>,
}

/// What a sink is made over.
pub(super) struct Made<S> {
    pub(super) transport: S,
    pub(super) control: Arc<dyn Control>,
    /// The transactional ids of the transport.
    pub(super) claims: Arc<[Claim]>,
    /// Its sends share transactions, which the transport begins and ends.
    pub(super) is_batched: bool,
    /// Set if other sinks share the transport: the control of all of it, and its transactions.
    pub(super) shared: Option<(Arc<dyn Control>, Option<SharedTransactions>)>,
}

impl<T> SinkBuilder<T> {
    pub(super) fn new(config: KafkaSinkConfig) -> Self {
        let options = StackOptions::of(&config);
        let serializer = Arc::new(DefaultSerializer::default());
        let source = Connect { check: true };
        Self {
            config,
            serializer,
            source,
            layer: Identity::new(),
            record_layer: Identity::new(),
            options,
            telemetry: TelemetrySetting::default(),
            complete: None,
        }
    }
}

impl<T, F: ?Sized, S, L, R> SinkBuilder<T, F, S, L, R> {
    /// Sets the serializer. Default: JSON. Also accepts an `Arc<dyn MessageSerializer<T>>`.
    pub fn serializer<G: MessageSerializer<T> + ?Sized>(self, serializer: Arc<G>) -> SinkBuilder<T, G, S, L, R> {
        let Self { config, source, layer, record_layer, options, telemetry, complete, .. } = self;
        SinkBuilder { config, serializer, source, layer, record_layer, options, telemetry, complete }
    }

    /// Sends through this transport instead of connecting through librdkafka. The configuration's settings for the
    /// transport then have no effect.
    ///
    /// The transports of this project are passed alone. So is your own, if it implements [`IntoTransport`]. A layered
    /// transport is passed as a pair with its control:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kafka_tower::Result<()> {
    /// use kafka_tower::memory::MemoryKafka;
    /// use kafka_tower::{KafkaSink, KafkaSinkConfig, Record};
    /// use tower::ServiceBuilder;
    ///
    /// let transport = MemoryKafka::new().with_topic("orders", 1).transport();
    /// let control = transport.control();
    /// let audited = ServiceBuilder::new()
    ///     .map_request(|record: Record| { println!("{} bytes", record.size()); record })
    ///     .service(transport);
    ///
    /// let config = KafkaSinkConfig { topic: "orders".into(), ..Default::default() };
    /// let sink = KafkaSink::<String>::builder(config).transport((audited, control)).build().await?;
    /// # sink.send("hello".to_string()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn transport<X: IntoTransport>(self, transport: X) -> SinkBuilder<T, F, Given<X::Transport>, L, R> {
        let (transport, control) = transport.into_transport();
        let (builder, _) = self.take_source();
        builder.with_source(Given { transport, control })
    }

    /// Adds a layer around the stack, where messages still have their type. The first layer is the outermost, as in
    /// tower's `ServiceBuilder`. The sink's metrics are outside of all layers, so that they count what the caller sees.
    ///
    /// The layer is applied once: all clones of the sink are clones of the service that it makes. A rate limit of tower is
    /// shared by all clones if it is behind a `BufferLayer`: `.layer(BufferLayer::new(100)).layer(RateLimitLayer::new(..))`.
    /// The sinks that its `with_…` methods return share the layer, too. (Beyond 255 different options of them, the layer is applied again.)
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
    pub fn layer<M>(self, layer: M) -> SinkBuilder<T, F, S, Stack<M, L>, R> {
        let Self { config, serializer, source, layer: outer, record_layer, options, telemetry, complete } = self;
        let layer = Stack::new(layer, outer);
        SinkBuilder { config, serializer, source, layer, record_layer, options, telemetry, complete }
    }

    /// Adds a layer around what is below the serializer: it takes encoded records, once for each send and not for each
    /// attempt. The first one is the outermost. For example to encrypt or sign values, to enforce a size, or to audit what is
    /// sent.
    ///
    /// The partition is picked below, and retries, the circuit breaker and the byte counter see what this layer passes on.
    /// Headers, key and value may be changed; a layer that makes a new record keeps the transaction and the sink's
    /// accounting only if it is made from the old one. The layer is applied as often as [`layer`](Self::layer) is. Dead
    /// letters of a source pass neither the serializer nor these layers.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kafka_tower::Result<()> {
    /// use kafka_tower::memory::MemoryKafka;
    /// use kafka_tower::{KafkaSink, KafkaSinkConfig, Record};
    /// use tower::util::MapRequestLayer;
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 1);
    /// let config = KafkaSinkConfig { topic: "orders".into(), ..Default::default() };
    /// let sink = KafkaSink::<String>::builder(config)
    ///     .transport(kafka.transport())
    ///     .record_layer(MapRequestLayer::new(|mut record: Record| {
    ///         record.headers.push("bytes", record.size().to_string());
    ///         record
    ///     }))
    ///     .build()
    ///     .await?;
    /// sink.send("hello".to_string()).await?;
    /// assert_eq!(kafka.records("orders")[0].record.headers.get("bytes").unwrap(), "7");
    /// # Ok(())
    /// # }
    /// ```
    pub fn record_layer<M>(self, layer: M) -> SinkBuilder<T, F, S, L, Stack<M, R>> {
        let Self { config, serializer, source, layer: messages, record_layer, options, telemetry, complete } = self;
        let record_layer = Stack::new(layer, record_layer);
        SinkBuilder { config, serializer, source, layer: messages, record_layer, options, telemetry, complete }
    }

    /// Sets the partition strategy for records without an explicit partition. Default: `KeyHash`.
    pub fn partition_strategy(mut self, strategy: PartitionStrategy) -> Self {
        self.options.strategy = strategy;
        self.options.partitioner = None;
        self
    }

    /// Sets a custom partitioner for records without an explicit partition.
    pub fn partitioner(mut self, partitioner: impl Partitioner + 'static) -> Self {
        self.options.strategy = PartitionStrategy::Custom;
        self.options.partitioner = Some(Arc::new(partitioner));
        self
    }

    /// Sets the delivery guarantee, which limits what a retry may do. Default: `ExactlyOnce` with transactions,
    /// otherwise `AtLeastOnce`.
    pub fn delivery_guarantee(mut self, guarantee: DeliveryGuarantee) -> Self {
        self.options.guarantee = guarantee;
        self
    }

    /// Under `AtLeastOnce`, also retries records that are `PossiblyPersisted`; such a record may then be in the log
    /// twice. Default: false, and the caller gets the `PossiblyPersisted` error.
    pub fn allow_duplicates(mut self, allow: bool) -> Self {
        self.options.allow_duplicates = allow;
        self
    }

    /// Adds the serializer's content type as the header `content-type` to each message that has none. Default: false,
    /// because one header doubles the cost of a small record.
    pub fn content_type_header(mut self, add: bool) -> Self {
        self.options.content_type_header = add;
        self
    }

    /// Seeds the jitter of retries, so that a run can be repeated in tests, as with `memory::sim`. Default: each
    /// stack has a random seed, so that records that failed together are not retried together.
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.options.jitter_seed = Some(seed);
        self
    }

    /// Calls `hook` before each retry of a record, as
    /// [`RetryLayer::on_retry`](kafka_tower_layers::retry::RetryLayer::on_retry) does. Use it for your own metrics.
    pub fn on_retry(mut self, hook: impl Fn(&RetryEvent<'_>) + Send + Sync + 'static) -> Self {
        self.options.retry_hooks.push(Arc::new(hook));
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
        self.telemetry = TelemetrySetting(Some(telemetry));
        self
    }

    /// Reports configuration errors that can be found without connecting.
    pub(super) fn check(&self) -> Result<()> {
        self.config.validate()?;
        self.options.fault(&self.config).map_or(Ok(()), Err)
    }

    pub(super) fn batched<C>(
        self,
        options: TransactionBatchOptions,
        connect: impl FnOnce(S) -> C,
    ) -> SinkBuilder<T, F, Batched<C>, L, R> {
        let (mut builder, source) = self.take_source();
        builder.options.is_batched = true;
        builder.with_source(Batched { connect: connect(source), options })
    }

    pub(super) fn take_source(self) -> (SinkBuilder<T, F, (), L, R>, S) {
        let Self { config, serializer, source, layer, record_layer, options, telemetry, complete } = self;
        (SinkBuilder { config, serializer, source: (), layer, record_layer, options, telemetry, complete }, source)
    }

    pub(super) fn with_source<X>(self, source: X) -> SinkBuilder<T, F, X, L, R> {
        let Self { config, serializer, layer, record_layer, options, telemetry, complete, .. } = self;
        SinkBuilder { config, serializer, source, layer, record_layer, options, telemetry, complete }
    }
}

impl<T, F, S, L, R> SinkBuilder<T, F, Given<S>, L, R>
where
    T: Send + Sync + 'static,
    F: MessageSerializer<T> + ?Sized + 'static,
    S: Transport,
{
    /// Validates the configuration and makes the sink. With transactions, initialises the transactional id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for settings that cannot work, and if another sink of this process
    /// uses the transactional id: see [Misuse](KafkaSink#misuse).
    ///
    /// # Cancel safety
    ///
    /// The sink is not made. An initialisation of the transactional id that has begun goes on in the transport.
    pub async fn build(self) -> Result<KafkaSink<T>>
    where
        R: StackLayer<Record, RecordStack<S>>,
        L: StackLayer<SinkMessage<T>, TypedStack<T, F, S, R>>,
    {
        self.check()?;
        if self.options.is_batched {
            return Err(replaced_lanes());
        }
        let (builder, Given { transport, control }) = self.take_source();
        let mut claim = None;
        if builder.config.enable_transactions {
            let transactions = transactions(&*control)?;
            claim = Claim::of(&*transactions, builder.config.transactional_id.as_deref().unwrap_or_default())?;
            transactions.init(builder.config.send_timeout()).await?;
        }
        let claims = claim.into_iter().collect();
        Ok(builder.finish(Made { transport, control, claims, is_batched: false, shared: None }))
    }
}

impl<T, F, L, R> SinkBuilder<T, F, (), L, R>
where
    T: Send + Sync + 'static,
    F: MessageSerializer<T> + ?Sized + 'static,
{
    /// Makes the sink.
    pub(super) fn finish<S>(self, made: Made<S>) -> KafkaSink<T>
    where
        S: Transport,
        R: StackLayer<Record, RecordStack<S>>,
        L: StackLayer<SinkMessage<T>, TypedStack<T, F, S, R>>,
    {
        let Made { transport, control, claims, is_batched, shared } = made;
        let telemetry = self.telemetry.of_topic(&self.config.topic);
        let watched = shared.as_ref().map_or(&control, |(whole, _)| whole);
        let instruments = Instruments::new(&self.config).traced(telemetry.clone(), watched);
        let (metrics, breaker) = (instruments.metrics.clone(), instruments.breaker());
        let identity = TypeId::of::<Identity>();
        let foreign = TypeId::of::<L>() != identity || TypeId::of::<R>() != identity;
        let send_timeout = self.config.send_timeout();
        let transactions = match shared {
            Some((_, transactions)) => transactions,
            None => SharedTransactions::of(&control, &telemetry),
        };
        let mut parts =
            SharedParts::new(Arc::clone(&control), transactions, send_timeout, metrics, telemetry, breaker, foreign);
        (parts.claims, parts.is_batched) = (claims, is_batched);
        let factory = StackFactory::new(
            self.config,
            self.serializer,
            (self.layer, self.record_layer),
            transport,
            control,
            instruments,
        );
        let mut inner = SinkInner::made(Arc::new(factory), self.options, parts);
        inner.complete = self.complete;
        KafkaSink::of(inner)
    }
}

/// Error of a builder that got a transport after the lanes.
fn replaced_lanes() -> Error {
    Error::new(ErrorKind::Config, "`transport` was called after `transaction_batch`, and replaces its lanes")
        .with_help("leave `transport` out, or use `transaction_batch_over`, which makes the transport of each lane")
}

impl<T, F: ?Sized, S: fmt::Debug, L, R> fmt::Debug for SinkBuilder<T, F, S, L, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkBuilder")
            .field("config", &self.config)
            .field("source", &self.source)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_text_matches_its_error() {
        kafka_tower_test_texts::assert_consistent(&super::replaced_lanes());
    }
}
