//! Connects a client: one producer for all sinks, or the lanes of shared transactions.

use std::sync::Arc;

#[cfg(feature = "rdkafka")]
use kafka_tower_core::IntoTransport;
use kafka_tower_core::{Control, Error, ErrorKind, Result};

#[cfg(feature = "rdkafka")]
use super::super::connect_rdkafka as rdkafka;
use super::super::telemetry::{SinkTelemetry, transactions};
use super::super::transaction::Claim;
use super::super::transaction_batch::TransactionBatchOptions;
#[cfg(feature = "rdkafka")]
use super::super::transaction_batch::{connect_lane, lane_id};
use super::ClientTransport;
use super::batched::{self, BatchedClient, Lanes};
use super::builder::KafkaClientBuilder;
#[cfg(feature = "rdkafka")]
use super::lane_topics::LaneTopics;
use crate::KafkaSinkConfig;

/// Topic in the telemetry of transactions that several topics may share, as OpenTelemetry's `_other`.
const SEVERAL: &str = "_other";

/// What a client is made over.
pub(super) struct Connected {
    pub(super) transport: ClientTransport,
    pub(super) control: Arc<dyn Control>,
    pub(super) claims: Arc<[Claim]>,
    pub(super) batched: Option<BatchedClient>,
}

impl KafkaClientBuilder {
    pub(super) async fn connected(&mut self) -> Result<Connected> {
        match self.lanes.take() {
            Some(_) if self.given.is_some() => Err(batched::two_transports()),
            Some((options, lanes)) => self.with_lanes(options, lanes).await,
            None => self.one_producer().await,
        }
    }

    /// Telemetry of the transactions of all sinks.
    pub(super) fn of_transactions(&self) -> SinkTelemetry {
        self.telemetry.of_topic(if self.config.topic.is_empty() { SEVERAL } else { &self.config.topic })
    }

    /// The producer of all sinks. With transactions, initialises its id.
    async fn one_producer(&mut self) -> Result<Connected> {
        let (transport, control) = match self.given.take() {
            Some(given) => given,
            None => self.connect().await?,
        };
        let (config, mut claim) = (&self.config, None);
        if config.enable_transactions {
            let transactions = transactions(&*control)?;
            claim = Claim::of(&*transactions, config.transactional_id.as_deref().unwrap_or_default())?;
            transactions.init(config.send_timeout()).await?;
        }
        Ok(Connected { transport, control, claims: claim.into_iter().collect(), batched: None })
    }

    /// The producers of the lanes, with the batching layer over them.
    async fn with_lanes(&mut self, options: TransactionBatchOptions, lanes: Lanes) -> Result<Connected> {
        options.check(&self.config)?;
        let connect = match lanes {
            Lanes::Over(connect) => connect,
            Lanes::Connect => return self.connect_lanes(options).await,
        };
        let (transport, control, claims) =
            batched::connect(&self.config, options, &self.of_transactions(), connect).await?;
        let batched = BatchedClient {
            options,
            #[cfg(feature = "rdkafka")]
            topics: None,
        };
        Ok(Connected { transport, control, claims, batched: Some(batched) })
    }

    #[cfg(feature = "rdkafka")]
    async fn connect(&mut self) -> Result<(ClientTransport, Arc<dyn Control>)> {
        self.prepare();
        let transport = rdkafka::connect(&self.config, self.check, &self.telemetry).await?;
        let (transport, control) = transport.into_transport();
        Ok((ClientTransport::of(transport), control))
    }

    #[cfg(feature = "rdkafka")]
    async fn connect_lanes(&mut self, options: TransactionBatchOptions) -> Result<Connected> {
        self.prepare();
        let topics = LaneTopics::default();
        let (config, check, telemetry) = (self.config.clone(), self.check, self.telemetry.clone());
        let newcomers = Arc::new(topics.newcomers());
        let connect = connect_lane(move |id: String| {
            let config = KafkaSinkConfig { transactional_id: Some(id.clone()), ..config.clone() };
            let (telemetry, newcomers) = (telemetry.clone(), Arc::clone(&newcomers));
            async move {
                let transport = rdkafka::connect(&config, check, &telemetry).await?;
                newcomers.connected(id, &transport).await?;
                let (transport, control) = transport.into_transport();
                Ok((ClientTransport::of(transport), control))
            }
        });
        let (transport, control, claims) =
            batched::connect(&self.config, options, &self.of_transactions(), connect).await?;
        let base = self.config.transactional_id.as_deref().unwrap_or_default();
        topics.keep_only(&(0..options.lanes).map(|lane| lane_id(base, lane)).collect::<Vec<_>>());
        let batched = BatchedClient { options, topics: Some(topics) };
        Ok(Connected { transport, control, claims, batched: Some(batched) })
    }

    /// Before it connects through librdkafka.
    #[cfg(feature = "rdkafka")]
    fn prepare(&mut self) {
        self.telemetry = std::mem::take(&mut self.telemetry).for_client(&self.config.client_id, &self.config.brokers);
        rdkafka::warn(&with_topic(&self.config));
    }

    #[cfg(not(feature = "rdkafka"))]
    async fn connect(&mut self) -> Result<(ClientTransport, Arc<dyn Control>)> {
        Err(no_transport())
    }

    #[cfg(not(feature = "rdkafka"))]
    async fn connect_lanes(&mut self, _: TransactionBatchOptions) -> Result<Connected> {
        Err(no_transport())
    }
}

/// The configuration with a topic, which a client needs none of.
pub(super) fn with_topic(config: &KafkaSinkConfig) -> KafkaSinkConfig {
    let topic = if config.topic.is_empty() { "any".to_owned() } else { config.topic.clone() };
    KafkaSinkConfig { topic, ..config.clone() }
}

#[cfg_attr(feature = "rdkafka", allow(dead_code))]
fn no_transport() -> Error {
    Error::new(ErrorKind::Config, "a client without a transport: the cargo feature `rdkafka` is off")
        .with_help("enable the feature, or give the builder a `transport`")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_text_matches_its_error() {
        kafka_tower_test_texts::assert_consistent(&super::no_transport());
    }
}
