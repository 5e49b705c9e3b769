use std::fmt;
use std::sync::Arc;

use futures_core::Stream;
use kafka_tower_core::{Error, ErrorKind, SinkMessage};

use super::super::batch::SendBatch;
use super::super::inner::SinkInner;
use super::super::send::SendFuture;
use super::super::shard::Shards;
use super::super::stream::SendStream;

/// Sends to a sink in a transaction that was begun with another sink of the same client:
/// [`Transaction::sink`](crate::Transaction::sink). The futures of its sends borrow nothing.
#[must_use = "it sends nothing by itself"]
pub struct TransactionSink<T>(Arc<Shards<T>>);

impl<T> TransactionSink<T> {
    pub(super) fn new(inner: SinkInner<T>) -> Self {
        Self(Shards::new(inner))
    }

    /// Sends one message in the transaction, as [`Transaction::send`](crate::Transaction::send) does.
    ///
    /// # Errors
    ///
    /// As [`Transaction::send`](crate::Transaction::send).
    ///
    /// # Cancel safety
    ///
    /// As [`Transaction::send`](crate::Transaction::send).
    pub fn send(&self, message: impl Into<SinkMessage<T>>) -> SendFuture<T> {
        SendFuture::new(self.0.shard(), message.into())
    }

    /// Sends messages in order in the transaction, as [`KafkaSink::send_batch`](crate::KafkaSink::send_batch) does.
    ///
    /// # Errors
    ///
    /// As [`KafkaSink::send_batch`](crate::KafkaSink::send_batch).
    ///
    /// # Cancel safety
    ///
    /// As [`KafkaSink::send_batch`](crate::KafkaSink::send_batch).
    pub fn send_batch<I>(&self, messages: I) -> SendBatch<T, I::IntoIter>
    where
        I: IntoIterator,
        I::Item: Into<SinkMessage<T>>,
    {
        SendBatch::new(self.0.inner(), messages.into_iter())
    }

    /// Sends a stream of messages in the transaction, as [`KafkaSink::send_stream`](crate::KafkaSink::send_stream) does.
    pub fn send_stream<S>(&self, messages: S) -> SendStream<T, S>
    where
        S: Stream,
        S::Item: Into<SinkMessage<T>>,
    {
        SendStream::new(self.0.inner(), messages)
    }
}

impl<T> fmt::Debug for TransactionSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionSink").finish_non_exhaustive()
    }
}

/// Error of a sink that does not share the producer of a transaction.
pub(super) fn foreign_sink() -> Error {
    Error::new(ErrorKind::Config, "the sink is not one of the client whose transaction this is")
        .with_help("make both sinks with `KafkaClient::sink` of one client: a transaction belongs to one producer")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_text_matches_its_error() {
        kafka_tower_test_texts::assert_consistent(&super::foreign_sink());
    }
}
