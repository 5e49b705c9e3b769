use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::ticket::Ticket;
use crate::validate::KnownTopic;
use crate::{Headers, IntoKey, Result, Tenant, Timestamp, validate};

/// An encoded message: layers pass it on and a transport sends it.
///
/// Its parts are reference-counted, so a layer that keeps a copy for a retry increments a few counts.
///
/// ```
/// use kafka_tower_core::Record;
///
/// let record = Record::new("orders").with_key("42").with_value(r#"{"id":42}"#);
/// assert_eq!(record.size(), 11);
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The topic.
    pub topic: Arc<str>,
    /// The key; `None` is Kafka's null.
    pub key: Option<Bytes>,
    /// The value; `None` is Kafka's null, a tombstone on a compacted topic.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
    /// The partition, if one was chosen. Otherwise the transport takes the key's partition (murmur2, as the Java
    /// client) or, without a key, chooses one.
    pub partition: Option<i32>,
    /// Timestamp of the record. Default: the time of the send.
    pub timestamp: Option<Timestamp>,
    /// Deadline of the send. After it, a transport does not hand the record over, and it resolves the future of a
    /// record that it has already handed over.
    pub expires_at: Option<Instant>,
    /// In milliseconds; 0 if it is not known.
    pub(crate) given_ms: u32,
    /// Fits into the record's padding.
    pub(crate) tenant: Tenant,
    /// As the tenant, in the padding.
    pub(crate) profile: u8,
    /// Asks the transport to send the record isolated (alone in its batch), because a broker refused its batch and
    /// did not say which record was the cause.
    pub isolated: bool,
}

impl Record {
    /// Creates a record without key, value and headers.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>) -> Self {
        Self {
            topic: topic.into(),
            key: None,
            value: None,
            headers: Headers::new(),
            partition: None,
            timestamp: None,
            expires_at: None,
            given_ms: 0,
            tenant: Tenant::default(),
            profile: 0,
            isolated: false,
        }
    }

    /// Sets the key.
    #[must_use]
    pub fn with_key(mut self, key: impl IntoKey) -> Self {
        self.key = Some(key.into_key());
        self
    }

    /// Sets the value.
    #[must_use]
    pub fn with_value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Sets the headers.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// Sets the partition.
    #[must_use]
    pub fn with_partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the timestamp.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: impl Into<Timestamp>) -> Self {
        self.timestamp = Some(timestamp.into());
        self
    }

    /// Sets the deadline of the send.
    #[must_use]
    pub fn with_expires_at(mut self, at: impl Into<Instant>) -> Self {
        self.expires_at = Some(at.into());
        self
    }

    /// Time allowed for the send, counted from its call: an error text prints it as "within 30 s". It includes the time
    /// spent waiting for room and in earlier attempts. `None` if no sink set it, below 1 ms, or above 49 days (`u32` in
    /// ms).
    #[must_use]
    pub fn given(&self) -> Option<Duration> {
        (self.given_ms > 0).then(|| Duration::from_millis(self.given_ms.into()))
    }

    /// Sets [`given`](Self::given).
    ///
    /// ```
    /// use std::time::Duration;
    /// use kafka_tower_core::Record;
    ///
    /// assert_eq!(Record::new("orders").with_given(Duration::from_secs(30)).given(), Some(Duration::from_secs(30)));
    /// ```
    #[must_use]
    pub fn with_given(mut self, given: Duration) -> Self {
        self.given_ms = u32::try_from(given.as_millis()).unwrap_or(0);
        self
    }

    /// The sink that sends the record, if several share the transport.
    #[must_use]
    #[inline]
    pub fn tenant(&self) -> Tenant {
        self.tenant
    }

    /// Sets the [`tenant`](Self::tenant).
    #[must_use]
    pub fn with_tenant(mut self, tenant: Tenant) -> Self {
        self.tenant = tenant;
        self
    }

    /// Number of the options with which a sink sends the record, if they are not those of the sink's stack: then not 0.
    #[doc(hidden)] // only layers that a sink has made read it
    #[must_use]
    #[inline]
    pub fn profile(&self) -> u8 {
        self.profile
    }

    /// Bytes of key, value and headers: the size that a [`Gate`](crate::gate::Gate) counts.
    #[must_use]
    #[inline]
    pub fn size(&self) -> usize {
        let len = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        len(&self.key) + len(&self.value) + self.headers.size()
    }

    /// Takes the ticket of the record's transaction, if there is one. For a transport, in `call`.
    #[inline]
    pub fn take_ticket(&mut self) -> Option<Ticket> {
        self.headers.take_ticket()
    }

    /// Checks everything that can be checked before the record is sent.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRecord`](crate::ErrorKind::InvalidRecord), see [`validate`].
    pub fn validate(&self) -> Result<()> {
        validate::topic_name(&self.topic)?;
        self.validate_place()
    }

    /// As [`validate`](Self::validate). A handle of a transport has a `known` topic, so that it checks most names once.
    #[doc(hidden)] // only a transport calls it
    #[inline]
    pub fn validate_with(&self, known: &mut KnownTopic) -> Result<()> {
        known.check(&self.topic)?;
        self.validate_place()
    }

    #[inline]
    fn validate_place(&self) -> Result<()> {
        if let Some(partition) = self.partition {
            validate::partition(partition)?;
        }
        if let Some(timestamp) = self.timestamp {
            validate::timestamp(timestamp)?;
        }
        Ok(())
    }
}

/// Prints sizes, not contents: keys and values may be secret.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("topic", &self.topic)
            .field("key_bytes", &self.key.as_ref().map(Bytes::len))
            .field("value_bytes", &self.value.as_ref().map(Bytes::len))
            .field("headers", &self.headers)
            .field("partition", &self.partition)
            .field("timestamp", &self.timestamp)
            .field("isolated", &self.isolated)
            .finish_non_exhaustive()
    }
}
