//! Sources that connect through librdkafka.

use kafka_tower_core::Result;
use kafka_tower_layers::deserialize::MessageDeserializer;
use kafka_tower_rdkafka::RdkafkaConsumerTransport;

use super::{KafkaSource, NoTransport, SourceBuilder, SourcePreflightReport};
use crate::KafkaSourceConfig;
use crate::config::shown_properties;

#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(all(feature = "json", feature = "rdkafka"))))]
impl<T: serde::de::DeserializeOwned + Send + 'static> KafkaSource<T> {
    /// Connects to Kafka through librdkafka, joins the group, and decodes messages from JSON.
    ///
    /// Resolves when a broker has answered, and the topics and the coordinator of the group were found, within
    /// `connect_timeout_ms`. Default: 10 s.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for invalid settings, before anything connects; otherwise the
    /// reason why nothing can be read: name resolution, TLS, password, an unknown topic, a missing right.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the connection.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use kafka_tower::{KafkaSource, KafkaSourceConfig};
    ///
    /// let config = KafkaSourceConfig {
    ///     group_id: "billing".to_string(),
    ///     topics: vec!["orders".to_string()],
    ///     ..Default::default()
    /// };
    /// let mut source = KafkaSource::<String>::new(config).await?;
    /// let order = source.recv().await?;
    /// println!("{:?}", order.value());
    /// order.ack();
    /// # Ok(())
    /// # }
    /// ```
    pub async fn new(config: crate::KafkaSourceConfig) -> Result<Self> {
        Self::builder(config).build().await
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
impl<T, F> SourceBuilder<T, F, NoTransport>
where
    T: Send + 'static,
    F: MessageDeserializer<T> + 'static,
{
    /// Validates the configuration, connects through librdkafka, and joins the group: see `KafkaSource::new`.
    ///
    /// # Errors
    ///
    /// As `KafkaSource::new`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the connection.
    pub async fn build(mut self) -> Result<KafkaSource<T>> {
        self.telemetry = self.telemetry.for_client(&self.config.client_id, &self.config.brokers);
        let transport = transport(&self.config);
        self.transport(transport).build().await
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
impl<T, F: ?Sized> SourceBuilder<T, F, NoTransport> {
    /// Tries the configuration through librdkafka: reports all conflicts and problems at once, and where reading would begin,
    /// before a source is built.
    ///
    /// It joins no group, reads and commits nothing, and creates no topic. It connects to each broker under its advertised name,
    /// and calls the look-up of [`start_at`](Self::start_at) for each partition, one after another. With a
    /// [`listener`](Self::listener), which may know other offsets, it does not say where reading would begin.
    ///
    /// Connecting takes at most `connect_timeout_ms`; the questions after it take a few more round trips, or up to twice that
    /// time if brokers do not answer. With conflicts nothing connects.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the connection.
    ///
    /// ```no_run
    /// # async fn example() {
    /// use kafka_tower::{KafkaSource, KafkaSourceConfig};
    ///
    /// let config = KafkaSourceConfig { group_id: "billing".into(), topics: vec!["orders".into()], ..Default::default() };
    /// let report = KafkaSource::<String>::builder(config).preflight().await;
    /// println!("{report}");
    /// assert!(report.passed());
    /// # }
    /// ```
    pub async fn preflight(&self) -> SourcePreflightReport {
        let mut report = self.preflight_through(&transport(&self.config)).await;
        let partitions = report.inspection.iter().flat_map(|found| found.topics.values().flatten());
        let partitions = partitions.map(|topic| topic.partitions.len()).sum::<usize>();
        let partitions = if self.config.assign.is_empty() { partitions } else { self.config.assign.len() };
        let properties = self.config.librdkafka_properties(u32::try_from(partitions.max(1)).unwrap_or(u32::MAX));
        report.properties = shown_properties(properties);
        report.brokers = report.properties.get("bootstrap.servers").cloned().unwrap_or_default();
        report
    }
}

fn transport(config: &KafkaSourceConfig) -> RdkafkaConsumerTransport {
    let (timeout, config) = (config.connect_timeout(), config.clone());
    let provider = config.token_provider.get().cloned();
    let transport =
        RdkafkaConsumerTransport::for_partitions(move |partitions| config.librdkafka_properties(partitions))
            .with_connect_timeout(timeout);
    match provider {
        Some(provider) => transport.with_token_provider(provider),
        None => transport,
    }
}
