//! One producer that several sinks share.

mod batched;
mod builder;
mod connect;
#[cfg(feature = "rdkafka")]
mod lane_topics;
mod shared;
mod sinks;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Control, Result};
use kafka_tower_layers::metrics::SinkMetrics;

use self::batched::BatchedClient;
use self::sinks::Sinks;
use super::builder::{DefaultSerializer, SinkBuilder};
use super::client_transport::ClientTransport;
use super::close::CloseError;
use super::control::SharedTransactions;
use super::drain;
use super::telemetry::SinkTelemetry;
use super::transaction::Claim;
use crate::KafkaSinkConfig;
use crate::optional::TelemetrySetting;

pub use self::builder::KafkaClientBuilder;
pub use self::shared::Shared;

/// One producer for several sinks: types, topics and settings of their own, over one connection to each broker, one set of
/// threads and one limit of records in flight.
///
/// ```no_run
/// # #[derive(serde::Serialize)] struct Order;
/// # #[derive(serde::Serialize)] struct Payment;
/// # async fn example() -> kafka_tower::Result<()> {
/// use kafka_tower::{KafkaClient, KafkaSinkConfig};
///
/// let client = KafkaClient::connect(KafkaSinkConfig { brokers: "localhost:9092".into(), ..Default::default() }).await?;
/// let orders = client.sink::<Order>("orders").build().await?;
/// let payments = client.sink::<Payment>("payments").settings(|config| config.max_retries = 0).build().await?;
/// # drop((orders, payments));
///
/// client.close().await?; // both sinks, with one report
/// # Ok(())
/// # }
/// ```
///
/// | | |
/// |---|---|
/// | of the client | connections, threads, `buffer_memory` and the number of records in flight, all settings of the producer, the transactional id, transactions |
/// | of each sink | type, topic, serializer, partition strategy, your layers, retries, circuit breaker, send time-out, metrics, telemetry |
///
/// - A sink's [`close`](crate::KafkaSink::close) waits for the records of that sink, and reports them. The other sinks and the
///   producer go on. When its time is over, a record that the producer has is reported as possibly written, and one that waits for room is withdrawn.
/// - A sink's `flush`, `metrics` and `control().in_flight()` are about that sink.
/// - The limit of records in flight is the sum of what the topics of the sinks would have alone; bytes are limited by
///   `buffer_memory` together. Records of a topic that has no leader take room from the other sinks until their time is
///   over.
/// - A clone is a handle to the same client. Sinks outlive it: the producer ends when the client, its sinks and their sends
///   are gone, or with [`close`](Self::close).
///
/// # Transactions
///
/// With `enable_transactions` the sinks share transactions: [`begin_transaction`](crate::KafkaSink::begin_transaction) of any
/// sink begins it for all, and a commit covers the records of all of them. In a transaction with a guard,
/// [`Transaction::sink`](crate::Transaction::sink) sends to the other sinks:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kafka_tower::Result<()> {
/// use kafka_tower::memory::MemoryKafka;
/// use kafka_tower::{KafkaClient, KafkaSinkConfig};
///
/// let kafka = MemoryKafka::new().with_topic("orders", 1).with_topic("payments", 1);
/// let config = KafkaSinkConfig::exactly_once("memory", "", "billing-1");
/// let client = KafkaClient::builder(config).transport(kafka.transactional_transport("billing-1")).build().await?;
/// let orders = client.sink::<String>("orders").build().await?;
/// let payments = client.sink::<u64>("payments").build().await?;
///
/// let tx = orders.transaction().await?;
/// tx.send("book".to_string()).await?;
/// tx.sink(&payments).send(12).await?;
/// tx.commit().await?;
/// assert_eq!((kafka.committed("orders").len(), kafka.committed("payments").len()), (1, 1));
/// # Ok(())
/// # }
/// ```
///
/// With [`KafkaClientBuilder::transaction_batch`](KafkaClientBuilder#method.transaction_batch) the sends of all sinks share transactions, which the client begins and
/// ends by itself.
#[derive(Clone)]
pub struct KafkaClient(Arc<ClientInner>);

/// State that the clones of a client share.
pub(super) struct ClientInner {
    config: KafkaSinkConfig,
    /// Sinks look their topics up.
    check: bool,
    telemetry: TelemetrySetting,
    of_transactions: SinkTelemetry,
    transport: ClientTransport,
    /// Control of the transport.
    whole: Arc<dyn Control>,
    /// The same, with the transactions of the client.
    control: Arc<dyn Control>,
    transactions: Option<SharedTransactions>,
    /// The sinks share transactions, which the transport begins and ends.
    batched: Option<BatchedClient>,
    sinks: Sinks,
    /// Declared last, so that it is released after the transport is dropped.
    claims: Arc<[Claim]>,
}

impl KafkaClient {
    /// Connects to Kafka through librdkafka, within `connect_timeout_ms`. The configuration's `topic` may be empty: each sink
    /// names its own.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for invalid settings, before anything connects; otherwise the reason
    /// why Kafka could not be reached: name resolution, TLS, password.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the connection.
    #[cfg(feature = "rdkafka")]
    #[cfg_attr(docsrs, doc(cfg(feature = "rdkafka")))]
    pub async fn connect(config: KafkaSinkConfig) -> Result<Self> {
        Self::builder(config).build().await
    }

    /// Returns a builder, for another transport, telemetry, or a client that does not check the connection.
    pub fn builder(config: KafkaSinkConfig) -> KafkaClientBuilder {
        KafkaClientBuilder::new(config)
    }

    /// Returns a builder of a sink for `topic`, with the settings and the telemetry of the client.
    ///
    /// Make a sink once and clone it: each has a stack, a breaker and metrics of its own.
    pub fn sink<T>(&self, topic: impl Into<String>) -> SinkBuilder<T, DefaultSerializer, Shared> {
        let config = KafkaSinkConfig { topic: topic.into(), ..self.0.config.clone() };
        let mut builder = SinkBuilder::new(config);
        builder.telemetry = self.0.telemetry.clone();
        builder.with_source(Shared(Arc::clone(&self.0)))
    }

    /// The topic of the configuration, which may be empty.
    pub(super) fn topic(&self) -> &str {
        &self.0.config.topic
    }

    /// Returns the counters of all sinks of this client, added up, also of those that were closed or dropped.
    /// `last_error_msg` is that of one of them, and `uptime` is the client's.
    #[must_use]
    pub fn metrics(&self) -> SinkMetrics {
        self.0.sinks.metrics()
    }

    /// The control side of the transport, for all sinks: records in flight, partition counts, transactions.
    #[must_use]
    pub fn control(&self) -> &Arc<dyn Control> {
        &self.0.control
    }

    /// Flushes all sinks, as [`KafkaSink::flush`](crate::KafkaSink::flush) does one, within the client's `send_timeout_ms`.
    ///
    /// # Errors
    ///
    /// As [`KafkaSink::flush`](crate::KafkaSink::flush).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only stops the waiting.
    ///
    /// # Panics
    ///
    /// If it has to wait outside of a tokio runtime with a timer.
    pub async fn flush(&self) -> Result<()> {
        drain::flush(&self.0.sinks.all(), &*self.0.whole, self.0.config.send_timeout()).await
    }

    /// Closes all sinks and the producer, within the client's `send_timeout_ms`: as
    /// [`KafkaSink::close`](crate::KafkaSink::close) does one sink that has a producer of its own. No sink can be made later.
    ///
    /// # Errors
    ///
    /// [`CloseError`] if a record of any sink was not delivered or is in doubt, if a send has no answer, or if it is unknown
    /// how the open transaction ended. A record that the close of a sink gave up and that has no answer yet counts here too,
    /// by its final outcome.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the sinks closed; call it again to go on waiting.
    ///
    /// # Panics
    ///
    /// As [`KafkaSink::close`](crate::KafkaSink::close).
    pub async fn close(&self) -> Result<(), CloseError> {
        self.close_within(self.0.config.send_timeout()).await
    }

    /// Closes like [`close`](Self::close), waiting at most `within`.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    ///
    /// # Cancel safety
    ///
    /// As [`close`](Self::close).
    ///
    /// # Panics
    ///
    /// As [`close`](Self::close).
    pub async fn close_within(&self, within: Duration) -> Result<(), CloseError> {
        let client = &*self.0;
        client.sinks.close();
        let waits = client.transactions.is_none();
        let closed = drain::close(&client.sinks.all(), &*client.whole, waits, within).await;
        if let Ok(closed) = &closed {
            let completeness = client.transactions.as_ref().map(|shared| &shared.completeness);
            drain::ended(closed, completeness, &client.claims, &client.of_transactions);
        }
        #[cfg(feature = "rdkafka")]
        if let Some(topics) = client.batched.as_ref().and_then(|batched| batched.topics.as_ref()) {
            topics.close();
        }
        CloseError::check(closed)
    }
}

impl fmt::Debug for KafkaClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaClient").field("in_flight", &self.0.control.in_flight()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientInner").field("transport", &self.transport).finish_non_exhaustive()
    }
}
