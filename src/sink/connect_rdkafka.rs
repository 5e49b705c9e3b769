//! Sinks that connect through librdkafka.

use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{IntoTransport, Record, Result, SinkMessage};
use kafka_tower_layers::serialize::MessageSerializer;
use kafka_tower_layers::transaction_batch::TransactionBatch;
use kafka_tower_rdkafka::RdkafkaTransport;

use super::KafkaSink;
use super::builder::{Connect, SinkBuilder};
use super::stack::{RecordStack, TypedStack};
use super::stack_layer::StackLayer;
use super::transaction_batch::{Batched, TransactionBatchOptions, connect_lane};
use crate::KafkaSinkConfig;
use crate::optional::TelemetrySetting;

#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(all(feature = "json", feature = "rdkafka"))))]
impl<T: serde::Serialize + Send + Sync + 'static> KafkaSink<T> {
    /// Connects to Kafka through librdkafka and encodes messages as JSON.
    ///
    /// Resolves when a broker has answered and the topic was found, within `connect_timeout_ms`. Default: 10 s.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for invalid settings, before anything connects; otherwise the
    /// reason why Kafka could not be reached: name resolution, TLS, password, an unknown topic.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the connection.
    ///
    /// ```no_run
    /// # async fn example() -> kafka_tower::Result<()> {
    /// use kafka_tower::{KafkaSink, KafkaSinkConfig};
    ///
    /// let config = KafkaSinkConfig { topic: "orders".to_string(), ..Default::default() };
    /// let sink = KafkaSink::<String>::new(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn new(config: KafkaSinkConfig) -> Result<Self> {
        Self::builder(config).build().await
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
impl<T: Send + Sync + 'static> KafkaSink<T> {
    /// Connects like `KafkaSink::new`, with another serializer.
    ///
    /// # Errors
    ///
    /// As `KafkaSink::new`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the connection.
    pub async fn with_serializer<F>(config: KafkaSinkConfig, serializer: Arc<F>) -> Result<Self>
    where
        F: MessageSerializer<T> + ?Sized + 'static,
    {
        Self::builder(config).serializer(serializer).build().await
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
impl<T, F: ?Sized, L, R> SinkBuilder<T, F, Connect, L, R> {
    /// Whether making the sink waits until a broker has answered and the topic was found. Default: true. With false, no
    /// broker is contacted, for a program that starts before its Kafka; the sends then report what is wrong.
    pub fn connect_check(mut self, check: bool) -> Self {
        self.source.check = check;
        self
    }

    /// Sets [`connect_timeout_ms`](KafkaSinkConfig::connect_timeout_ms): the total time that connecting may take.
    /// Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
impl<T, F, L, R> SinkBuilder<T, F, Connect, L, R>
where
    T: Send + Sync + 'static,
    F: MessageSerializer<T> + ?Sized + 'static,
{
    /// Validates the configuration, connects, and makes the sink: see `KafkaSink::new`. With transactions, initialises
    /// the transactional id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for invalid settings, before anything connects; otherwise the
    /// reason why Kafka could not be reached.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the connection.
    pub async fn build(mut self) -> Result<KafkaSink<T>>
    where
        R: StackLayer<Record, RecordStack<RdkafkaTransport>>,
        L: StackLayer<SinkMessage<T>, TypedStack<T, F, RdkafkaTransport, R>>,
    {
        self.check()?;
        self.telemetry = self.telemetry.for_client(&self.config.client_id, &self.config.brokers);
        warn(&self.config);
        let transport = connect(&self.config, self.source.check, &self.telemetry).await?;
        self.transport(transport).build().await
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
impl<T, F: ?Sized, L, R> SinkBuilder<T, F, Connect, L, R> {
    /// Lets sends share transactions: a send resolves with `Ok` only after the commit of its transaction. See
    /// [Shared transactions](KafkaSink#shared-transactions).
    ///
    /// The configuration needs `enable_transactions` and a `transactional_id`, as
    /// [`exactly_once`](KafkaSinkConfig::exactly_once) sets them. Call [`connect_check`](Self::connect_check) and
    /// [`connect_timeout`](Self::connect_timeout) before.
    ///
    /// ```no_run
    /// # async fn example() -> kafka_tower::Result<()> {
    /// use kafka_tower::{KafkaSink, KafkaSinkConfig, TransactionBatchOptions};
    ///
    /// let config = KafkaSinkConfig::exactly_once("localhost:9092", "ledger", "billing-0");
    /// let sink = KafkaSink::<String>::builder(config)
    ///     .transaction_batch(TransactionBatchOptions::new().lanes(4))
    ///     .build()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn transaction_batch(self, options: TransactionBatchOptions) -> SinkBuilder<T, F, Batched<Connect>, L, R> {
        self.batched(options, |connect| connect)
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
impl<T, F, L, R> SinkBuilder<T, F, Batched<Connect>, L, R>
where
    T: Send + Sync + 'static,
    F: MessageSerializer<T> + ?Sized + 'static,
{
    /// Validates the configuration, connects the producer of each lane, acquires their transactional ids, and makes the
    /// sink.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for invalid settings, before anything connects, and if another sink
    /// of this process uses a transactional id; otherwise the reason why Kafka could not be reached.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the connections.
    pub async fn build(mut self) -> Result<KafkaSink<T>>
    where
        R: StackLayer<Record, RecordStack<TransactionBatch>>,
        L: StackLayer<SinkMessage<T>, TypedStack<T, F, TransactionBatch, R>>,
    {
        self.check()?;
        self.telemetry = self.telemetry.for_client(&self.config.client_id, &self.config.brokers);
        warn(&self.config);
        let (config, telemetry) = (self.config.clone(), self.telemetry.clone());
        self.build_batched(|Connect { check }| {
            connect_lane(move |id| {
                let config = KafkaSinkConfig { transactional_id: Some(id), ..config.clone() };
                let telemetry = telemetry.clone();
                async move { Ok(connect(&config, check, &telemetry).await?.into_transport()) }
            })
        })
        .await
    }
}

pub(super) fn warn(config: &KafkaSinkConfig) {
    for warning in config.warnings() {
        tracing::warn!(topic = config.topic, "{warning}");
    }
}

pub(super) async fn connect(
    config: &KafkaSinkConfig,
    check: bool,
    telemetry: &TelemetrySetting,
) -> Result<RdkafkaTransport> {
    let one = config.limits(1);
    let mut builder = RdkafkaTransport::builder()
        .limits(one)
        .connect_timeout(config.connect_timeout())
        .delivery_bound(config.delivery_bound())
        .connect_check(check);
    // The sinks of a client add theirs.
    if !config.topic.is_empty() {
        builder = builder.topic(config.topic.as_str()).records_per_partition(config.topic.as_str(), one.records);
    }
    for (name, value) in config.librdkafka_properties() {
        builder = builder.property(name, value);
    }
    if let Some(provider) = config.token_provider.get() {
        builder = builder.token_provider(Arc::clone(provider));
    }
    telemetry.statistics(config, builder).connect().await
}
