use std::fmt;
use std::sync::Arc;

use kafka_tower_core::{Control, Error, ErrorKind, IntoTransport, Record, Result, SinkMessage};
use kafka_tower_layers::serialize::MessageSerializer;

use super::super::KafkaSink;
use super::super::builder::{Made, SinkBuilder};
use super::super::control::{self, SharedTransactions};
use super::super::stack::{RecordStack, TypedStack};
use super::super::stack_layer::StackLayer;
use super::super::telemetry::transactions;
use super::super::transaction::Claim;
use super::{ClientInner, ClientTransport, KafkaClient, sinks};
use crate::KafkaSinkConfig;
use crate::optional::TelemetrySetting;

/// Topic in the telemetry of transactions that several topics may share, as OpenTelemetry's `_other`.
const SEVERAL: &str = "_other";

/// Builds a [`KafkaClient`]: see [`KafkaClient::builder`].
#[must_use = "a builder makes nothing before `build`"]
pub struct KafkaClientBuilder {
    config: KafkaSinkConfig,
    given: Option<(ClientTransport, Arc<dyn Control>)>,
    check: bool,
    telemetry: TelemetrySetting,
}

impl KafkaClientBuilder {
    pub(super) fn new(config: KafkaSinkConfig) -> Self {
        Self { config, given: None, check: true, telemetry: TelemetrySetting::default() }
    }

    /// Sends through this transport instead of connecting through librdkafka, as
    /// [`SinkBuilder::transport`](crate::SinkBuilder::transport) does. It must be able to
    /// [tell the records of sinks apart](Control::open_tenant). One of your own costs an allocation more for each record.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kafka_tower::Result<()> {
    /// use kafka_tower::memory::MemoryKafka;
    /// use kafka_tower::{KafkaClient, KafkaSinkConfig};
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 3);
    /// let client = KafkaClient::builder(KafkaSinkConfig::default()).transport(kafka.transport()).build().await?;
    /// client.sink::<String>("orders").build().await?.send("hello".to_string()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn transport<X: IntoTransport>(mut self, transport: X) -> Self {
        let (transport, control) = transport.into_transport();
        self.given = Some((ClientTransport::of(transport), control));
        self
    }

    /// Whether connecting waits until a broker has answered, and making a sink until its topic was found. Default: true.
    /// With false, no broker is contacted, for a program that starts before its Kafka; the sends then report what is wrong.
    pub fn connect_check(mut self, check: bool) -> Self {
        self.check = check;
        self
    }

    /// Reports the sinks to OpenTelemetry, unless a sink has a telemetry of its own, as
    /// [`SinkBuilder::telemetry`](crate::SinkBuilder::telemetry) does. Transactions and librdkafka's statistics are
    /// reported for the client.
    #[cfg(feature = "opentelemetry")]
    #[cfg_attr(docsrs, doc(cfg(feature = "opentelemetry")))]
    pub fn telemetry(mut self, telemetry: kafka_tower_layers::telemetry::Telemetry) -> Self {
        self.telemetry = TelemetrySetting(Some(telemetry));
        self
    }

    /// Validates the configuration, connects, and makes the client. With transactions, initialises the transactional id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for invalid settings, before anything connects, and if another sink of this process uses the
    /// transactional id; otherwise the reason why Kafka could not be reached.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the connection. An initialisation of the transactional id that has begun goes on in the
    /// transport.
    pub async fn build(mut self) -> Result<KafkaClient> {
        with_topic(&self.config).validate()?;
        let (transport, control) = match self.given.take() {
            Some(given) => given,
            None => self.connect().await?,
        };
        let Self { config, check, telemetry, .. } = self;
        let topic = if config.topic.is_empty() { SEVERAL } else { &config.topic };
        let of_transactions = telemetry.of_topic(topic);
        let (mut claim, mut shared) = (None, None);
        if config.enable_transactions {
            let transactions = transactions(&*control)?;
            claim = Claim::of(&*transactions, config.transactional_id.as_deref().unwrap_or_default())?;
            transactions.init(config.send_timeout()).await?;
            shared = SharedTransactions::of(&control, &of_transactions);
        }
        let decorated = control::decorate(&control, shared.as_ref());
        Ok(KafkaClient(Arc::new(ClientInner {
            config,
            check,
            telemetry,
            of_transactions,
            transport,
            whole: control,
            control: decorated,
            transactions: shared,
            sinks: sinks::Sinks::default(),
            claims: claim.into_iter().collect(),
        })))
    }

    #[cfg(feature = "rdkafka")]
    async fn connect(&mut self) -> Result<(ClientTransport, Arc<dyn Control>)> {
        use super::super::connect_rdkafka as rdkafka;

        self.telemetry = std::mem::take(&mut self.telemetry).for_client(&self.config.client_id, &self.config.brokers);
        rdkafka::warn(&with_topic(&self.config));
        let transport = rdkafka::connect(&self.config, self.check, &self.telemetry).await?;
        let (transport, control) = transport.into_transport();
        Ok((ClientTransport::of(transport), control))
    }

    #[cfg(not(feature = "rdkafka"))]
    async fn connect(&mut self) -> Result<(ClientTransport, Arc<dyn Control>)> {
        Err(no_transport())
    }
}

/// The configuration with a topic, which a client needs none of.
fn with_topic(config: &KafkaSinkConfig) -> KafkaSinkConfig {
    let topic = if config.topic.is_empty() { "any".to_owned() } else { config.topic.clone() };
    KafkaSinkConfig { topic, ..config.clone() }
}

/// Transport source of a builder whose sink shares the producer of a [`KafkaClient`].
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
        client.sinks.check()?;
        self.telemetry = client.prepare(&self.config, self.telemetry).await?;
        let control = client.whole.open_tenant().ok_or_else(no_tenants)?;
        let (builder, _) = self.take_source();
        let sink = builder.finish(Made {
            transport: client.transport.clone(),
            control,
            claims: Arc::clone(&client.claims),
            is_batched: false,
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
        if let Some(transport) = self.transport.rdkafka() {
            let within = self.check.then(|| config.connect_timeout());
            transport.add_topic(config.topic.as_str(), config.limits(1).records, within).await?;
            return Ok(telemetry.for_client(&config.client_id, &config.brokers));
        }
        let _ = (self.check, config);
        Ok(telemetry)
    }
}

#[cfg_attr(feature = "rdkafka", allow(dead_code))]
fn no_transport() -> Error {
    Error::new(ErrorKind::Config, "a client without a transport: the cargo feature `rdkafka` is off")
        .with_help("enable the feature, or give the builder a `transport`")
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

/// Shows no values of properties, which may be secret.
impl fmt::Debug for KafkaClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaClientBuilder")
            .field("config", &self.config)
            .field("transport", &self.given.as_ref().map(|(transport, _)| transport))
            .field("check", &self.check)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_texts_match_their_errors() {
        kafka_tower_test_texts::assert_consistent(&super::no_transport());
        kafka_tower_test_texts::assert_consistent(&super::no_tenants());
        let error = super::of_the_producer(&["acks", "linger_ms"]);
        kafka_tower_test_texts::assert_consistent(&error);
        assert_eq!(
            error.message(),
            "a sink of a client cannot have its own `acks`, `linger_ms`, because its sinks share one producer"
        );
    }
}
