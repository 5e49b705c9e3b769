//! A client whose sinks share transactions: how its lanes are made.

use std::fmt;
use std::sync::Arc;

use kafka_tower_core::{Control, Error, ErrorKind, IntoTransport, Result, Transport};

use super::super::telemetry::SinkTelemetry;
use super::super::transaction::Claim;
use super::super::transaction_batch::{ConnectLane, TransactionBatchOptions, connect_lane, connect_lanes};
use super::ClientTransport;
#[cfg(feature = "rdkafka")]
use super::lane_topics::LaneTopics;
use crate::KafkaSinkConfig;

/// What a client with shared transactions needs of them once it is made.
pub(super) struct BatchedClient {
    pub(super) options: TransactionBatchOptions,
    /// Over librdkafka: the topics that each lane has to know.
    #[cfg(feature = "rdkafka")]
    pub(super) topics: Option<LaneTopics>,
}

/// What makes the lanes of a client.
pub(super) enum Lanes {
    /// librdkafka's transports.
    #[cfg_attr(not(feature = "rdkafka"), allow(dead_code))]
    Connect,
    /// The application's.
    Over(ConnectLane<ClientTransport>),
}

impl Lanes {
    /// Lanes over the transports that a function makes.
    pub(super) fn over<X, M>(transport: M) -> Self
    where
        X: IntoTransport,
        X::Transport: Transport + Sync,
        M: Fn(&str) -> X + Send + Sync + 'static,
    {
        Self::Over(connect_lane(move |id| {
            let (transport, control) = transport(&id).into_transport();
            std::future::ready(Ok((ClientTransport::of(transport), control)))
        }))
    }
}

/// Makes the lanes, acquires their transactional ids, and puts the batching layer over them.
pub(super) async fn connect(
    config: &KafkaSinkConfig,
    options: TransactionBatchOptions,
    telemetry: &SinkTelemetry,
    lanes: ConnectLane<ClientTransport>,
) -> Result<(ClientTransport, Arc<dyn Control>, Arc<[Claim]>)> {
    let (batch, control, claims) = connect_lanes(config, options, telemetry, lanes).await?;
    Ok((ClientTransport::of(batch), control, claims))
}

/// Error of a client that was given a transport, and lanes in its place.
pub(super) fn two_transports() -> Error {
    Error::new(
        ErrorKind::Config,
        "`transport` and `transaction_batch` exclude each other: each lane has its own transport",
    )
    .with_help("leave `transport` out, or use `transaction_batch_over`, which makes the transport of each lane")
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "Connect",
            Self::Over(_) => "Over",
        })
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_text_matches_its_error() {
        kafka_tower_test_texts::assert_consistent(&super::two_transports());
    }
}
