//! The order of the layers in a sink, and why.
//!
//! | from the sink down | why there |
//! |---|---|
//! | [serialize](crate::layers::serialize) | all below speaks of records: encoded once, kept, counted and sent again |
//! | transport | its gate is the limit: exact in records and bytes, given back by delivery reports |
//!
//! This is the only place that orders them. For another order compose the layers with tower's `ServiceBuilder` and make
//! a sink of it with [`KafkaSink::from_service`](crate::KafkaSink::from_service).

use std::sync::Arc;

use kafka_tower_core::Transport;
use kafka_tower_layers::serialize::{MessageSerializer, Serialize, SerializeLayer};
use tower_layer::Layer;

use crate::KafkaSinkConfig;

/// The type of [`default`]: it changes as layers are added.
pub type DefaultStack<T, F, S> = Serialize<S, T, F>;

/// The stack of a sink without the sink: no box, no deadline but the messages' own.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kafka_tower::Result<()> {
/// use std::sync::Arc;
/// use kafka_tower::memory::MemoryKafka;
/// use kafka_tower::{JsonSerializer, KafkaSinkConfig, SinkMessage, stack};
/// use tower::{Service, ServiceExt};
///
/// let kafka = MemoryKafka::new().with_topic("numbers", 1);
/// let config = KafkaSinkConfig { topic: "numbers".into(), ..Default::default() };
/// let mut sink = stack::default::<u32, _, _>(&config, Arc::new(JsonSerializer), kafka.transport());
/// sink.ready().await?.call(SinkMessage::new(7)).await?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn default<T, F, S>(config: &KafkaSinkConfig, serializer: Arc<F>, transport: S) -> DefaultStack<T, F, S>
where
    F: MessageSerializer<T> + ?Sized,
    S: Transport,
{
    layers(config, serializer, false, transport)
}

pub(super) fn layers<T, F, S>(
    config: &KafkaSinkConfig,
    serializer: Arc<F>,
    in_order: bool,
    transport: S,
) -> DefaultStack<T, F, S>
where
    F: MessageSerializer<T> + ?Sized,
    S: Transport,
{
    SerializeLayer::new(config.topic.as_str(), serializer).in_order(in_order).layer(transport)
}
