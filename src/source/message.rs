use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use kafka_tower_core::source::DeliveryId;
use kafka_tower_core::{Headers, RawRecord, Timestamp, TimestampType, TopicPartition};

use super::contents::Contents;
use super::telemetry::Processing;
use super::{Acked, Receipt, SourceError};

/// A message that was read. Call [`ack`](Self::ack) when it was handled.
///
/// If it is dropped before, for example because the task that handles it was cancelled or panicked, it is delivered again.
pub struct SourceMessage<T> {
    pub(super) contents: Contents<T>,
    pub(super) receipt: Receipt,
}

impl<T> SourceMessage<T> {
    /// The value; `None` is a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        self.contents.value.as_ref()
    }

    /// The key; `None` is null.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        self.contents.key.as_ref()
    }

    /// The headers, in their order. None if the source was built with [`read_headers(false)`](super::SourceBuilder::read_headers).
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.contents.headers
    }

    /// The topic and the partition.
    #[must_use]
    pub fn at(&self) -> &TopicPartition {
        self.receipt.at()
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.receipt.at().topic
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.receipt.at().partition
    }

    /// The offset.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.receipt.offset()
    }

    /// The timestamp, if the record has one.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.contents.timestamp
    }

    /// Who set the timestamp: the sender, or the broker that appended the record. The topic's `message.timestamp.type` decides.
    #[must_use]
    pub fn timestamp_type(&self) -> Option<TimestampType> {
        self.contents.timestamp_type
    }

    /// The original record, if the source was built with [`keep_raw`](super::SourceBuilder::keep_raw).
    #[must_use]
    pub fn raw(&self) -> Option<RawRecord> {
        self.contents.raw_record(self.receipt.at(), self.receipt.offset())
    }

    /// 1, and one more for each time that the message was given back since its partition was assigned. A message that only
    /// comes again because one before it was given back keeps its number.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.contents.attempt
    }

    /// The message was handled: its offset may be committed. A repeated call returns the same again.
    ///
    /// It does not wait. [`KafkaSource::commit`](super::KafkaSource::commit) waits until it is committed, if all messages
    /// before it in its partition are settled.
    pub fn ack(&self) -> Acked {
        self.receipt.ack()
    }

    /// The message was handled: waits until it is committed, which needs that the messages before it in its partition are
    /// settled, too.
    ///
    /// The message is acknowledged at the call, before the future is polled.
    ///
    /// # Errors
    ///
    /// [`SourceErrorKind::Commit`](super::SourceErrorKind::Commit) if it was not committed within `commit_timeout_ms`: it was
    /// refused, had no answer, or a message before it is not settled. It stays acknowledged.
    /// [`SourceErrorKind::Config`](super::SourceErrorKind::Config) with the strategies `Checkpoint` and `Transaction`.
    /// [`SourceErrorKind::PartitionsLost`](super::SourceErrorKind::PartitionsLost) if it is stale, or its partition was given
    /// back or lost before it was committed, as far as is known.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not cancel the commit.
    pub fn commit(&self) -> impl Future<Output = Result<(), SourceError>> + Send + use<T> {
        self.receipt.commit()
    }

    /// The message was not handled: it is delivered again after a back-off, with what follows it in its partition. `reason`
    /// is logged. After an `ack` it has no effect.
    pub fn nack(&self, reason: impl fmt::Display) {
        self.receipt.nack(reason);
    }

    /// Leaves the message to a transaction. Returns its partition, number and offset.
    pub(super) fn detach(&self) -> (TopicPartition, DeliveryId, i64) {
        (self.receipt.at().clone(), self.receipt.detach(), self.receipt.offset())
    }

    /// The context of the sender, from the headers, for a span of your own. Without a
    /// [telemetry](super::SourceBuilder::telemetry) of the source it is read with the global propagator.
    #[cfg(feature = "opentelemetry")]
    #[cfg_attr(docsrs, doc(cfg(feature = "opentelemetry")))]
    #[must_use]
    pub fn trace_context(&self) -> opentelemetry::Context {
        let headers = self.headers();
        let telemetry = self.receipt.hooks().telemetry();
        telemetry.map_or_else(|| crate::telemetry::extract(headers), |telemetry| telemetry.extract(headers))
    }

    /// Begins a `process` span for this message, as [`serve`](super::KafkaSource::serve) does by itself. `None` without a
    /// [telemetry](super::SourceBuilder::telemetry) of the source.
    ///
    /// ```
    /// # use kafka_tower::source::SourceMessage;
    /// # fn store(_: Option<&String>) {}
    /// # fn handle(message: &SourceMessage<String>) {
    /// let span = message.process_span();
    /// {
    ///     let _current = span.as_ref().map(|span| span.attach());
    ///     store(message.value());
    /// }
    /// message.ack();
    /// if let Some(span) = span {
    ///     span.finish(None);
    /// }
    /// # }
    /// ```
    #[cfg(feature = "opentelemetry")]
    #[cfg_attr(docsrs, doc(cfg(feature = "opentelemetry")))]
    #[must_use]
    pub fn process_span(&self) -> Option<crate::telemetry::source::ProcessSpan> {
        self.processing().into_span()
    }

    pub(super) fn processing(&self) -> Processing {
        self.receipt.hooks().process(&self.contents, &self.receipt)
    }

    /// Splits into the value and the receipt that settles the message. `None` is a tombstone.
    ///
    /// ```
    /// # fn store(_: String) {}
    /// # fn example(message: kafka_tower::source::SourceMessage<String>) {
    /// let (value, receipt) = message.into_parts();
    /// if let Some(value) = value {
    ///     store(value);
    /// }
    /// receipt.ack();
    /// # }
    /// ```
    pub fn into_parts(mut self) -> (Option<T>, Receipt) {
        (self.contents.take_value(), self.receipt)
    }
}

/// Prints place and sizes, not contents: keys and values may be secret.
impl<T> fmt::Debug for SourceMessage<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceMessage")
            .field("receipt", &self.receipt)
            .field("is_tombstone", &self.contents.value.is_none())
            .field("key_bytes", &self.contents.key.as_ref().map(Bytes::len))
            .field("headers", &self.contents.headers)
            .field("attempt", &self.contents.attempt)
            .finish_non_exhaustive()
    }
}
