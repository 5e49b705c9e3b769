//! Makes a sink that shares the producer of its client.

use std::sync::Arc;

use kafka_tower_core::{Error, ErrorKind, Record, Result, SinkMessage};
use kafka_tower_layers::serialize::MessageSerializer;

use super::super::KafkaSink;
use super::super::builder::{Made, SinkBuilder};
use super::super::stack::{RecordStack, TypedStack};
use super::super::stack_layer::StackLayer;
use super::{ClientInner, ClientTransport};
use crate::KafkaSinkConfig;
use crate::optional::TelemetrySetting;

/// Transport source of a builder whose sink shares the producer of a [`KafkaClient`](crate::KafkaClient).
#[derive(Clone, Debug)]
pub struct Shared(pub(super) Arc<ClientInner>);

impl<T, F: ?Sized, L, R> SinkBuilder<T, F, Shared, L, R> {
    /// Changes the settings of this sink, which are the client's otherwise: time-outs, retries and the circuit breaker.
    ///
    /// A setting of the producer that differs from the client's is an error of [`build`](Self::build).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kafka_tower::Result<()> {
    /// # use kafka_tower::memory::MemoryKafka;
    /// # use kafka_tower::{KafkaClient, KafkaSinkConfig};
    /// # let kafka = MemoryKafka::new().with_topic("audit", 3);
    /// # let client = KafkaClient::builder(KafkaSinkConfig::default()).transport(kafka.transport()).build().await?;
    /// let audit = client
    ///     .sink::<String>("audit")
    ///     .settings(|config| {
    ///         config.max_retries = 0;
    ///         config.send_timeout_ms = 500;
    ///     })
    ///     .build()
    ///     .await?;
    /// # audit.send("hello".to_string()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn settings(mut self, change: impl FnOnce(&mut KafkaSinkConfig)) -> Self {
        change(&mut self.config);
        self
    }
}

impl<T, F, L, R> SinkBuilder<T, F, Shared, L, R>
where
    T: Send + Sync + 'static,
    F: MessageSerializer<T> + ?Sized + 'static,
{
    /// Validates the settings, looks the topic up within `connect_timeout_ms`, and makes the sink.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for settings that cannot work, or that differ from the client's and are the producer's;
    /// [`ErrorKind::Closed`] if the client was closed; otherwise the reason why the topic was not found.
    ///
    /// # Cancel safety
    ///
    /// The sink is not made.
    pub async fn build(mut self) -> Result<KafkaSink<T>>
    where
        R: StackLayer<Record, RecordStack<ClientTransport>>,
        L: StackLayer<SinkMessage<T>, TypedStack<T, F, ClientTransport, R>>,
    {
        self.check()?;
        let client = Arc::clone(&self.source.0);
        let others = self.config.differences(&client.config);
        if !others.is_empty() {
            return Err(of_the_producer(&others));
        }
        if let Some(batched) = &client.batched {
            batched.options.check(&self.config)?;
        }
        client.sinks.check()?;
        self.telemetry = client.prepare(&self.config, self.telemetry).await?;
        let control = client.whole.open_tenant().ok_or_else(no_tenants)?;
        let (builder, _) = self.take_source();
        let sink = builder.finish(Made {
            transport: client.transport.clone(),
            control,
            claims: Arc::clone(&client.claims),
            is_batched: client.batched.is_some(),
            shared: Some((Arc::clone(&client.whole), client.transactions.clone())),
        });
        let parts = &sink.inner.parts;
        client.sinks.enter(parts.member(), &parts.metrics)?;
        Ok(sink)
    }
}

impl ClientInner {
    /// Looks up the topic of a sink. Returns its telemetry.
    #[cfg_attr(not(feature = "rdkafka"), allow(clippy::unused_async))]
    async fn prepare(&self, config: &KafkaSinkConfig, telemetry: TelemetrySetting) -> Result<TelemetrySetting> {
        #[cfg(feature = "rdkafka")]
        if self.add_topic(config).await? {
            return Ok(telemetry.for_client(&config.client_id, &config.brokers));
        }
        let _ = (self.check, config);
        Ok(telemetry)
    }

    /// Looks up the topic of a sink, and makes room for it. False over a transport that is not librdkafka's.
    #[cfg(feature = "rdkafka")]
    async fn add_topic(&self, config: &KafkaSinkConfig) -> Result<bool> {
        let (topic, records) = (config.topic.as_str(), config.limits(1).records);
        let within = self.check.then(|| config.connect_timeout());
        if let Some(transport) = self.transport.rdkafka() {
            transport.add_topic(topic, records, within).await?;
            return Ok(true);
        }
        let Some(topics) = self.batched.as_ref().and_then(|batched| batched.topics.as_ref()) else { return Ok(false) };
        topics.add(topic, records, within).await?;
        Ok(true)
    }
}

fn of_the_producer(names: &[&str]) -> Error {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    let text =
        format!("a sink of a client cannot have its own {}, because its sinks share one producer", names.join(", "));
    Error::new(ErrorKind::Config, text).with_help("set it for the client, or give this sink a client of its own")
}

fn no_tenants() -> Error {
    Error::new(ErrorKind::Config, "the transport cannot be shared by another sink").with_help(
        "its `Control` must implement `open_tenant`, and at most 65,535 sinks of a client can exist at the same time: \
             clone a sink in place of making another",
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_texts_match_their_errors() {
        kafka_tower_test_texts::assert_consistent(&super::no_tenants());
        let error = super::of_the_producer(&["acks", "linger_ms"]);
        kafka_tower_test_texts::assert_consistent(&error);
        assert_eq!(
            error.message(),
            "a sink of a client cannot have its own `acks`, `linger_ms`, because its sinks share one producer"
        );
    }
}
