//! Sources that connect through librdkafka.

use kafka_tower_core::Result;
use kafka_tower_layers::deserialize::MessageDeserializer;
use kafka_tower_rdkafka::RdkafkaConsumerTransport;

use super::{KafkaSource, NoTransport, SourceBuilder};

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
        let config = self.config.clone();
        let provider = config.token_provider.get().cloned();
        let mut transport =
            RdkafkaConsumerTransport::for_partitions(move |partitions| config.librdkafka_properties(partitions))
                .with_connect_timeout(self.config.connect_timeout());
        if let Some(provider) = provider {
            transport = transport.with_token_provider(provider);
        }
        self.transport(transport).build().await
    }
}
