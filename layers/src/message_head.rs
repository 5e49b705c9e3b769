use std::sync::Arc;

use bytes::Bytes;
use kafka_tower_core::{Headers, Record, SinkMessage};

/// A request whose topic and headers a layer can read: a typed message or a record. Implement it for your own request
/// types.
pub trait MessageHead {
    /// The topic, if the request names one.
    fn topic(&self) -> Option<&Arc<str>>;
    /// The key.
    fn key(&self) -> Option<&Bytes>;
    /// Whether the request has no value.
    fn is_tombstone(&self) -> bool;
    /// The headers.
    fn headers(&self) -> &Headers;
    /// The headers, mutable, so that a layer can add the trace context.
    fn headers_mut(&mut self) -> &mut Headers;
}

impl<T> MessageHead for SinkMessage<T> {
    fn topic(&self) -> Option<&Arc<str>> {
        self.envelope().topic.as_ref()
    }

    fn key(&self) -> Option<&Bytes> {
        SinkMessage::key(self)
    }

    fn is_tombstone(&self) -> bool {
        SinkMessage::is_tombstone(self)
    }

    fn headers(&self) -> &Headers {
        &self.envelope().headers
    }

    fn headers_mut(&mut self) -> &mut Headers {
        &mut self.envelope_mut().headers
    }
}

impl MessageHead for Record {
    fn topic(&self) -> Option<&Arc<str>> {
        Some(&self.topic)
    }

    fn key(&self) -> Option<&Bytes> {
        self.key.as_ref()
    }

    fn is_tombstone(&self) -> bool {
        self.value.is_none()
    }

    fn headers(&self) -> &Headers {
        &self.headers
    }

    fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }
}
