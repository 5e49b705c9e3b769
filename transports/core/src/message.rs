use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{Headers, Record, Timestamp};

/// What a user sends: a value with what belongs to it.
///
/// ```
/// use kafka_tower_core::SinkMessage;
///
/// struct Metric { service: String, count: u64 }
///
/// let metric = Metric { service: "api-gateway".into(), count: 3 };
/// let message = SinkMessage::new(metric)
///     .with_key_from(|m| m.service.clone()) // reads the key after the value has moved
///     .with_header("region".to_string(), "us-east-1".to_string());
/// assert_eq!(message.key().map(|k| k.as_ref()), Some(&b"api-gateway"[..]));
/// assert_eq!(message.value().map(|m| m.count), Some(3));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SinkMessage<T> {
    value: Option<T>,
    envelope: Envelope,
}

/// All of a [`SinkMessage`] but its value: what a serializer does not touch.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// The key; `None` is Kafka's null.
    pub key: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
    /// The partition, if the message names one.
    pub partition: Option<i32>,
    /// The message's own time; else the time of the send.
    pub timestamp: Option<Timestamp>,
    /// A topic in place of the sink's.
    pub topic: Option<Arc<str>>,
    /// When the caller's patience ends; else the sink's time-out counts.
    pub deadline: Option<Instant>,
    /// See [`Record::given`]; 0 where it is not known.
    given_ms: u32,
}

impl<T> SinkMessage<T> {
    /// A message with a value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { value: Some(value), envelope: Envelope::default() }
    }

    /// A message without a value: on a compacted topic it deletes the key.
    ///
    /// ```
    /// use kafka_tower_core::SinkMessage;
    ///
    /// let gone: SinkMessage<String> = SinkMessage::tombstone("user-7");
    /// assert!(gone.is_tombstone());
    /// ```
    #[must_use]
    pub fn tombstone(key: impl Into<Bytes>) -> Self {
        Self { value: None, envelope: Envelope::default() }.with_key(key)
    }

    /// Sets the key, which chooses the partition: messages of one key keep their order.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.envelope.key = Some(key.into());
        self
    }

    /// Sets the key from the value. A tombstone keeps the key it has.
    #[must_use]
    pub fn with_key_from<K: Into<Bytes>>(mut self, key: impl FnOnce(&T) -> K) -> Self {
        if let Some(value) = &self.value {
            self.envelope.key = Some(key(value).into());
        }
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) -> Self {
        self.envelope.headers.push(key, value);
        self
    }

    /// Sets all headers at once.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.envelope.headers = headers;
        self
    }

    /// Sets the partition. It goes before the key and before the sink's strategy.
    #[must_use]
    pub fn with_partition(mut self, partition: i32) -> Self {
        self.envelope.partition = Some(partition);
        self
    }

    /// Sets the message's own time.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: impl Into<Timestamp>) -> Self {
        self.envelope.timestamp = Some(timestamp.into());
        self
    }

    /// Sends this message to another topic than the sink's.
    #[must_use]
    pub fn with_topic(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.envelope.topic = Some(topic.into());
        self
    }

    /// Sets when the caller's patience ends, in place of the sink's time-out. Takes `std`'s instants and tokio's.
    #[must_use]
    pub fn with_deadline(mut self, deadline: impl Into<Instant>) -> Self {
        self.envelope.deadline = Some(deadline.into());
        self
    }

    /// The value; `None` for a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Whether the message has no value.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.value.is_none()
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        self.envelope.key.as_ref()
    }

    /// All but the value.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// All but the value, to change.
    pub fn envelope_mut(&mut self) -> &mut Envelope {
        &mut self.envelope
    }

    /// The value and the rest.
    #[must_use]
    pub fn into_parts(self) -> (Option<T>, Envelope) {
        (self.value, self.envelope)
    }

    /// A message of a value and the rest.
    #[must_use]
    pub fn from_parts(value: Option<T>, envelope: Envelope) -> Self {
        Self { value, envelope }
    }
}

impl Envelope {
    /// Sets the time that the caller gave for the send, counted from its call: see [`Record::given`]. A sink sets it.
    pub fn set_given(&mut self, given: Duration) {
        self.given_ms = u32::try_from(given.as_millis()).unwrap_or(0);
    }

    /// The record of an encoded value (`None` for a tombstone), on the message's own topic or the given one.
    #[must_use]
    pub fn into_record(self, topic: &Arc<str>, value: Option<Bytes>) -> Record {
        Record {
            topic: self.topic.unwrap_or_else(|| Arc::clone(topic)),
            key: self.key,
            value,
            headers: self.headers,
            partition: self.partition,
            timestamp: self.timestamp,
            expires_at: self.deadline,
            given_ms: self.given_ms,
            isolated: false,
        }
    }
}

impl<T> From<T> for SinkMessage<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// Sizes, not contents: keys and values may be secret.
impl<T> fmt::Debug for SinkMessage<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkMessage")
            .field("tombstone", &self.is_tombstone())
            .field("envelope", &self.envelope)
            .finish()
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("key_bytes", &self.key.as_ref().map(Bytes::len))
            .field("headers", &self.headers)
            .field("partition", &self.partition)
            .field("timestamp", &self.timestamp)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}
