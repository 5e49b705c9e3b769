use std::fmt;
use std::sync::Arc;

use kafka_tower_core::{Control, IntoTransport, Result, Transport};

use super::super::control::{self, SharedTransactions};
use super::super::transaction_batch::TransactionBatchOptions;
use super::batched::Lanes;
use super::connect::{Connected, with_topic};
use super::{ClientInner, ClientTransport, KafkaClient, sinks};
use crate::KafkaSinkConfig;
use crate::optional::TelemetrySetting;

/// Builds a [`KafkaClient`]: see [`KafkaClient::builder`].
#[must_use = "a builder makes nothing before `build`"]
pub struct KafkaClientBuilder {
    pub(super) config: KafkaSinkConfig,
    pub(super) given: Option<(ClientTransport, Arc<dyn Control>)>,
    pub(super) lanes: Option<(TransactionBatchOptions, Lanes)>,
    pub(super) check: bool,
    pub(super) telemetry: TelemetrySetting,
}

impl KafkaClientBuilder {
    pub(super) fn new(config: KafkaSinkConfig) -> Self {
        Self { config, given: None, lanes: None, check: true, telemetry: TelemetrySetting::default() }
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

    /// Lets the sends of all sinks share transactions: a send resolves with `Ok` only after the commit of its transaction,
    /// which may contain records of several sinks. The client begins and ends the transactions, so that
    /// [`begin_transaction`](crate::KafkaSink::begin_transaction) and its like are refused. See
    /// [Shared transactions](crate::KafkaSink#shared-transactions).
    ///
    /// The configuration needs `enable_transactions` and a `transactional_id`; each lane connects a producer of its own.
    /// Records that must be there together, or not at all, need a client without this.
    ///
    /// ```no_run
    /// # async fn example() -> kafka_tower::Result<()> {
    /// use kafka_tower::{KafkaClient, KafkaSinkConfig, TransactionBatchOptions};
    ///
    /// let config = KafkaSinkConfig::exactly_once("localhost:9092", "", "billing-1");
    /// let client = KafkaClient::builder(config).transaction_batch(TransactionBatchOptions::new().lanes(2)).build().await?;
    /// let orders = client.sink::<String>("orders").build().await?;
    /// let payments = client.sink::<u64>("payments").build().await?;
    /// let (order, payment) = tokio::join!(orders.send("book".to_string()), payments.send(1_290));
    /// (order?, payment?); // committed
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "rdkafka")]
    #[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
    pub fn transaction_batch(mut self, options: TransactionBatchOptions) -> Self {
        self.lanes = Some((options, Lanes::Connect));
        self
    }

    /// As `transaction_batch`, over transports of your own, as
    /// [`SinkBuilder::transaction_batch_over`](crate::SinkBuilder::transaction_batch_over) does it for one sink.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kafka_tower::Result<()> {
    /// use kafka_tower::memory::MemoryKafka;
    /// use kafka_tower::{KafkaClient, KafkaSinkConfig, TransactionBatchOptions};
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 3).with_topic("payments", 3);
    /// let config = KafkaSinkConfig::exactly_once("memory", "", "billing");
    /// let lanes = kafka.clone();
    /// let client = KafkaClient::builder(config)
    ///     .transaction_batch_over(TransactionBatchOptions::new(), move |id| lanes.transactional_transport(id))
    ///     .build()
    ///     .await?;
    /// let orders = client.sink::<String>("orders").build().await?;
    /// let payments = client.sink::<u64>("payments").build().await?;
    ///
    /// let (order, payment) = tokio::join!(orders.send("book".to_string()), payments.send(1_290));
    /// (order?, payment?); // both are in one transaction, which is committed
    /// assert_eq!((kafka.committed("orders").len(), kafka.committed("payments").len()), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn transaction_batch_over<X, M>(mut self, options: TransactionBatchOptions, transport: M) -> Self
    where
        X: IntoTransport,
        X::Transport: Transport + Sync,
        M: Fn(&str) -> X + Send + Sync + 'static,
    {
        self.lanes = Some((options, Lanes::over(transport)));
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
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for invalid settings, before anything connects, and if another sink of this process uses the
    /// transactional id; otherwise the reason why Kafka could not be reached.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the connection. An initialisation of the transactional id that has begun goes on in the
    /// transport.
    pub async fn build(mut self) -> Result<KafkaClient> {
        with_topic(&self.config).validate()?;
        let Connected { transport, control, claims, batched } = self.connected().await?;
        let of_transactions = self.of_transactions();
        let Self { config, check, telemetry, .. } = self;
        // With shared transactions the control has none.
        let shared = config.enable_transactions.then(|| SharedTransactions::of(&control, &of_transactions)).flatten();
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
            batched,
            sinks: sinks::Sinks::default(),
            claims,
        })))
    }
}

/// Shows no values of properties, which may be secret.
impl fmt::Debug for KafkaClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaClientBuilder")
            .field("config", &self.config)
            .field("transport", &self.given.as_ref().map(|(transport, _)| transport))
            .field("lanes", &self.lanes)
            .field("check", &self.check)
            .finish_non_exhaustive()
    }
}
