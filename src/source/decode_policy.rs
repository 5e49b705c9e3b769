use std::fmt;

use kafka_tower_core::Error;
use kafka_tower_layers::dead_letter::FailedRecord;
use tower_service::Service;

use super::letters::LetterService;

/// What a source does with a record that cannot be decoded: [`SourceBuilder::on_decode_error`](super::SourceBuilder).
///
/// ```
/// use kafka_tower::source::DecodePolicy;
/// use kafka_tower::{KafkaSource, KafkaSourceConfig};
///
/// # let config = KafkaSourceConfig::default();
/// let builder = KafkaSource::<u32>::builder(config).on_decode_error(DecodePolicy::skip());
/// # let _ = builder;
/// ```
#[derive(Clone, Default)]
pub struct DecodePolicy(pub(super) OnDecodeError);

#[derive(Clone, Default)]
pub(super) enum OnDecodeError {
    #[default]
    Fail,
    Skip,
    DeadLetter(LetterService),
}

impl DecodePolicy {
    /// [`recv`](crate::KafkaSource::recv) returns an error with the original record, and the partition waits until the error
    /// is settled or dropped. The default.
    #[must_use]
    pub fn fail() -> Self {
        Self(OnDecodeError::Fail)
    }

    /// The record is settled as if it had been handled, and is lost. A warning names its place, and the close report counts
    /// it.
    #[must_use]
    pub fn skip() -> Self {
        Self(OnDecodeError::Skip)
    }

    /// The record is sent to a dead letter topic, and settled when its dead letter is delivered. `service` is usually a
    /// [`DeadLetter`](crate::layers::dead_letter) over a transport or a sink.
    ///
    /// Meanwhile its partition goes on. At most 64 dead letters of a source are under way; then the next record that cannot be
    /// decoded waits, with all that follow it. A rebalance and the close wait for them, up to `drain_timeout_ms`. If the record
    /// belongs to another member when its dead letter is delivered, it gets another one there.
    ///
    /// If a dead letter is not delivered, or only possibly, its record is not settled:
    /// [`recv`](crate::KafkaSource::recv) returns an error of the kind
    /// [`DeadLetter`](super::SourceErrorKind::DeadLetter), and the partition waits until the error is settled or dropped. Dropped,
    /// the record comes again after a back-off, and with it the next attempt.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use kafka_tower::layers::dead_letter::DeadLetterLayer;
    /// use kafka_tower::memory::MemoryKafka;
    /// use kafka_tower::source::DecodePolicy;
    /// use kafka_tower::{KafkaSource, KafkaSourceConfig, Record};
    /// use tower::{ServiceBuilder, ServiceExt};
    ///
    /// let kafka = MemoryKafka::new().with_topic("orders", 3).with_topic("orders.dlq", 3);
    /// # kafka.transport().oneshot(Record::new("orders").with_partition(2).with_value("not a number")).await?;
    /// let letters = ServiceBuilder::new().layer(DeadLetterLayer::default()).service(kafka.transport());
    /// let config =
    ///     KafkaSourceConfig { group_id: "billing".into(), topics: vec!["orders".into()], ..Default::default() };
    /// let mut source = KafkaSource::<u32>::builder(config)
    ///     .on_decode_error(DecodePolicy::dead_letter(letters))
    ///     .transport(kafka.clone())
    ///     .build()
    ///     .await?;
    /// # let control = source.control();
    /// # tokio::spawn(async move { tokio::time::sleep(std::time::Duration::from_secs(9)).await; let _ = control.close().await; });
    /// while let Ok(order) = source.recv().await {
    ///     order.ack();
    /// }
    /// let report = source.close().await;
    /// assert_eq!((report.dead_lettered, kafka.records("orders.dlq")[0].value().unwrap()), (1, &"not a number".into()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn dead_letter<S>(service: S) -> Self
    where
        S: Service<FailedRecord> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Error>,
    {
        Self(OnDecodeError::DeadLetter(LetterService::new(service)))
    }
}

impl fmt::Debug for DecodePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            OnDecodeError::Fail => "DecodePolicy::fail()",
            OnDecodeError::Skip => "DecodePolicy::skip()",
            OnDecodeError::DeadLetter(_) => "DecodePolicy::dead_letter(..)",
        })
    }
}
