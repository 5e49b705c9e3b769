//! The names of spans, attributes, events and metrics.
//!
//! Messaging names are those of OpenTelemetry's semantic conventions, in the version that
//! [`Semconv::schema_url`] names; all of them have the status "development" there. What the conventions have no name for
//! is in the namespace `kafka_tower.`. The constants are our own, so that an update of a crate renames nothing; a test
//! compares them with the crate `opentelemetry-semantic-conventions` and knows each difference.

use std::env;

use opentelemetry::Key;

/// Name and version of what makes the telemetry: the instrumentation scope.
pub const SCOPE_NAME: &str = "kafka-tower";
/// The variable by which OpenTelemetry lets users choose among versions of its conventions.
pub const STABILITY_OPT_IN: &str = "OTEL_SEMCONV_STABILITY_OPT_IN";
/// The schema that [`Semconv::V1_44`] keeps to.
pub const SCHEMA_URL_1_44: &str = "https://opentelemetry.io/schemas/1.44.0";
/// The schema that [`Semconv::V1_45`] keeps to.
pub const SCHEMA_URL_1_45: &str = "https://opentelemetry.io/schemas/1.45.0";

/// Which version's names are written. They differ in [five attributes](RENAMED).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Semconv {
    /// `messaging.system`, `messaging.kafka.offset`: what tools know today. The default.
    #[default]
    V1_44,
    /// `messaging.system.name`, `kafka.offset`.
    V1_45,
    /// Both, while dashboards are being moved.
    Both,
}

impl Semconv {
    /// What `OTEL_SEMCONV_STABILITY_OPT_IN` asks for: `messaging` the newest names, `messaging/dup` both (it goes before
    /// `messaging`), and without either of them in the list the names that were there before.
    #[must_use]
    pub fn from_env() -> Self {
        env::var(STABILITY_OPT_IN).map(|list| Self::parse(&list)).unwrap_or_default()
    }

    /// What a value of `OTEL_SEMCONV_STABILITY_OPT_IN` asks for.
    ///
    /// ```
    /// use kafka_tower_layers::telemetry::semconv::Semconv;
    ///
    /// assert_eq!(Semconv::parse("http, messaging"), Semconv::V1_45);
    /// assert_eq!(Semconv::parse("messaging,messaging/dup"), Semconv::Both);
    /// assert_eq!(Semconv::parse("http"), Semconv::V1_44);
    /// ```
    #[must_use]
    pub fn parse(list: &str) -> Self {
        let asks = |what: &str| list.split(',').any(|asked| asked.trim().eq_ignore_ascii_case(what));
        if asks("messaging/dup") {
            Self::Both
        } else if asks("messaging") {
            Self::V1_45
        } else {
            Self::V1_44
        }
    }

    /// The schema of the tracer and the meter: of both versions, the newer.
    #[must_use]
    pub const fn schema_url(self) -> &'static str {
        match self {
            Self::V1_44 => SCHEMA_URL_1_44,
            Self::V1_45 | Self::Both => SCHEMA_URL_1_45,
        }
    }

    /// The names that an attribute is written under.
    pub(super) fn names(self, attribute: Renamed) -> impl Iterator<Item = Key> {
        let (old, new) = match self {
            Self::V1_44 => (Some(attribute.v1_44), None),
            Self::V1_45 => (None, Some(attribute.v1_45)),
            Self::Both => (Some(attribute.v1_44), Some(attribute.v1_45)),
        };
        old.into_iter().chain(new).map(Key::from_static_str)
    }
}

/// An attribute with two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Renamed {
    /// Up to 1.44.
    pub v1_44: &'static str,
    /// From 1.45 on.
    pub v1_45: &'static str,
}

/// `kafka`.
pub const SYSTEM: Renamed = Renamed { v1_44: "messaging.system", v1_45: "messaging.system.name" };
/// The record's offset.
pub const KAFKA_OFFSET: Renamed = Renamed { v1_44: "messaging.kafka.offset", v1_45: "kafka.offset" };
/// The key, by explicit choice only.
pub const KAFKA_MESSAGE_KEY: Renamed = Renamed { v1_44: "messaging.kafka.message.key", v1_45: "kafka.message.key" };
/// Set to true on a message without a value, and on no other.
pub const KAFKA_MESSAGE_TOMBSTONE: Renamed =
    Renamed { v1_44: "messaging.kafka.message.tombstone", v1_45: "kafka.message.tombstone" };
/// The cluster's id, where the application tells it.
pub const KAFKA_CLUSTER_ID: Renamed = Renamed { v1_44: "messaging.kafka.cluster.id", v1_45: "kafka.cluster.id" };

/// What 1.45 has renamed of what is written here.
pub const RENAMED: [Renamed; 5] = [SYSTEM, KAFKA_OFFSET, KAFKA_MESSAGE_KEY, KAFKA_MESSAGE_TOMBSTONE, KAFKA_CLUSTER_ID];

/// The value of [`SYSTEM`].
pub const SYSTEM_KAFKA: &str = "kafka";
/// `send` or `create`: the first word of a span's name.
pub const OPERATION_NAME: &str = "messaging.operation.name";
/// The same in the words of the conventions.
pub const OPERATION_TYPE: &str = "messaging.operation.type";
/// The operation of a send: one message, or one batch.
pub const SEND: &str = "send";
/// The operation that makes one message of a batch.
pub const CREATE: &str = "create";
/// The topic.
pub const DESTINATION_NAME: &str = "messaging.destination.name";
/// The partition: a string.
pub const DESTINATION_PARTITION_ID: &str = "messaging.destination.partition.id";
/// `client.id`.
pub const CLIENT_ID: &str = "messaging.client.id";
/// How many messages a batch has; never on a single message.
pub const BATCH_MESSAGE_COUNT: &str = "messaging.batch.message_count";
/// Why it failed: Kafka's name of the code, or [`ErrorKind::as_str`](kafka_tower_core::ErrorKind::as_str), or
/// [`ABANDONED`].
pub const ERROR_TYPE: &str = "error.type";
/// The host of the only broker that the client was given.
pub const SERVER_ADDRESS: &str = "server.address";
/// Its port.
pub const SERVER_PORT: &str = "server.port";

/// The `error.type` of a send whose future was dropped before its answer.
pub const ABANDONED: &str = "abandoned";
/// The topic in metrics of all topics beyond those that fit.
pub const OTHER_TOPIC: &str = "_other";

/// Whether the record may be in the log, on each send that failed: `not_persisted`, `possibly_persisted`, `persisted`.
pub const PERSISTENCE: &str = "kafka_tower.persistence";
/// How often the record was tried, if that was more than once.
pub const ATTEMPTS: &str = "kafka_tower.attempts";
/// Which message of its batch an event is about: 0 is the first.
pub const BATCH_INDEX: &str = "kafka_tower.batch.index";
/// How many messages of the batch failed.
pub const BATCH_FAILED: &str = "kafka_tower.batch.failed";

/// Event of a send: the record is about to be sent again.
pub const EVENT_RETRY: &str = "kafka_tower.retry";
/// How many attempts were made so far.
pub const RETRY_ATTEMPT: &str = "kafka_tower.retry.attempt";
/// The back-off before the next attempt, in seconds.
pub const RETRY_DELAY: &str = "kafka_tower.retry.delay";
/// Whether it is sent alone because its whole batch was refused.
pub const RETRY_ALONE: &str = "kafka_tower.retry.alone";

/// Event of a send: the circuit breaker did not let it through.
pub const EVENT_REJECTION: &str = "kafka_tower.circuit_breaker.rejection";
/// Event of the send whose result moved the breaker.
pub const EVENT_TRANSITION: &str = "kafka_tower.circuit_breaker.transition";
/// What the breaker was before: `closed`, `half_open`, `open`, `forced_open`, `forced_closed`.
pub const BREAKER_FROM: &str = "kafka_tower.circuit_breaker.from";
/// What the breaker is now.
pub const BREAKER_STATE: &str = "kafka_tower.circuit_breaker.state";

/// The span from begin to the end of a transaction.
pub const SPAN_TRANSACTION: &str = "transaction";
/// Event of a transaction: it is open.
pub const EVENT_TRANSACTION_BEGIN: &str = "kafka_tower.transaction.begin";
/// Event of a transaction: its commit begins.
pub const EVENT_TRANSACTION_COMMIT: &str = "kafka_tower.transaction.commit";
/// Event of a transaction: its abort begins.
pub const EVENT_TRANSACTION_ABORT: &str = "kafka_tower.transaction.abort";
/// `committed`, `aborted` or `unknown`.
pub const TRANSACTION_OUTCOME: &str = "kafka_tower.transaction.outcome";
/// How many messages were sent in it, those of batches one by one.
pub const TRANSACTION_MESSAGES: &str = "kafka_tower.transaction.messages";

/// The metrics.
pub mod metric {
    /// Histogram, s: how long a send took, from its call to its answer. What the span shows.
    pub const OPERATION_DURATION: &str = "messaging.client.operation.duration";
    /// Counter, `{message}`: messages that were handed to the client. Not those that were refused before.
    pub const SENT_MESSAGES: &str = "messaging.client.sent.messages";
    /// Counter, `{retry}`: attempts after the first.
    pub const RETRIES: &str = "kafka_tower.client.retries";
    /// Histogram, s: how long a send that found no room waited for it before it was called.
    pub const QUEUE_DURATION: &str = "kafka_tower.client.queue.duration";
    /// Up-down counter, `{record}`: records that are admitted and not settled.
    pub const IN_FLIGHT_RECORDS: &str = "kafka_tower.client.in_flight.records";
    /// Up-down counter, `By`: their bytes.
    pub const IN_FLIGHT_BYTES: &str = "kafka_tower.client.in_flight.bytes";
    /// Up-down counter, `{record}`: records that were called and wait for room.
    pub const PARKED_RECORDS: &str = "kafka_tower.client.parked.records";
    /// Histogram, `{message}`: messages of a `send_batch` or `send_stream`.
    pub const BATCH_MESSAGES: &str = "kafka_tower.client.batch.messages";
    /// Gauge: 0 closed, 1 half-open, 2 open.
    pub const BREAKER_STATE: &str = "kafka_tower.circuit_breaker.state";
    /// Counter, `{transition}`, by the state that the breaker came to.
    pub const BREAKER_TRANSITIONS: &str = "kafka_tower.circuit_breaker.transitions";
    /// Counter, `{message}`: sends that the breaker did not let through.
    pub const BREAKER_REJECTIONS: &str = "kafka_tower.circuit_breaker.rejections";
    /// Counter, `{transaction}`, by outcome.
    pub const TRANSACTIONS: &str = "kafka_tower.transactions";
    /// Histogram, s: from begin to the end, by outcome.
    pub const TRANSACTION_DURATION: &str = "kafka_tower.transaction.duration";

    /// The buckets of [`OPERATION_DURATION`] that the conventions ask for, in s; ours of durations are the same.
    pub const DURATION_BUCKETS: [f64; 14] =
        [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
    /// The buckets of [`BATCH_MESSAGES`].
    pub const MESSAGE_BUCKETS: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 10_000.0];
}
