use std::fmt;
use std::sync::Arc;

use crate::{Persistence, Timestamp};

/// Where a record was written: the response of a successful send.
///
/// It contains only what is known. The offset is missing if the broker did not return one (`acks=0`, or a batch that
/// the broker already had). [`persistence`](Self::persistence) is [`Persisted`](Persistence::Persisted) only if a
/// broker acknowledged the record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset in the partition, if the broker returned it.
    pub offset: Option<i64>,
    /// The timestamp stored in the log, if it is known.
    pub timestamp: Option<Timestamp>,
    /// `Persisted` after the broker's acknowledgement; `PossiblyPersisted` with `acks=0`, where success only means
    /// that the record was written to a socket.
    pub persistence: Persistence,
}

impl Delivery {
    /// Creates an acknowledged delivery without an offset.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition, offset: None, timestamp: None, persistence: Persistence::Persisted }
    }

    /// Sets the offset.
    #[must_use]
    pub fn with_offset(mut self, offset: i64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Sets the timestamp.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: impl Into<Timestamp>) -> Self {
        self.timestamp = Some(timestamp.into());
        self
    }

    /// Sets the persistence.
    #[must_use]
    pub fn with_persistence(mut self, persistence: Persistence) -> Self {
        self.persistence = persistence;
        self
    }
}

/// Prints `topic[partition]@offset`, with `?` for an unknown offset.
impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@", self.topic, self.partition)?;
        match self.offset {
            Some(offset) => write!(f, "{offset}"),
            None => f.write_str("?"),
        }
    }
}
