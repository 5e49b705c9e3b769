//! Subjects of the laws.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Control, Transport};

/// A boxed future: speed does not matter in tests.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A kind of transport and the Kafka behind it.
pub trait Subject: Send + Sync {
    /// The transport under test.
    type Transport: Transport;

    /// Opens a transport with these limits, on a new topic with `partitions` partitions.
    fn open(&self, limits: Limits, partitions: u32) -> Boxed<'_, Open<Self::Transport>>;

    /// Two transports on a fresh topic: one with transactions, whose transactional id was taken, and one without. `None`: there are no
    /// transactions, or no reader that tells committed records.
    fn open_transactional(&self) -> Boxed<'_, Option<[Open<Self::Transport>; 2]>> {
        Box::pin(async { None })
    }

    /// Maximum time for operations that must not hang.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// A transport on a topic of its own.
pub struct Open<T> {
    /// The transport.
    pub transport: T,
    /// Its control.
    pub control: Arc<dyn Control>,
    /// The topic.
    pub topic: Arc<str>,
    /// Reads the topic, and controls its broker.
    pub kafka: Box<dyn Kafka>,
}

/// The Kafka behind a transport.
pub trait Kafka: Send + Sync {
    /// Reads all records of the topic by partition and offset, independently of the transport.
    fn read(&self) -> Boxed<'_, Vec<Written>>;

    /// Reads the records that a `read_committed` reader sees now.
    fn committed(&self) -> Boxed<'_, Vec<Written>> {
        self.read()
    }

    /// From now on no record is answered, nor any that was sent before and is not settled. `false`: that cannot be had here,
    /// as on a cluster that somebody else runs.
    fn silence(&self) -> Boxed<'_, bool>;

    /// Answers again.
    fn answer(&self) -> Boxed<'_, ()>;
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Milliseconds since 1970, where the reader has them.
    pub timestamp: Option<i64>,
}

impl Written {
    /// Parses the value as a number.
    ///
    /// # Panics
    ///
    /// If it is not a number.
    #[must_use]
    pub fn number(&self) -> usize {
        let value = self.value.as_deref().expect("a value");
        std::str::from_utf8(value)
            .ok()
            .and_then(|v| v.split(' ').next())
            .and_then(|v| v.parse().ok())
            .expect("a number")
    }
}

impl<T> fmt::Debug for Open<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("topic", &self.topic).finish_non_exhaustive()
    }
}
