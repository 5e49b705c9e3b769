//! Names of settings: those of a sink and those of a source.

use super::properties::property::{Client, Property};
use super::properties::table;
use super::{FIELDS, source};

/// The settings of one kind of client.
pub(super) struct Side {
    pub(super) client: Client,
    /// The type of the configuration.
    pub(super) config: &'static str,
    /// What it configures.
    pub(super) name: &'static str,
    /// Names of the fields.
    pub(super) fields: &'static [&'static str],
    /// Properties of librdkafka that a field sets under each of their names, with the field.
    pub(super) set_by_fields: &'static [(&'static str, &'static str)],
    /// Properties that the transport sets because it depends on them, and what to do about one.
    pub(super) set_by_transport: &'static [(&'static str, &'static str)],
    /// Common wrong names of variables, and the right ones.
    pub(super) hints: &'static [(&'static str, &'static str)],
}

pub(super) static SINK: Side = Side {
    client: Client::Producer,
    config: "KafkaSinkConfig",
    name: "sink",
    fields: &FIELDS,
    set_by_fields: &[
        ("acks", "acks"),
        ("batch.num.messages", "batch_size"),
        ("bootstrap.servers", "brokers"),
        ("client.id", "client_id"),
        ("compression.type", "compression_type"),
        ("enable.idempotence", "enable_idempotence"),
        ("linger.ms", "linger_ms"),
        ("max.in.flight", "max_in_flight_requests"),
        ("queue.buffering.max.kbytes", "buffer_memory"),
        ("queue.buffering.max.messages", "buffer_memory"),
        ("transactional.id", "transactional_id"),
    ],
    set_by_transport: &[
        ("builtin.features", FEATURES),
        ("delivery.report.only.error", "remove it, because no send is answered without its delivery report"),
        ("enabled_events", EVENTS),
        ("log.queue", LOG),
        ("log_level", LEVEL),
    ],
    hints: &[("TIMEOUT_MS", "SEND_TIMEOUT_MS"), ("TOPIC_NAME", "TOPIC")],
};

pub(super) static SOURCE: Side = Side {
    client: Client::Consumer,
    config: "KafkaSourceConfig",
    name: "source",
    fields: &source::FIELDS,
    set_by_fields: &[
        ("auto.offset.reset", "start"),
        ("bootstrap.servers", "brokers"),
        ("client.id", "client_id"),
        ("fetch.max.bytes", "buffer_bytes"),
        ("fetch.message.max.bytes", "partition_fetch_bytes"),
        ("fetch.min.bytes", "fetch_min_bytes"),
        ("fetch.wait.max.ms", "fetch_max_wait_ms"),
        ("group.id", "group_id"),
        ("group.instance.id", "group_instance_id"),
        ("group.protocol", "group_protocol"),
        ("heartbeat.interval.ms", "heartbeat_interval_ms"),
        ("isolation.level", "isolation"),
        ("max.poll.interval.ms", "rebalance_timeout_ms"),
        ("partition.assignment.strategy", "assignor"),
        ("queued.max.messages.kbytes", "buffer_bytes"),
        ("queued.min.messages", "buffer_records"),
        ("session.timeout.ms", "session_timeout_ms"),
    ],
    set_by_transport: &[
        ("auto.commit.enable", COMMIT),
        ("auto.commit.interval.ms", "remove it, and set the field `commit_interval_ms`"),
        ("builtin.features", FEATURES),
        ("consume.callback.max.messages", BATCHES),
        ("enable.auto.commit", COMMIT),
        ("enable.auto.offset.store", COMMIT),
        ("enable.partition.eof", "remove it, because the source reads positions"),
        ("enabled_events", EVENTS),
        ("fetch.queue.backoff.ms", BATCHES),
        ("group.protocol.type", "remove it, because a source is a consumer"),
        ("log.queue", LOG),
        ("log_level", LEVEL),
        ("offset.store.method", COMMIT),
        ("offset.store.path", COMMIT),
        ("offset.store.sync.interval.ms", COMMIT),
    ],
    hints: &[
        ("CONSUMER_GROUP", "GROUP_ID"),
        ("GROUP", "GROUP_ID"),
        ("OFFSET_RESET", "START"),
        ("TOPIC", "TOPICS"),
        ("TOPIC_NAME", "TOPICS"),
    ],
};

const BATCHES: &str = "remove it, because the source reads in batches of its own";
const COMMIT: &str = "remove it, and set the field `commit`";
const EVENTS: &str = "remove it, because the transport needs all of them";
const FEATURES: &str = "remove it, because it only lists what librdkafka was built with";
const LEVEL: &str = "remove it, and filter the target `librdkafka` of `tracing`";
const LOG: &str = "remove it, because the log goes to `tracing`";

impl Side {
    /// The properties of librdkafka that such a client has.
    pub(super) fn properties(&self) -> impl Iterator<Item = &'static Property> + use<'_> {
        table::TABLE.iter().filter(|property| property.is_of(self.client))
    }

    /// Names of the properties that only the other kind of client has.
    pub(super) fn foreign(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        let other = if self.client == Client::Producer { &SOURCE } else { &SINK };
        let own = |name: &str| self.set_by_transport.iter().any(|(known, _)| *known == name);
        let properties =
            table::TABLE.iter().filter(|property| !property.is_of(self.client)).map(|property| property.name);
        properties.chain(other.set_by_transport.iter().map(|(name, _)| *name).filter(move |name| !own(name)))
    }
}
