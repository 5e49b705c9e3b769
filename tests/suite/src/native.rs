//! The native transport on a mock cluster or a real Kafka.

use std::sync::Arc;

use kafka_tower_core::gate::Limits;
use kafka_tower_native::NativeTransport;
use kafka_tower_testkit::Opened;

/// Connects to a topic.
///
/// # Panics
///
/// If it cannot connect, with the error's help.
pub async fn open<B>(bootstrap: &str, topic: &str, limits: Limits, broker: B) -> Opened<NativeTransport, B> {
    let builder = NativeTransport::builder().bootstrap(bootstrap).topic(topic).limits(limits);
    let transport = builder.connect().await.unwrap_or_else(|error| panic!("{error:#}"));
    let control = transport.control();
    Opened { transport, control, topic: Arc::from(topic), broker }
}
