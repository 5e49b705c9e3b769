//! What the author of a transport implements.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Control, Record, Transport};

use crate::Law;

/// Opens the transport under test, each time on a new topic.
///
/// An implementation may write its methods as `async fn`. It panics if it cannot open the transport.
pub trait Fixture: Send + Sync {
    /// The transport under test.
    type Transport: Transport;

    /// The broker behind it.
    type Broker: Broker;

    /// Opens a transport with these limits, on a new and empty topic with `partitions` partitions.
    fn open(
        &self,
        limits: Limits,
        partitions: u32,
    ) -> impl Future<Output = Opened<Self::Transport, Self::Broker>> + Send;

    /// Opens two transports on one new topic with one partition: one with transactions, and one without.
    ///
    /// # Errors
    ///
    /// [`NotApplicable`], if there are no transactions, or no reader that can tell committed records from others.
    /// This is the default.
    fn open_transactional(
        &self,
    ) -> impl Future<Output = Result<OpenedPair<Self::Transport, Self::Broker>, NotApplicable>> + Send {
        async { Err(NotApplicable::new("the transport has no transactions")) }
    }

    /// The laws that are known not to run for this transport. Default: none.
    ///
    /// A law that cannot run and is not listed here fails, and so does one that is listed here and runs.
    fn not_applicable(&self) -> Vec<Law> {
        Vec::new()
    }

    /// Maximum time for one operation that must not hang. Default: 60 s.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// A transport on a topic of its own.
pub struct Opened<T, B> {
    /// The transport.
    pub transport: T,
    /// Its control.
    pub control: Arc<dyn Control>,
    /// The topic.
    pub topic: Arc<str>,
    /// Reads the topic, and pauses its broker.
    pub broker: B,
}

/// Two transports on one topic.
#[derive(Debug)]
pub struct OpenedPair<T, B> {
    /// With transactions, and [initialized](kafka_tower_core::TransactionControl::init).
    pub transactional: Opened<T, B>,
    /// Without transactions.
    pub plain: Opened<T, B>,
}

/// The broker behind a transport: a real Kafka, a mock, or a part of the transport's process.
///
/// An implementation may write its methods as `async fn`. It panics if an operation fails.
pub trait Broker: Send + Sync + 'static {
    /// Reads all records of the topic, ordered by partition and offset, without the transport.
    fn read(&self) -> impl Future<Output = Vec<LogRecord>> + Send;

    /// Reads the records that a `read_committed` consumer gets now. Default: [`read`](Self::read), which is right only
    /// without transactions.
    fn read_committed(&self) -> impl Future<Output = Vec<LogRecord>> + Send {
        self.read()
    }

    /// From now on answers no record, including records that were sent before and are not settled. A record may be
    /// written nevertheless.
    ///
    /// # Errors
    ///
    /// [`NotApplicable`], if that is impossible, for example because other programs use the cluster.
    fn pause(&mut self) -> impl Future<Output = Result<(), NotApplicable>> + Send;

    /// Ends [`pause`](Self::pause): answers records again, first those that wait.
    fn resume(&mut self) -> impl Future<Output = ()> + Send;
}

/// The reason why a law cannot run for a transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotApplicable {
    reason: String,
}

impl NotApplicable {
    /// Creates it with the reason, as a clause: "the transport has no transactions".
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for NotApplicable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for NotApplicable {}

/// A record as it is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// The partition.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// The key; `None` is a null key, which is not the same as an empty one.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in their order.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// The timestamp in milliseconds since 1970; `None` if the reader does not know it, or if the broker replaces it.
    pub timestamp: Option<i64>,
}

impl LogRecord {
    /// Creates the log's copy of a record, for a broker that stores [`Record`]s.
    #[must_use]
    pub fn new(partition: i32, offset: i64, record: &Record) -> Self {
        Self {
            partition,
            offset,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.iter().map(|header| (header.key.to_string(), header.value.clone())).collect(),
            timestamp: record.timestamp.map(|timestamp| timestamp.as_millis()),
        }
    }

    /// The number at the start of the value, which the laws write there.
    pub(crate) fn number(&self) -> usize {
        number(self.value.as_deref())
    }
}

/// The number at the start of a value.
pub(crate) fn number(value: Option<&[u8]>) -> usize {
    let text = value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
    let number = text.split(' ').next().and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("a record that no law has sent is in the topic: its value is {text:?}"))
}

impl<T, B> fmt::Debug for Opened<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("topic", &self.topic).finish_non_exhaustive()
    }
}
