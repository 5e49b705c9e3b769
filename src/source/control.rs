use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::TopicPartition;

use super::{Shared, SourceCloseReport, SourceError};

/// Closes a [`KafkaSource`](super::KafkaSource) from another task, for example when the process has to end, and says how far it
/// is behind.
///
/// ```
/// # async fn example(mut source: kafka_tower::KafkaSource<String>) {
/// let control = source.control();
/// tokio::spawn(async move {
///     // Wait for the signal.
///     let report = control.close().await;
///     println!("{report}");
/// });
/// while let Ok(order) = source.recv().await {
///     order.ack();
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct SourceControl {
    shared: Arc<Shared>,
    drain: Duration,
}

impl SourceControl {
    pub(super) fn new(shared: Arc<Shared>, drain: Duration) -> Self {
        Self { shared, drain }
    }

    /// As [`KafkaSource::lag`](super::KafkaSource::lag).
    ///
    /// # Errors
    ///
    /// As `KafkaSource::lag`.
    pub fn lag(
        &self,
    ) -> impl Future<Output = Result<BTreeMap<TopicPartition, Option<u64>>, SourceError>> + Send + use<> {
        Arc::clone(&self.shared).lag()
    }

    /// As [`KafkaSource::close`](super::KafkaSource::close).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not cancel the close.
    pub fn close(&self) -> impl Future<Output = SourceCloseReport> + Send + use<> {
        self.close_within(self.drain)
    }

    /// As [`KafkaSource::close_within`](super::KafkaSource::close_within).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not cancel the close.
    pub fn close_within(&self, within: Duration) -> impl Future<Output = SourceCloseReport> + Send + use<> {
        self.shared.close(within)
    }

    /// Closes, waits at most `drain` for the application, and reports after `bound` at the latest.
    pub(crate) fn close_by(
        &self,
        drain: Duration,
        bound: Duration,
    ) -> impl Future<Output = SourceCloseReport> + Send + use<> {
        self.shared.close_by(drain, bound)
    }
}

impl fmt::Debug for SourceControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceControl").field("consumer", self.shared.consumer()).finish_non_exhaustive()
    }
}
