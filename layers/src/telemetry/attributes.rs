//! Attributes: which ones, their names and their order. The order is fixed, because exporters and samplers compare
//! attribute sets.

use std::sync::Arc;

use bytes::Bytes;
use kafka_tower_core::{Delivery, Error, ErrorKind, Persistence};
use opentelemetry::trace::Status;
use opentelemetry::{KeyValue, Value};

use super::semconv::{self, Renamed, Semconv};

/// Attributes of the client, set once by the application.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    pub(super) semconv: Semconv,
    pub(super) client_id: Option<Arc<str>>,
    pub(super) server: Option<(Arc<str>, Option<u16>)>,
    pub(super) cluster_id: Option<Arc<str>>,
}

impl Client {
    pub(super) fn renamed(&self, attribute: Renamed, value: impl Into<Value>) -> impl Iterator<Item = KeyValue> {
        let value = value.into();
        self.semconv.names(attribute).map(move |name| KeyValue::new(name, value.clone()))
    }

    /// `messaging.system`, the first attribute of each set.
    pub(super) fn system(&self) -> Vec<KeyValue> {
        self.renamed(semconv::SYSTEM, semconv::SYSTEM_KAFKA).collect()
    }

    /// Attributes of the client, without a topic.
    pub(super) fn of_client(&self) -> Vec<KeyValue> {
        let mut set = self.system();
        set.extend(self.client_id());
        set
    }

    fn client_id(&self) -> Option<KeyValue> {
        self.client_id.as_ref().map(|id| KeyValue::new(semconv::CLIENT_ID, Arc::clone(id)))
    }

    fn server(&self) -> impl Iterator<Item = KeyValue> + '_ {
        self.server.iter().flat_map(|(address, port)| {
            let address = KeyValue::new(semconv::SERVER_ADDRESS, Arc::clone(address));
            let port = port.map(|port| KeyValue::new(semconv::SERVER_PORT, i64::from(port)));
            [Some(address), port].into_iter().flatten()
        })
    }

    /// Attributes at the start of a span of an operation whose type has the same name. A batch sets its topic at the end,
    /// if it has only one.
    pub(super) fn start(&self, operation: &'static str, topic: Option<&Arc<str>>) -> Vec<KeyValue> {
        self.start_as(operation, operation, topic)
    }

    /// Attributes at the start of a span.
    pub(super) fn start_as(
        &self,
        operation: &'static str,
        kind: &'static str,
        topic: Option<&Arc<str>>,
    ) -> Vec<KeyValue> {
        let mut start = self.system();
        start.push(KeyValue::new(semconv::OPERATION_NAME, operation));
        start.push(KeyValue::new(semconv::OPERATION_TYPE, kind));
        start.extend(topic.map(destination));
        start.extend(self.client_id());
        start.extend(self.server());
        start.extend(self.cluster_id.iter().flat_map(|id| self.renamed(semconv::KAFKA_CLUSTER_ID, Arc::clone(id))));
        start
    }

    /// Adds the attributes of one message at the start of its span.
    pub(super) fn message(&self, tombstone: bool, key: Option<&Bytes>, start: &mut Vec<KeyValue>) {
        if tombstone {
            start.extend(self.renamed(semconv::KAFKA_MESSAGE_TOMBSTONE, true));
        }
        // A key that is not text has no canonical form: the conventions say to omit it.
        if let Some(key) = key.and_then(|key| std::str::from_utf8(key).ok()) {
            start.extend(self.renamed(semconv::KAFKA_MESSAGE_KEY, key.to_owned()));
        }
    }

    /// Attributes of a delivered message.
    pub(super) fn delivered(&self, delivery: &Delivery) -> impl Iterator<Item = KeyValue> {
        let offset = delivery.offset.into_iter().flat_map(|offset| self.renamed(semconv::KAFKA_OFFSET, offset));
        let unsure = (delivery.persistence != Persistence::Persisted).then(|| persistence(delivery.persistence));
        [partition(delivery.partition)].into_iter().chain(offset).chain(unsure)
    }

    /// Attribute sets of a topic's metrics.
    pub(super) fn metrics(&self, topic: &Arc<str>) -> MetricSets {
        let set = |operation, server| self.set(operation, topic, None, server);
        let (name, kind) = ((semconv::OPERATION_NAME, semconv::SEND), (semconv::OPERATION_TYPE, semconv::SEND));
        MetricSets { duration: set(&[name, kind], true), sent: set(&[name], true), topic: set(&[], false) }
    }

    /// Attributes of a metric.
    pub(super) fn set(
        &self,
        operation: &[(&'static str, &'static str)],
        topic: &Arc<str>,
        group: Option<&Arc<str>>,
        server: bool,
    ) -> Box<[KeyValue]> {
        let mut set = self.system();
        set.extend(operation.iter().map(|(key, value)| KeyValue::new(*key, *value)));
        set.push(destination(topic));
        set.extend(group.map(self::group));
        if server {
            set.extend(self.server());
        }
        set.into_boxed_slice()
    }
}

/// Attribute sets of a topic's metrics, created once.
#[derive(Debug)]
pub(super) struct MetricSets {
    pub(super) duration: Box<[KeyValue]>,
    pub(super) sent: Box<[KeyValue]>,
    /// For metrics in our own namespace.
    pub(super) topic: Box<[KeyValue]>,
}

/// Copies a set and appends attributes.
pub(super) fn with<const N: usize>(set: &[KeyValue], more: [Option<KeyValue>; N]) -> Vec<KeyValue> {
    set.iter().cloned().chain(more.into_iter().flatten()).collect()
}

pub(super) fn destination(topic: &Arc<str>) -> KeyValue {
    KeyValue::new(semconv::DESTINATION_NAME, Arc::clone(topic))
}

pub(super) fn group(group: &Arc<str>) -> KeyValue {
    KeyValue::new(semconv::CONSUMER_GROUP_NAME, Arc::clone(group))
}

pub(super) fn partition(partition: i32) -> KeyValue {
    KeyValue::new(semconv::DESTINATION_PARTITION_ID, partition.to_string())
}

pub(super) fn error_type(error: &Error) -> KeyValue {
    KeyValue::new(semconv::ERROR_TYPE, error.error_type())
}

pub(super) fn persistence(persistence: Persistence) -> KeyValue {
    KeyValue::new(semconv::PERSISTENCE, persistence.as_str())
}

/// Span status of a failure. Its text is fixed, unless the application opted in to error texts: a serializer, a
/// partitioner or a foreign layer may write parts of the message into an error's text.
pub(super) fn status(error: &Error, text: bool) -> Status {
    if text {
        return Status::error(format!("{} ({})", error.message(), error.persistence()));
    }
    Status::error(match error.persistence() {
        Persistence::NotPersisted => "not written",
        Persistence::PossiblyPersisted => "may have been written",
        Persistence::Persisted => "written",
    })
}

/// Whether the record was handed to the client. The conventions do not count messages that were not.
pub(super) fn was_sent(error: &Error) -> bool {
    use ErrorKind::{
        CircuitOpen, Closed, Config, InvalidRecord, Overloaded, RecordTooLarge, Refused, Serialization, Timeout,
    };
    if error.persistence() != Persistence::NotPersisted {
        return true;
    }
    match error.kind() {
        Config | Serialization | InvalidRecord | Refused | CircuitOpen | Overloaded | Closed => false,
        // A Kafka error name as `error.type` means that the broker or the client reported the error.
        RecordTooLarge | Timeout => error.error_type() != error.kind().as_str(),
        _ => true,
    }
}
