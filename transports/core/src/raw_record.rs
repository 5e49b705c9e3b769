use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Headers, Timestamp, TimestampType};

/// A record as it was read, with its own bytes.
///
/// `Debug` and `Display` print place and sizes, not contents: keys and values may be secret.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The timestamp.
    pub timestamp: Option<Timestamp>,
    /// Who set the timestamp, if that is known.
    pub timestamp_type: Option<TimestampType>,
    /// The key; `None` is null.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in their order.
    pub headers: Headers,
}

impl RawRecord {
    /// Creates a record without timestamp, key, value and headers. Set the fields that it has.
    ///
    /// ```
    /// use kafka_tower_core::RawRecord;
    ///
    /// let mut record = RawRecord::new("orders", 0, 7);
    /// record.value = Some("secret".into());
    /// assert_eq!(record.to_string(), "orders[0] at offset 7: no key, a value of 6 bytes, 0 headers");
    /// ```
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, partition: i32, offset: i64) -> Self {
        let topic = topic.into();
        let headers = Headers::new();
        Self { topic, partition, offset, timestamp: None, timestamp_type: None, key: None, value: None, headers }
    }
}

impl fmt::Display for RawRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |name: &str, part: &Option<Bytes>| match part {
            Some(bytes) => format!("a {name} of {} bytes", bytes.len()),
            None => format!("no {name}"),
        };
        let Self { topic, partition, offset, .. } = self;
        let (key, value) = (part("key", &self.key), part("value", &self.value));
        write!(f, "{topic}[{partition}] at offset {offset}: {key}, {value}, {} headers", self.headers.len())
    }
}

impl fmt::Debug for RawRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawRecord({self})")
    }
}
