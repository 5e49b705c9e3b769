use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{ConsumerTransport, Record};

use super::ConsumerLaw;
use crate::NotApplicable;

/// Opens the transport under test, each time on a new topic.
///
/// An implementation may write its methods as `async fn`. It panics if it cannot open the transport.
pub trait ConsumerFixture: Send + Sync {
    /// The broker behind the transport.
    type Broker: ConsumerBroker;

    /// Opens a transport, on a new and empty topic with `partitions` partitions.
    fn open(&self, partitions: u32) -> impl Future<Output = OpenedConsumers<Self::Broker>> + Send;

    /// The laws that are known not to run for this transport. Default: none.
    ///
    /// A law that cannot run and is not listed here fails, and so does one that is listed here and runs.
    fn not_applicable(&self) -> Vec<ConsumerLaw> {
        Vec::new()
    }

    /// Maximum time for one operation that must not hang. Default: 60 s.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// A transport whose consumers can read a topic of their own.
pub struct OpenedConsumers<B> {
    /// The transport.
    pub transport: Arc<dyn ConsumerTransport>,
    /// The topic.
    pub topic: Arc<str>,
    /// Writes to the topic, and knows the groups.
    pub broker: B,
}

/// The broker behind the consumers: a real Kafka, a mock, or a part of the transport's process.
///
/// An implementation may write its methods as `async fn`. It panics if an operation fails.
pub trait ConsumerBroker: Send + Sync + 'static {
    /// Appends records, which name their partition, without a transaction.
    fn append(&self, records: Vec<Record>) -> impl Future<Output = ()> + Send;

    /// Appends records, which name their partition, in a transaction, and aborts it.
    ///
    /// # Errors
    ///
    /// [`NotApplicable`], if the broker has no transactions. This is the default.
    fn append_aborted(&self, records: Vec<Record>) -> impl Future<Output = Result<(), NotApplicable>> + Send {
        let _ = records;
        async { Err(NotApplicable::new("the broker has no transactions")) }
    }

    /// The end of a partition: the offset of its next record.
    fn end(&self, partition: i32) -> impl Future<Output = i64> + Send;

    /// The offset that a group has committed for a partition.
    fn committed(&self, group: &str, partition: i32) -> impl Future<Output = Option<i64>> + Send;

    /// Whether the broker finds records by their timestamps. Default: true.
    fn finds_timestamps(&self) -> bool {
        true
    }

    /// Deletes the records of a partition before an offset (Kafka's `DeleteRecords`).
    ///
    /// # Errors
    ///
    /// [`NotApplicable`], if that is impossible on command. This is the default.
    fn delete_before(&self, partition: i32, offset: i64) -> impl Future<Output = Result<(), NotApplicable>> + Send {
        let _ = (partition, offset);
        async { Err(NotApplicable::new("records cannot be deleted on command")) }
    }

    /// Makes a group's members give up their partitions, as a joining member does.
    ///
    /// # Errors
    ///
    /// [`NotApplicable`], if that is impossible on command. This is the default.
    fn rebalance(&self, group: &str) -> impl Future<Output = Result<(), NotApplicable>> + Send {
        let _ = group;
        async { Err(NotApplicable::new("a group cannot be rebalanced on command")) }
    }
}

impl<B> fmt::Debug for OpenedConsumers<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedConsumers").field("topic", &self.topic).finish_non_exhaustive()
    }
}
