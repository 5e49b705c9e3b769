//! Names of spans, attributes, events and metrics.
//!
//! Messaging names are those of OpenTelemetry's semantic conventions, in the version that [`Semconv::schema_url`]
//! returns; all of them have the status "development" there. Names that the conventions do not define are in the
//! namespace `kafka_tower.`. The constants are defined here, so that an update of a dependency renames nothing. A
//! test compares them with the crate `opentelemetry-semantic-conventions` and lists each difference.

use std::env;

use opentelemetry::Key;

/// Name of the instrumentation scope.
pub const SCOPE_NAME: &str = "kafka-tower";
/// Environment variable that selects the version of the OpenTelemetry conventions.
pub const STABILITY_OPT_IN: &str = "OTEL_SEMCONV_STABILITY_OPT_IN";
/// Schema URL of [`Semconv::V1_44`].
pub const SCHEMA_URL_1_44: &str = "https://opentelemetry.io/schemas/1.44.0";
/// Schema URL of [`Semconv::V1_45`].
pub const SCHEMA_URL_1_45: &str = "https://opentelemetry.io/schemas/1.45.0";

/// Version of the attribute names. Default: `V1_44`. The versions differ in [five attributes](RENAMED).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Semconv {
    /// `messaging.system`, `messaging.kafka.offset`: the names that tools know today. The default.
    #[default]
    V1_44,
    /// `messaging.system.name`, `kafka.offset`.
    V1_45,
    /// Both, while dashboards are migrated.
    Both,
}

impl Semconv {
    /// Reads `OTEL_SEMCONV_STABILITY_OPT_IN`: `messaging` selects the newest names, `messaging/dup` both versions (it
    /// takes precedence over `messaging`). If the list contains neither, the older names are used.
    #[must_use]
    pub fn from_env() -> Self {
        env::var(STABILITY_OPT_IN).map(|list| Self::parse(&list)).unwrap_or_default()
    }

    /// Parses a value of `OTEL_SEMCONV_STABILITY_OPT_IN`.
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

    /// Schema URL of tracer and meter; for both versions, the newer one.
    #[must_use]
    pub const fn schema_url(self) -> &'static str {
        match self {
            Self::V1_44 => SCHEMA_URL_1_44,
            Self::V1_45 | Self::Both => SCHEMA_URL_1_45,
        }
    }

    /// The names under which an attribute is written.
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
    /// Name up to version 1.44.
    pub v1_44: &'static str,
    /// Name from version 1.45.
    pub v1_45: &'static str,
}

/// Always `kafka`.
pub const SYSTEM: Renamed = Renamed { v1_44: "messaging.system", v1_45: "messaging.system.name" };
/// Offset of the record.
pub const KAFKA_OFFSET: Renamed = Renamed { v1_44: "messaging.kafka.offset", v1_45: "kafka.offset" };
/// Key of the message; only by opt-in.
pub const KAFKA_MESSAGE_KEY: Renamed = Renamed { v1_44: "messaging.kafka.message.key", v1_45: "kafka.message.key" };
/// True on a message without a value; absent on others.
pub const KAFKA_MESSAGE_TOMBSTONE: Renamed =
    Renamed { v1_44: "messaging.kafka.message.tombstone", v1_45: "kafka.message.tombstone" };
/// Id of the cluster, if the application sets it.
pub const KAFKA_CLUSTER_ID: Renamed = Renamed { v1_44: "messaging.kafka.cluster.id", v1_45: "kafka.cluster.id" };

/// The attributes used here that version 1.45 has renamed.
pub const RENAMED: [Renamed; 5] = [SYSTEM, KAFKA_OFFSET, KAFKA_MESSAGE_KEY, KAFKA_MESSAGE_TOMBSTONE, KAFKA_CLUSTER_ID];

/// Value of [`SYSTEM`].
pub const SYSTEM_KAFKA: &str = "kafka";
/// `send`, `create`, `poll`, `process` or `commit`: the first word of a span's name.
pub const OPERATION_NAME: &str = "messaging.operation.name";
/// Type of the operation in the terms of the conventions: `send`, `create`, `receive`, `process` or `settle`.
pub const OPERATION_TYPE: &str = "messaging.operation.type";
/// Operation that sends one message or one batch.
pub const SEND: &str = "send";
/// Operation that creates one message of a batch.
pub const CREATE: &str = "create";
/// Operation that reads a batch of messages.
pub const POLL: &str = "poll";
/// Type of [`POLL`].
pub const RECEIVE: &str = "receive";
/// Operation that handles one message.
pub const PROCESS: &str = "process";
/// Operation that commits the offsets of a group.
pub const COMMIT: &str = "commit";
/// Type of [`COMMIT`].
pub const SETTLE: &str = "settle";
/// Topic.
pub const DESTINATION_NAME: &str = "messaging.destination.name";
/// Partition, as a string.
pub const DESTINATION_PARTITION_ID: &str = "messaging.destination.partition.id";
/// Consumer group (`group.id`).
pub const CONSUMER_GROUP_NAME: &str = "messaging.consumer.group.name";
/// Client id (`client.id`).
pub const CLIENT_ID: &str = "messaging.client.id";
/// Number of messages in a batch; absent on single messages.
pub const BATCH_MESSAGE_COUNT: &str = "messaging.batch.message_count";
/// Cause of a failure: Kafka's name of the error code, or [`ErrorKind::as_str`](kafka_tower_core::ErrorKind::as_str),
/// or [`ABANDONED`].
pub const ERROR_TYPE: &str = "error.type";
/// Host of the broker, if the client was given a single one.
pub const SERVER_ADDRESS: &str = "server.address";
/// Port of the broker, if the client was given a single one.
pub const SERVER_PORT: &str = "server.port";

/// `error.type` of a send whose future was dropped before it resolved, and of a message that was dropped before it was
/// settled.
pub const ABANDONED: &str = "abandoned";
/// Topic name in the metrics of all topics beyond the limit.
pub const OTHER_TOPIC: &str = "_other";

/// Whether the record may be in the log, on each failed send: `not_persisted`, `possibly_persisted`, `persisted`.
pub const PERSISTENCE: &str = "kafka_tower.persistence";
/// Number of attempts, if there was more than one.
pub const ATTEMPTS: &str = "kafka_tower.attempts";
/// Index of the message in its batch that an event refers to, from 0.
pub const BATCH_INDEX: &str = "kafka_tower.batch.index";
/// Number of messages in the batch that failed.
pub const BATCH_FAILED: &str = "kafka_tower.batch.failed";

/// Event of a send: the record is about to be sent again.
pub const EVENT_RETRY: &str = "kafka_tower.retry";
/// Number of attempts so far.
pub const RETRY_ATTEMPT: &str = "kafka_tower.retry.attempt";
/// Back-off before the next attempt, in seconds.
pub const RETRY_DELAY: &str = "kafka_tower.retry.delay";
/// Whether the record is sent isolated (alone in its batch) because its batch was refused.
pub const RETRY_ISOLATED: &str = "kafka_tower.retry.isolated";

/// Event of a send: the circuit breaker rejected it.
pub const EVENT_REJECTION: &str = "kafka_tower.circuit_breaker.rejection";
/// Event of the send whose result caused a transition of the circuit breaker.
pub const EVENT_TRANSITION: &str = "kafka_tower.circuit_breaker.transition";
/// Previous state of the breaker: `closed`, `half_open`, `open`, `forced_open`, `forced_closed`.
pub const BREAKER_FROM: &str = "kafka_tower.circuit_breaker.from";
/// New state of the breaker.
pub const BREAKER_STATE: &str = "kafka_tower.circuit_breaker.state";

/// Name of the span that covers a transaction.
pub const SPAN_TRANSACTION: &str = "transaction";
/// Event of a transaction: it was opened.
pub const EVENT_TRANSACTION_BEGIN: &str = "kafka_tower.transaction.begin";
/// Event of a transaction: its commit starts.
pub const EVENT_TRANSACTION_COMMIT: &str = "kafka_tower.transaction.commit";
/// Event of a transaction: its abort starts.
pub const EVENT_TRANSACTION_ABORT: &str = "kafka_tower.transaction.abort";
/// Outcome of a transaction: `committed`, `aborted` or `unknown`.
pub const TRANSACTION_OUTCOME: &str = "kafka_tower.transaction.outcome";
/// Number of messages sent in the transaction; those of batches count individually.
pub const TRANSACTION_MESSAGES: &str = "kafka_tower.transaction.messages";

/// Index of the lane of a shared transaction.
pub const TRANSACTION_LANE: &str = "kafka_tower.transaction.lane";
/// Why the batch of a shared transaction was cut: `records`, `bytes`, `age`, `room`, `flush` or `close`.
pub const TRANSACTION_CUT: &str = "kafka_tower.transaction.cut";
/// Number of the attempt to commit the batch of a shared transaction, if it is not the first.
pub const TRANSACTION_ATTEMPT: &str = "kafka_tower.transaction.attempt";
/// Number of messages of a shared transaction that were refused themselves, if there are any.
pub const TRANSACTION_REFUSED: &str = "kafka_tower.transaction.refused";

/// What a rebalance did: `assigned`, `revoked` or `lost`.
pub const REBALANCE_KIND: &str = "kafka_tower.rebalance.kind";
/// How the commit of a partition's offset ended: `committed`, `retried`, `not_a_member`, `refused` or `unanswered`.
pub const COMMIT_OUTCOME: &str = "kafka_tower.commit.outcome";
/// How many times a message was delivered, if more than once.
pub const DELIVERY_ATTEMPT: &str = "kafka_tower.delivery.attempt";

/// Names and buckets of the metrics.
pub mod metric {
    /// Counter, `{message}`: messages that a source handed to the application.
    pub const CONSUMED_MESSAGES: &str = "messaging.client.consumed.messages";
    /// Histogram, s: duration of the handling of a message, as in its span.
    pub const PROCESS_DURATION: &str = "messaging.process.duration";
    /// Gauge, `{message}`: records of a partition behind the offset that may be committed, as far as the source knows the end
    /// of the log.
    pub const SOURCE_LAG: &str = "kafka_tower.source.lag";
    /// Gauge, `{message}`: messages that were handed out and are not settled.
    pub const SOURCE_UNSETTLED: &str = "kafka_tower.source.unsettled";
    /// Gauge, s: how long the offset that may be committed has not moved although messages are handed out.
    pub const SOURCE_STALLED: &str = "kafka_tower.source.stalled";
    /// Counter, `{partition}`: partitions that a rebalance gave or took, by kind.
    pub const SOURCE_REBALANCES: &str = "kafka_tower.source.rebalances";
    /// Counter, `{commit}`: commits of a partition's offset, by outcome.
    pub const SOURCE_COMMITS: &str = "kafka_tower.source.commits";
    /// Counter, `{message}`: messages that were given back, and are delivered again.
    pub const SOURCE_GIVEN_BACK: &str = "kafka_tower.source.given_back";
    /// Counter, `{message}`: records that were skipped.
    pub const SOURCE_SKIPPED: &str = "kafka_tower.source.skipped";
    /// Counter, `{message}`: messages whose dead letters were delivered.
    pub const SOURCE_DEAD_LETTERED: &str = "kafka_tower.source.dead_lettered";
    /// Counter, `{message}`: acknowledgements that came too late to count.
    pub const SOURCE_STALE: &str = "kafka_tower.source.stale";
    /// Counter, `{message}`: records that could not be decoded.
    pub const SOURCE_DECODE_ERRORS: &str = "kafka_tower.source.decode_errors";
    /// Transactions of a source's messages.
    pub const SOURCE_TRANSACTIONS: &str = "kafka_tower.source.transactions";
    /// How long such transactions take.
    pub const SOURCE_TRANSACTION_DURATION: &str = "kafka_tower.source.transaction.duration";
    /// Number of messages in such transactions.
    pub const SOURCE_TRANSACTION_MESSAGES: &str = "kafka_tower.source.transaction.messages";
    /// Histogram, s: duration of a send, from its call to its result, as in its span.
    pub const OPERATION_DURATION: &str = "messaging.client.operation.duration";
    /// Counter, `{message}`: messages that were handed to the client, not those refused before.
    pub const SENT_MESSAGES: &str = "messaging.client.sent.messages";
    /// Counter, `{retry}`: attempts after the first.
    pub const RETRIES: &str = "kafka_tower.client.retries";
    /// Histogram, s: how long a send that found no room waited before it was called.
    pub const QUEUE_DURATION: &str = "kafka_tower.client.queue.duration";
    /// Up-down counter, `{record}`: records that are admitted and not settled.
    pub const IN_FLIGHT_RECORDS: &str = "kafka_tower.client.in_flight.records";
    /// Up-down counter, `By`: bytes of the admitted records.
    pub const IN_FLIGHT_BYTES: &str = "kafka_tower.client.in_flight.bytes";
    /// Up-down counter, `{record}`: records that were called and are parked, waiting for room.
    pub const PARKED_RECORDS: &str = "kafka_tower.client.parked.records";
    /// Counter, `{client}`: clients that were replaced behind their handles.
    pub const REPLACEMENTS: &str = "kafka_tower.client.replacements";
    /// Histogram, `{message}`: number of messages in a batch.
    pub const BATCH_MESSAGES: &str = "kafka_tower.client.batch.messages";
    /// Gauge: 0 closed, 1 half-open, 2 open.
    pub const BREAKER_STATE: &str = "kafka_tower.circuit_breaker.state";
    /// Counter, `{transition}`, by the new state.
    pub const BREAKER_TRANSITIONS: &str = "kafka_tower.circuit_breaker.transitions";
    /// Counter, `{message}`: sends that the breaker rejected.
    pub const BREAKER_REJECTIONS: &str = "kafka_tower.circuit_breaker.rejections";
    /// Counter, `{transaction}`, by outcome.
    pub const TRANSACTIONS: &str = "kafka_tower.transactions";
    /// Histogram, s: duration of a transaction, from begin to end, by outcome.
    pub const TRANSACTION_DURATION: &str = "kafka_tower.transaction.duration";
    /// Histogram, `{message}`: number of messages in the batch of a shared transaction when it was cut.
    pub const TRANSACTION_MESSAGES: &str = "kafka_tower.transaction.messages";
    /// Histogram, `By`: bytes of the batch of a shared transaction when it was cut.
    pub const TRANSACTION_SIZE: &str = "kafka_tower.transaction.size";
    /// Histogram, s: time that the oldest message of a shared transaction had waited when its batch was cut.
    pub const TRANSACTION_AGE: &str = "kafka_tower.transaction.age";
    /// Counter, `{transaction}`: shared transactions whose batch was sent before.
    pub const TRANSACTION_REPLAYS: &str = "kafka_tower.transaction.replays";
    /// Counter, `{message}`: messages of shared transactions that were refused themselves.
    pub const TRANSACTION_REFUSALS: &str = "kafka_tower.transaction.refusals";

    /// Buckets of [`OPERATION_DURATION`], in seconds, as the conventions specify; our other durations use them too.
    pub const DURATION_BUCKETS: [f64; 14] =
        [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
    /// Buckets of [`TRANSACTION_SIZE`], in bytes.
    pub const SIZE_BUCKETS: [f64; 8] =
        [1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];
    /// Buckets of [`BATCH_MESSAGES`].
    pub const MESSAGE_BUCKETS: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 10_000.0];
}
