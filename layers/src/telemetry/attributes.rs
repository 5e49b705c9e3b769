//! Attributes: which, under which names, in which order. The same each time: exporters and samplers compare them.

use std::sync::Arc;

use bytes::Bytes;
use kafka_tower_core::{Delivery, Error, ErrorKind, Persistence};
use opentelemetry::trace::Status;
use opentelemetry::{KeyValue, Value};

use super::semconv::{self, Renamed, Semconv};

/// What the application told once.
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

    /// `messaging.system`, first in each set.
    pub(super) fn system(&self) -> Vec<KeyValue> {
        self.renamed(semconv::SYSTEM, semconv::SYSTEM_KAFKA).collect()
    }

    /// What is of the client and of no topic.
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

    /// What a span starts with. A batch names its topic at its end, if it has one topic.
    pub(super) fn start(&self, operation: &'static str, topic: Option<&Arc<str>>) -> Vec<KeyValue> {
        let mut start = self.system();
        start.push(KeyValue::new(semconv::OPERATION_NAME, operation));
        start.push(KeyValue::new(semconv::OPERATION_TYPE, operation));
        start.extend(topic.map(destination));
        start.extend(self.client_id());
        start.extend(self.server());
        start.extend(self.cluster_id.iter().flat_map(|id| self.renamed(semconv::KAFKA_CLUSTER_ID, Arc::clone(id))));
        start
    }

    /// What belongs to one message at its start.
    pub(super) fn message(&self, tombstone: bool, key: Option<&Bytes>, start: &mut Vec<KeyValue>) {
        if tombstone {
            start.extend(self.renamed(semconv::KAFKA_MESSAGE_TOMBSTONE, true));
        }
        // A key that is no text has no canonical form, and is left out as the conventions say.
        if let Some(key) = key.and_then(|key| std::str::from_utf8(key).ok()) {
            start.extend(self.renamed(semconv::KAFKA_MESSAGE_KEY, key.to_owned()));
        }
    }

    /// What is known of a message that was delivered.
    pub(super) fn delivered(&self, delivery: &Delivery) -> impl Iterator<Item = KeyValue> {
        let offset = delivery.offset.into_iter().flat_map(|offset| self.renamed(semconv::KAFKA_OFFSET, offset));
        let unsure = (delivery.persistence != Persistence::Persisted).then(|| persistence(delivery.persistence));
        [partition(delivery.partition)].into_iter().chain(offset).chain(unsure)
    }

    /// The sets of a topic's metrics.
    pub(super) fn metrics(&self, topic: &Arc<str>) -> MetricSets {
        let set = |operation: &[(&'static str, &'static str)], server: bool| {
            let mut set = self.system();
            set.extend(operation.iter().map(|(key, value)| KeyValue::new(*key, *value)));
            set.push(destination(topic));
            if server {
                set.extend(self.server());
            }
            set.into_boxed_slice()
        };
        let (name, kind) = ((semconv::OPERATION_NAME, semconv::SEND), (semconv::OPERATION_TYPE, semconv::SEND));
        MetricSets { duration: set(&[name, kind], true), sent: set(&[name], true), topic: set(&[], false) }
    }
}

/// The attributes of the metrics of a topic, made once.
#[derive(Debug)]
pub(super) struct MetricSets {
    pub(super) duration: Box<[KeyValue]>,
    pub(super) sent: Box<[KeyValue]>,
    /// Of our own metrics.
    pub(super) topic: Box<[KeyValue]>,
}

/// A set with more behind it.
pub(super) fn with<const N: usize>(set: &[KeyValue], more: [Option<KeyValue>; N]) -> Vec<KeyValue> {
    set.iter().cloned().chain(more.into_iter().flatten()).collect()
}

pub(super) fn destination(topic: &Arc<str>) -> KeyValue {
    KeyValue::new(semconv::DESTINATION_NAME, Arc::clone(topic))
}

pub(super) fn partition(partition: i32) -> KeyValue {
    KeyValue::new(semconv::DESTINATION_PARTITION_ID, partition.to_string())
}

pub(super) fn error_type(error: &Error) -> KeyValue {
    KeyValue::new(semconv::ERROR_TYPE, error.error_type())
}

pub(super) fn persistence(persistence: Persistence) -> KeyValue {
    let name = match persistence {
        Persistence::NotPersisted => "not_persisted",
        Persistence::PossiblyPersisted => "possibly_persisted",
        Persistence::Persisted => "persisted",
    };
    KeyValue::new(semconv::PERSISTENCE, name)
}

/// The status of what failed. Its text is one of ours, unless the application chose otherwise: an error's own may hold what
/// a serializer, a partitioner or a foreign layer wrote into it.
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

/// Whether the client was handed the record: the conventions do not count messages that never were.
pub(super) fn was_sent(error: &Error) -> bool {
    use ErrorKind::{
        CircuitOpen, Closed, Config, InvalidRecord, Overloaded, RecordTooLarge, Refused, Serialization, Timeout,
    };
    if error.persistence() != Persistence::NotPersisted {
        return true;
    }
    match error.kind() {
        Config | Serialization | InvalidRecord | Refused | CircuitOpen | Overloaded | Closed => false,
        // With a code's name it was the broker or the client that said so.
        RecordTooLarge | Timeout => error.error_type() != error.kind().as_str(),
        _ => true,
    }
}
