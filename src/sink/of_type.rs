//! What a sink takes from the type of its messages.

use kafka_tower_core::{KafkaMessage, SinkMessage};

use super::builder::{DefaultSerializer, SinkBuilder};
use super::client::{KafkaClient, Shared};

/// Completes a message by what its type knows, if the sink was made so.
pub(super) type Complete<T> = Option<fn(&mut SinkMessage<T>)>;

fn complete<T: KafkaMessage>(message: &mut SinkMessage<T>) {
    if message.key().is_none() {
        message.envelope_mut().key = message.value().and_then(KafkaMessage::message_key);
    }
}

impl<T: KafkaMessage, F: ?Sized, S, L, R> SinkBuilder<T, F, S, L, R> {
    /// Takes from the type what messages and settings leave open: the topic, if the configuration's is empty, and the key of
    /// each message that has none. See [what takes precedence](KafkaMessage#what-takes-precedence).
    ///
    /// Layers, partitioner, telemetry and the reports of a close see the key. A message whose key is to be null although its
    /// type has one needs a sink that was made without this.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kafka_tower::Result<()> {
    /// use bytes::Bytes;
    /// use kafka_tower::memory::MemoryKafka;
    /// use kafka_tower::{IntoKey, KafkaMessage, KafkaSink, KafkaSinkConfig};
    ///
    /// #[derive(serde::Serialize)]
    /// struct Order { id: u64 }
    ///
    /// impl KafkaMessage for Order { // or derive it, with the feature `derive`
    ///     const TOPIC: &'static str = "orders";
    ///
    ///     fn message_key(&self) -> Option<Bytes> {
    ///         Some(self.id.into_key())
    ///     }
    /// }
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 1);
    /// let config = KafkaSinkConfig::default();
    /// let sink = KafkaSink::<Order>::builder(config).of_type().transport(kafka.transport()).build().await?;
    /// sink.send(Order { id: 7 }).await?;
    /// assert_eq!(kafka.records("orders")[0].record.key.as_deref(), Some(&7_u64.to_be_bytes()[..]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn of_type(mut self) -> Self {
        if self.config.topic.is_empty() {
            T::TOPIC.clone_into(&mut self.config.topic);
        }
        self.complete = Some(complete);
        self
    }
}

impl KafkaClient {
    /// Returns a builder of a sink whose topic and keys are those of its type, as [`SinkBuilder::of_type`] takes them. If the
    /// type names no topic, it is the one of the client's configuration.
    ///
    /// For another topic, with the keys of the type: `client.sink::<Order>("orders-eu").of_type()`.
    pub fn sink_of<T: KafkaMessage>(&self) -> SinkBuilder<T, DefaultSerializer, Shared> {
        let topic = if T::TOPIC.is_empty() { self.topic() } else { T::TOPIC };
        self.sink(topic).of_type()
    }
}
