use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::ticket::Ticket;
use crate::{Headers, IntoKey, KafkaMessage, Record, Tenant, Timestamp};

/// A typed message to send: a value, or a tombstone, with key, headers and options.
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

/// Everything of a [`SinkMessage`] except its value: the part that a serializer does not change.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// The key; `None` is null.
    pub key: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
    /// The partition, if the message names one.
    pub partition: Option<i32>,
    /// Timestamp of the message. Default: the time of the send.
    pub timestamp: Option<Timestamp>,
    /// Topic of the message. Default: the sink's topic.
    pub topic: Option<Arc<str>>,
    /// Deadline of the send. Default: the sink's send time-out applies.
    pub deadline: Option<Instant>,
    /// In milliseconds; 0 if it is not known. See [`Record::given`].
    given_ms: u32,
    tenant: Tenant,
    profile: u8,
    in_order: bool,
}

impl<T> SinkMessage<T> {
    /// Creates a message with a value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { value: Some(value), envelope: Envelope::default() }
    }

    /// Creates a message with a value and the [key of its type](KafkaMessage::message_key). The sink names the topic:
    /// [what takes precedence](KafkaMessage#what-takes-precedence).
    #[must_use]
    pub fn of(value: T) -> Self
    where
        T: KafkaMessage,
    {
        let key = value.message_key();
        Self { value: Some(value), envelope: Envelope { key, ..Envelope::default() } }
    }

    /// Creates a message without a value: on a compacted topic it deletes the key.
    ///
    /// ```
    /// use kafka_tower_core::SinkMessage;
    ///
    /// let gone: SinkMessage<String> = SinkMessage::tombstone("user-7");
    /// assert!(gone.is_tombstone());
    /// ```
    #[must_use]
    pub fn tombstone(key: impl IntoKey) -> Self {
        Self { value: None, envelope: Envelope::default() }.with_key(key)
    }

    /// Sets the key, which selects the partition: messages of one key keep their order. [`IntoKey`] tells the bytes of each
    /// type; integers are big-endian.
    #[must_use]
    pub fn with_key(mut self, key: impl IntoKey) -> Self {
        self.envelope.key = Some(key.into_key());
        self
    }

    /// Sets the key to the JSON text of a value, without spaces. Fields are in the order of the type's declaration, and a
    /// hash map's in any order: such a map is no key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Serialization`](crate::ErrorKind::Serialization) if the value has no JSON form.
    ///
    /// ```
    /// use kafka_tower_core::SinkMessage;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Account { tenant: u32, name: &'static str }
    ///
    /// let message = SinkMessage::new("paid").with_key_json(&Account { tenant: 7, name: "ada" })?;
    /// assert_eq!(message.key().unwrap(), r#"{"tenant":7,"name":"ada"}"#);
    /// # Ok::<(), kafka_tower_core::Error>(())
    /// ```
    #[cfg(feature = "json")]
    #[cfg_attr(docsrs, doc(cfg(feature = "json")))]
    pub fn with_key_json<K: serde::Serialize + ?Sized>(self, key: &K) -> crate::Result<Self> {
        let key = serde_json::to_vec(key).map_err(crate::Error::serialization)?;
        Ok(self.with_key(key))
    }

    /// Sets the key from the value. A tombstone keeps its key.
    #[must_use]
    pub fn with_key_from<K: IntoKey>(mut self, key: impl FnOnce(&T) -> K) -> Self {
        if let Some(value) = &self.value {
            self.envelope.key = Some(key(value).into_key());
        }
        self
    }

    /// Appends a header.
    #[must_use]
    pub fn with_header(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) -> Self {
        self.envelope.headers.push(key, value);
        self
    }

    /// Replaces all headers.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.envelope.headers = headers;
        self
    }

    /// Sets the partition. It takes precedence over the key and the sink's partition strategy.
    #[must_use]
    pub fn with_partition(mut self, partition: i32) -> Self {
        self.envelope.partition = Some(partition);
        self
    }

    /// Sets the timestamp.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: impl Into<Timestamp>) -> Self {
        self.envelope.timestamp = Some(timestamp.into());
        self
    }

    /// Sets the topic, which replaces the sink's topic for this message.
    #[must_use]
    pub fn with_topic(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.envelope.topic = Some(topic.into());
        self
    }

    /// Sets the deadline of the send, which replaces the sink's send time-out. Takes instants of `std` and of tokio.
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

    /// Everything except the value.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Everything except the value, mutable.
    pub fn envelope_mut(&mut self) -> &mut Envelope {
        &mut self.envelope
    }

    /// Splits the message into its value and envelope.
    #[must_use]
    pub fn into_parts(self) -> (Option<T>, Envelope) {
        (self.value, self.envelope)
    }

    /// Creates a message from a value and an envelope.
    #[must_use]
    pub fn from_parts(value: Option<T>, envelope: Envelope) -> Self {
        Self { value, envelope }
    }
}

impl SinkMessage<Bytes> {
    /// Creates a message of a record, so that a sink of bytes takes records.
    ///
    /// ```
    /// use kafka_tower_core::{Record, SinkMessage};
    ///
    /// let record = Record::new("orders").with_key("42").with_value("first");
    /// let message = SinkMessage::from_record(record);
    /// assert_eq!(message.value().unwrap(), "first");
    /// assert_eq!(message.envelope().topic.as_deref(), Some("orders"));
    /// ```
    #[must_use]
    pub fn from_record(record: Record) -> Self {
        // A sink sets the rest.
        let Record { topic, key, value, headers, partition, timestamp, expires_at: deadline, given_ms, .. } = record;
        let topic = Some(topic);
        let envelope =
            Envelope { key, headers, partition, timestamp, topic, deadline, given_ms, ..Envelope::default() };
        Self { value, envelope }
    }
}

impl Envelope {
    /// Asks the layers to call this message's record only after those of the messages called before, even if its
    /// serializer does not wait. Set by `send_batch` and `send_stream`.
    #[doc(hidden)] // only a sink calls it
    pub fn set_in_order(&mut self, in_order: bool) {
        self.in_order = in_order;
    }

    /// Whether the record must follow those of the messages called before.
    #[must_use]
    pub fn in_order(&self) -> bool {
        self.in_order
    }

    /// Attaches the message to a transaction. The ticket travels with the headers: see [`ticket`](crate::ticket).
    #[doc(hidden)] // only a sink calls it
    pub fn set_ticket(&mut self, ticket: Ticket) {
        self.headers.set_ticket(ticket);
    }

    /// Sets the time allowed for the send, counted from its call: see [`Record::given`]. The sink sets it.
    #[doc(hidden)] // only a sink calls it
    pub fn set_given(&mut self, given: Duration) {
        self.given_ms = u32::try_from(given.as_millis()).unwrap_or(0);
    }

    /// Sets the sink that sends the message, if several share the transport.
    #[doc(hidden)] // only a sink calls it
    #[inline]
    pub fn set_tenant(&mut self, tenant: Tenant) {
        self.tenant = tenant;
    }

    /// Sets the number of the options with which a sink sends the message: see [`Record::profile`].
    #[doc(hidden)] // only a sink calls it
    #[inline]
    pub fn set_profile(&mut self, profile: u8) {
        self.profile = profile;
    }

    /// Creates the record of an encoded value (`None` for a tombstone), on the message's own topic or else on
    /// `topic`.
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
            tenant: self.tenant,
            profile: self.profile,
            isolated: false,
        }
    }
}

impl<T> From<T> for SinkMessage<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// Prints sizes, not contents: keys and values may be secret.
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
