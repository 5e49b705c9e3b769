use std::fmt;
use std::sync::Arc;

use crate::{Persistence, Timestamp};

/// Where a record is: the answer of a send that went well.
///
/// It says no more than is known: an offset is missing when the broker did not name one (`acks=0`, or a
/// batch that the broker had already), and [`persistence`](Self::persistence) is
/// [`Persisted`](Persistence::Persisted) only when a broker said so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset in the partition, if the broker named it.
    pub offset: Option<i64>,
    /// The time stamp that the log keeps for the record, if it is known.
    pub timestamp: Option<Timestamp>,
    /// `Persisted` after the broker's acknowledgement; `PossiblyPersisted` with `acks=0`, where success
    /// means that the record was written to a socket.
    pub persistence: Persistence,
}

impl Delivery {
    /// An acknowledged delivery without an offset.
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

    /// Sets the time stamp.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: impl Into<Timestamp>) -> Self {
        self.timestamp = Some(timestamp.into());
        self
    }

    /// Sets what is known of the record's fate.
    #[must_use]
    pub fn with_persistence(mut self, persistence: Persistence) -> Self {
        self.persistence = persistence;
        self
    }
}

/// `topic[partition]@offset`, with `?` for an offset that is not known.
impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@", self.topic, self.partition)?;
        match self.offset {
            Some(offset) => write!(f, "{offset}"),
            None => f.write_str("?"),
        }
    }
}
