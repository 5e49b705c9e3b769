use std::sync::Arc;

use kafka_tower_core::{Control, Transport};

/// A transport together with its [`Control`], as [`SinkBuilder::transport`](super::SinkBuilder::transport) takes it.
///
/// The transports of this project implement it. Pass any other transport, or a layered one, as a pair:
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
pub trait IntoTransport {
    /// Type of the transport.
    type Transport: Transport;

    /// Splits into the service that takes records and its control.
    fn into_transport(self) -> (Self::Transport, Arc<dyn Control>);
}

impl<S: Transport> IntoTransport for (S, Arc<dyn Control>) {
    type Transport = S;

    fn into_transport(self) -> (S, Arc<dyn Control>) {
        self
    }
}

#[cfg(feature = "memory")]
impl IntoTransport for kafka_tower_memory::MemoryTransport {
    type Transport = Self;

    fn into_transport(self) -> (Self, Arc<dyn Control>) {
        let control = self.control();
        (self, control)
    }
}

#[cfg(feature = "rdkafka")]
impl IntoTransport for kafka_tower_rdkafka::RdkafkaTransport {
    type Transport = Self;

    fn into_transport(self) -> (Self, Arc<dyn Control>) {
        let control = self.control();
        (self, control)
    }
}
