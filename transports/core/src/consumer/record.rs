//! Records that a consumer lends.

use std::fmt;

use crate::{Timestamp, TimestampType};

/// Takes the records of a batch.
pub trait BatchSink {
    /// Takes a record, whose bytes are valid until this returns.
    fn record(&mut self, record: RecordRef<'_>);
}

/// Result of [`Consumer::poll_batch`](super::Consumer::poll_batch).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Number of records that were lent.
    pub records: usize,
    /// The offset at which the transport continues, if it is known.
    pub position: Option<i64>,
}

/// A lent record.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct RecordRef<'a> {
    /// The offset.
    pub offset: i64,
    /// The timestamp.
    pub timestamp: Option<Timestamp>,
    /// Who set the timestamp, if that is known.
    pub timestamp_type: Option<TimestampType>,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in their order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl<'a> RecordRef<'a> {
    /// Lends a record without timestamp, key, value and headers. Set the fields that it has.
    #[must_use]
    pub fn new(offset: i64) -> Self {
        Self { offset, timestamp: None, timestamp_type: None, key: None, value: None, headers: &[] }
    }

    /// Sets the value.
    #[must_use]
    pub fn with_value(mut self, value: Option<&'a [u8]>) -> Self {
        self.value = value;
        self
    }

    /// Sets the key.
    #[must_use]
    pub fn with_key(mut self, key: Option<&'a [u8]>) -> Self {
        self.key = key;
        self
    }

    /// Sets the headers.
    #[must_use]
    pub fn with_headers(mut self, headers: &'a [(&'a str, Option<&'a [u8]>)]) -> Self {
        self.headers = headers;
        self
    }

    /// Sets the timestamp.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: Option<Timestamp>) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// Sets who set the timestamp.
    #[must_use]
    pub fn with_timestamp_type(mut self, timestamp_type: Option<TimestampType>) -> Self {
        self.timestamp_type = timestamp_type;
        self
    }
}

/// Prints sizes, not contents: keys and values may be secret.
impl fmt::Debug for RecordRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordRef")
            .field("offset", &self.offset)
            .field("key_bytes", &self.key.map(<[u8]>::len))
            .field("value_bytes", &self.value.map(<[u8]>::len))
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}
