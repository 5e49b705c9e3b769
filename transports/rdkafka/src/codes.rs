//! Kafka's and librdkafka's error codes: one table, and the only place that defines them.
//!
//! Names and numbers up to 133 are those of `org.apache.kafka.common.protocol.Errors` in Apache Kafka 4.3.1; negative
//! numbers (except -1) are those of `rdkafka.h` in librdkafka 2.12.1. The effect of each code, and whether its records
//! were in the log, was measured on Apache Kafka 4.3.1. Where librdkafka's "not persisted" can be wrong, the table says
//! `Unknown`:
//!
//! - It is librdkafka's default for each code that it does not know.
//! - A connection that ends gives its error to requests that were sent and have no answer (-169, -137, 58, …).
//! - A leader that loses its leadership answers 6, 56 or 3 after it has appended (`DelayedProduce`). A record that is
//!   retried after that keeps the status "not persisted", even if it is then given up in the queue (-152, -166, -192).

use kafka_tower_core::ErrorKind as Kind;
use kafka_tower_core::Scope;
use kafka_tower_core::Scope::{Batch, Broker, Client, Partition, Record, Topic};
use kafka_tower_core::{ErrorKind, Recovery};

pub(crate) const LOCAL_DESTROY: i32 = -197;
pub(crate) const LOCAL_UNKNOWN_PARTITION: i32 = -190;
pub(crate) const LOCAL_TIMED_OUT_QUEUE: i32 = -166;
pub(crate) const LOCAL_RETRY: i32 = -153;
pub(crate) const LOCAL_UNKNOWN_TOPIC: i32 = -188;
pub(crate) const LOCAL_ALL_BROKERS_DOWN: i32 = -187;
pub(crate) const LOCAL_INVALID_ARG: i32 = -186;
pub(crate) const LOCAL_AUTHENTICATION: i32 = -169;
pub(crate) const LOCAL_RESOLVE: i32 = -193;
pub(crate) const LOCAL_TRANSPORT: i32 = -195;
pub(crate) const LOCAL_TIMED_OUT: i32 = -185;
pub(crate) const LOCAL_UNSUPPORTED_FEATURE: i32 = -165;
pub(crate) const LOCAL_SSL: i32 = -181;
pub(crate) const LOCAL_STATE: i32 = -172;
pub(crate) const INVALID_TXN_STATE: i32 = 48;
pub(crate) const LOCAL_PURGE_QUEUE: i32 = -152;
pub(crate) const LOCAL_PURGE_INFLIGHT: i32 = -151;
pub(crate) const LOCAL_FATAL: i32 = -150;
pub(crate) const MESSAGE_TOO_LARGE: i32 = 10;
pub(crate) const UNKNOWN_TOPIC_OR_PARTITION: i32 = 3;
pub(crate) const LEADER_NOT_AVAILABLE: i32 = 5;
pub(crate) const TOPIC_AUTHORIZATION_FAILED: i32 = 29;
pub(crate) const COORDINATOR_NOT_AVAILABLE: i32 = 15;
pub(crate) const THROTTLING_QUOTA_EXCEEDED: i32 = 89;
pub(crate) const SASL_AUTHENTICATION_FAILED: i32 = 58;

/// Meaning of a code for a record.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) code: i32,
    /// Kafka's name, or librdkafka's name with its leading underscore.
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    pub(crate) scope: Scope,
    pub(crate) fate: Fate,
    text: &'static str,
}

/// Kind of a code and the recovery from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    pub(crate) kind: ErrorKind,
    pub(crate) recovery: Recovery,
    /// Replaces the default help of the kind.
    pub(crate) help: Option<&'static str>,
}

/// Where the record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// As librdkafka's status says.
    Told,
    /// Unknown, whatever the status says.
    Unknown,
    /// Written, whatever the status says.
    Persisted,
}
use Fate::{Persisted, Told, Unknown};

impl Row {
    /// Text that says in one line what happened.
    pub(crate) fn text(&self) -> String {
        if self.text.is_empty() { self.name.to_lowercase().replace('_', " ") } else { self.text.to_owned() }
    }
}

/// Returns the row of a code that Kafka 4.3.1 or librdkafka 2.12.1 defines.
pub(crate) fn row_of(code: i32) -> Option<&'static Row> {
    TABLE.binary_search_by_key(&code, |row| row.code).ok().map(|at| &TABLE[at])
}

pub(crate) fn all() -> impl Iterator<Item = &'static Row> {
    TABLE.iter()
}

const fn class(kind: ErrorKind, recovery: Recovery) -> Class {
    Class { kind, recovery, help: None }
}

const fn helped(kind: ErrorKind, recovery: Recovery, help: &'static str) -> Class {
    Class { kind, recovery, help: Some(help) }
}

const BROKER: Class = class(Kind::Broker, Recovery::Retry);
const NO_TOPIC: Class = class(Kind::UnknownTopicOrPartition, Recovery::Reject);
const REJECTED: Class = class(Kind::Rejected, Recovery::Reject);
const REJECTED_OTHER: Class = class(Kind::Rejected, Recovery::Retry);
const TOO_LARGE: Class = helped(
    Kind::RecordTooLarge,
    Recovery::Reject,
    "send the record alone to learn whether it is too large by itself; raise max.message.bytes of the topic, or lower batch.size",
);
const INVALID: Class = class(Kind::InvalidRecord, Recovery::Reject);
const CONFIG: Class = class(Kind::Config, Recovery::Reject);
const TXN_TIME: Class = helped(
    Kind::Config,
    Recovery::Reject,
    "lower transaction.timeout.ms (default 60000), or raise transaction.max.timeout.ms of the brokers",
);
const ABORT: Class = class(Kind::Transaction, Recovery::AbortTransaction);
const TXN_FATAL: Class = class(Kind::Transaction, Recovery::Fatal);
const TXN_STATE: Class = class(Kind::Transaction, Recovery::Reject);
const DENIED: Class = class(Kind::Authorization, Recovery::Reject);
const DENIED_IDEMPOTENT: Class = helped(
    Kind::Authorization,
    Recovery::Fatal,
    "grant this principal WRITE on the topic, or (before Kafka 3) IDEMPOTENT_WRITE on the cluster",
);
const DENIED_TXN: Class =
    helped(Kind::Authorization, Recovery::Fatal, "grant this principal WRITE and DESCRIBE on the transactional id");
const AUTH: Class = class(Kind::Authentication, Recovery::Fatal);
const TLS: Class = helped(
    Kind::Connection,
    Recovery::Retry,
    "check security.protocol, ssl.ca.location and the client's certificate against the broker's listener",
);
const THROTTLED: Class = class(Kind::Throttled, Recovery::Wait);
const FENCED: Class = class(Kind::Fenced, Recovery::Fatal);
const FATAL: Class = class(Kind::Fatal, Recovery::Fatal);
const CLOSED: Class = helped(
    Kind::Closed,
    Recovery::Fatal,
    "give close more time, and close before the last handle is dropped; the close report holds the record",
);
const CONNECTION: Class = class(Kind::Connection, Recovery::Retry);
const TIMEOUT: Class = class(Kind::Timeout, Recovery::Wait);
const OVERLOADED: Class = class(Kind::Overloaded, Recovery::Wait);
const UNKNOWN: Class = helped(Kind::Unknown, Recovery::Retry, LOOK_UP);
const LOOK_UP: &str =
    "look the code up in the documentation of Kafka and librdkafka: brokers do not answer producers with it";
/// Codes that never answer a produce request; Kafka calls these retriable.
const OTHER_RETRY: Class = helped(Kind::Unknown, Recovery::Retry, LOOK_UP);
/// Codes that never answer a produce request.
const OTHER: Class = helped(Kind::Unknown, Recovery::Reject, LOOK_UP);

const fn row(code: i32, name: &'static str, class: Class, scope: Scope, fate: Fate, text: &'static str) -> Row {
    Row { code, name, class, scope, fate, text }
}

/// Sorted by code.
#[rustfmt::skip]
pub(crate) static TABLE: &[Row] = &[
    row(-199, "_BAD_MSG", BROKER, Broker, Unknown, "the answer could not be read"),
    row(-198, "_BAD_COMPRESSION", REJECTED, Record, Told, "the record could not be compressed"),
    row(-197, "_DESTROY", CLOSED, Client, Told, "the producer is being closed"),
    row(-196, "_FAIL", UNKNOWN, Client, Unknown, "librdkafka failed"),
    row(-195, "_TRANSPORT", CONNECTION, Broker, Told, "the connection to the broker failed"),
    row(-194, "_CRIT_SYS_RESOURCE", FATAL, Client, Unknown, "the system ran out of a resource that librdkafka needs"),
    row(-193, "_RESOLVE", CONNECTION, Broker, Told, "the broker's name could not be resolved"),
    row(-192, "_MSG_TIMED_OUT", TIMEOUT, Record, Unknown, "librdkafka's own message.timeout.ms passed"),
    row(-190, "_UNKNOWN_PARTITION", NO_TOPIC, Partition, Told, "the topic has no such partition"),
    row(-189, "_FS", CONFIG, Client, Told, "a file could not be read"),
    row(-188, "_UNKNOWN_TOPIC", NO_TOPIC, Topic, Told, "the cluster has no such topic"),
    row(-187, "_ALL_BROKERS_DOWN", CONNECTION, Broker, Told, "no broker could be reached"),
    row(-186, "_INVALID_ARG", CONFIG, Client, Told, "librdkafka rejected an argument as invalid"),
    row(-185, "_TIMED_OUT", TIMEOUT, Broker, Told, "the broker did not answer in time"),
    row(-184, "_QUEUE_FULL", OVERLOADED, Client, Told, "librdkafka's queue is full"),
    row(-183, "_ISR_INSUFF", BROKER, Partition, Told, "too few replicas are in sync"),
    row(-181, "_SSL", TLS, Broker, Told, "TLS failed"),
    row(-180, "_WAIT_COORD", BROKER, Client, Told, "there is no coordinator yet"),
    row(-173, "_CONFLICT", TXN_STATE, Client, Told, "another call of the transaction is under way"),
    row(-172, "_STATE", TXN_STATE, Client, Told, "the producer is not in a state for this: no transaction is open, or one is ending"),
    row(-170, "_NOT_IMPLEMENTED", CONFIG, Client, Told, "librdkafka does not implement this"),
    row(-169, "_AUTHENTICATION", AUTH, Client, Unknown, "the broker did not accept the credentials"),
    row(-167, "_OUTDATED", BROKER, Client, Told, "the request is out of date"),
    row(-166, "_TIMED_OUT_QUEUE", TIMEOUT, Record, Unknown, "the record expired in librdkafka's queue"),
    row(-165, "_UNSUPPORTED_FEATURE", CONFIG, Client, Unknown, "the broker does not support it"),
    row(-163, "_INTR", UNKNOWN, Client, Told, "the call was interrupted"),
    row(-155, "_UNDERFLOW", BROKER, Broker, Unknown, "the broker's answer could not be read"),
    row(-153, "_RETRY", BROKER, Client, Told, "librdkafka asks for a retry"),
    row(-152, "_PURGE_QUEUE", CLOSED, Record, Unknown, "the transport was closed while the record was in librdkafka's queue"),
    row(-151, "_PURGE_INFLIGHT", CLOSED, Record, Unknown, "it was sent, and the transport was closed before the answer"),
    row(-150, "_FATAL", FATAL, Client, Told, "the producer cannot go on"),
    row(-149, "_INCONSISTENT", FATAL, Client, Unknown, "librdkafka and the broker disagree on what was written"),
    row(-148, "_GAPLESS_GUARANTEE", FATAL, Client, Told, "an earlier record of the partition failed and enable.gapless.guarantee is set"),
    row(-146, "_UNKNOWN_BROKER", BROKER, Broker, Told, "the broker is not known"),
    row(-145, "_NOT_CONFIGURED", CONFIG, Client, Told, "the producer was not configured for this"),
    row(-144, "_FENCED", FENCED, Client, Told, "another producer with the same transactional id took over, or the transaction timed out"),
    row(-143, "_APPLICATION", UNKNOWN, Client, Told, "the application failed"),
    row(-138, "_INVALID_DIFFERENT_RECORD", REJECTED_OTHER, Batch, Told, "another record in its batch was refused"),
    row(-137, "_DESTROY_BROKER", CONNECTION, Broker, Unknown, "the broker left the cluster"),
    row(-1, "UNKNOWN_SERVER_ERROR", BROKER, Batch, Unknown, "the broker met an unexpected error"),
    row(1, "OFFSET_OUT_OF_RANGE", OTHER, Record, Told, ""),
    row(2, "CORRUPT_MESSAGE", BROKER, Batch, Told, "the broker found the batch corrupt"),
    row(3, "UNKNOWN_TOPIC_OR_PARTITION", NO_TOPIC, Topic, Unknown, "the broker has no such topic or partition"),
    row(4, "INVALID_FETCH_SIZE", REJECTED, Batch, Told, "the broker rejected the size as invalid"),
    row(5, "LEADER_NOT_AVAILABLE", BROKER, Partition, Told, "the partition has no leader now"),
    row(6, "NOT_LEADER_OR_FOLLOWER", BROKER, Partition, Unknown, "the partition's leader has moved"),
    row(7, "REQUEST_TIMED_OUT", BROKER, Partition, Unknown, "the replicas did not acknowledge in time"),
    row(8, "BROKER_NOT_AVAILABLE", BROKER, Broker, Told, "the broker is not available"),
    row(9, "REPLICA_NOT_AVAILABLE", BROKER, Partition, Told, "a replica is not available"),
    row(10, "MESSAGE_TOO_LARGE", TOO_LARGE, Batch, Told, "the record, or the batch it was in, is larger than the topic's max.message.bytes"),
    row(11, "STALE_CONTROLLER_EPOCH", OTHER, Record, Told, ""),
    row(12, "OFFSET_METADATA_TOO_LARGE", OTHER, Record, Told, ""),
    row(13, "NETWORK_EXCEPTION", BROKER, Broker, Unknown, "the connection ended before the answer"),
    row(14, "COORDINATOR_LOAD_IN_PROGRESS", BROKER, Client, Told, "the coordinator is loading"),
    row(15, "COORDINATOR_NOT_AVAILABLE", BROKER, Client, Told, "the coordinator is not available"),
    row(16, "NOT_COORDINATOR", BROKER, Client, Told, "the coordinator has moved"),
    row(17, "INVALID_TOPIC_EXCEPTION", INVALID, Topic, Told, "the broker does not accept the topic's name"),
    row(18, "RECORD_LIST_TOO_LARGE", TOO_LARGE, Batch, Told, "the batch is larger than the topic's segments"),
    row(19, "NOT_ENOUGH_REPLICAS", BROKER, Partition, Told, "fewer replicas are in sync than min.insync.replicas asks for"),
    row(20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", BROKER, Partition, Unknown, "the record was appended, but to fewer replicas than min.insync.replicas asks for"),
    row(21, "INVALID_REQUIRED_ACKS", CONFIG, Client, Told, "the broker does not accept the value of acks"),
    row(22, "ILLEGAL_GENERATION", ABORT, Client, Told, "the consumer group has a newer generation: it has rebalanced"),
    row(23, "INCONSISTENT_GROUP_PROTOCOL", OTHER, Record, Told, ""),
    row(24, "INVALID_GROUP_ID", OTHER, Record, Told, ""),
    row(25, "UNKNOWN_MEMBER_ID", ABORT, Client, Told, "the consumer group does not know the member"),
    row(26, "INVALID_SESSION_TIMEOUT", OTHER, Record, Told, ""),
    row(27, "REBALANCE_IN_PROGRESS", ABORT, Client, Told, "the consumer group is rebalancing"),
    row(28, "INVALID_COMMIT_OFFSET_SIZE", OTHER, Record, Told, ""),
    row(29, "TOPIC_AUTHORIZATION_FAILED", DENIED, Topic, Told, "this principal may not write to the topic"),
    row(30, "GROUP_AUTHORIZATION_FAILED", DENIED, Client, Told, "this principal may not use the consumer group"),
    row(31, "CLUSTER_AUTHORIZATION_FAILED", DENIED_IDEMPOTENT, Client, Told, "this principal may not write anywhere (IDEMPOTENT_WRITE on the cluster, or WRITE on a topic)"),
    row(32, "INVALID_TIMESTAMP", REJECTED, Batch, Told, "the timestamp of the record, or of one in its batch, is out of the topic's range"),
    row(33, "UNSUPPORTED_SASL_MECHANISM", AUTH, Client, Unknown, "the broker does not offer the SASL mechanism"),
    row(34, "ILLEGAL_SASL_STATE", AUTH, Client, Unknown, "the broker did not expect this step of SASL"),
    row(35, "UNSUPPORTED_VERSION", FATAL, Client, Told, "the broker does not speak this version of the protocol"),
    row(36, "TOPIC_ALREADY_EXISTS", OTHER, Record, Told, ""),
    row(37, "INVALID_PARTITIONS", OTHER, Record, Told, ""),
    row(38, "INVALID_REPLICATION_FACTOR", OTHER, Record, Told, ""),
    row(39, "INVALID_REPLICA_ASSIGNMENT", OTHER, Record, Told, ""),
    row(40, "INVALID_CONFIG", OTHER, Record, Told, ""),
    row(41, "NOT_CONTROLLER", OTHER_RETRY, Record, Told, ""),
    row(42, "INVALID_REQUEST", REJECTED, Batch, Told, "the broker rejected the request as malformed"),
    row(43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", REJECTED, Batch, Told, "the topic's message format does not allow it"),
    row(44, "POLICY_VIOLATION", THROTTLED, Client, Told, "a policy of the broker refused it (Azure Event Hubs throttles with this code)"),
    row(45, "OUT_OF_ORDER_SEQUENCE_NUMBER", FATAL, Partition, Unknown, "the broker missed an earlier batch of this producer"),
    row(46, "DUPLICATE_SEQUENCE_NUMBER", BROKER, Batch, Persisted, "the broker has the batch already"),
    row(47, "INVALID_PRODUCER_EPOCH", FENCED, Client, Told, "another producer took over the producer's epoch, or its transaction timed out"),
    row(48, "INVALID_TXN_STATE", TXN_FATAL, Client, Told, "the transaction is not in a state for this"),
    row(49, "INVALID_PRODUCER_ID_MAPPING", ABORT, Client, Told, "the broker has forgotten the transactional id"),
    row(50, "INVALID_TRANSACTION_TIMEOUT", TXN_TIME, Client, Told, "transaction.timeout.ms is larger than the broker's transaction.max.timeout.ms"),
    row(51, "CONCURRENT_TRANSACTIONS", BROKER, Client, Told, "an earlier transaction of this id is not finished"),
    row(52, "TRANSACTION_COORDINATOR_FENCED", FENCED, Client, Told, "the transaction's coordinator was replaced"),
    row(53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", DENIED_TXN, Client, Told, "this principal may not use the transactional id"),
    row(54, "SECURITY_DISABLED", AUTH, Client, Unknown, "the broker's security is switched off"),
    row(55, "OPERATION_NOT_ATTEMPTED", OTHER, Record, Told, ""),
    row(56, "KAFKA_STORAGE_ERROR", BROKER, Partition, Unknown, "the broker could not write to its disk"),
    row(57, "LOG_DIR_NOT_FOUND", BROKER, Partition, Told, "the broker has lost the log's directory"),
    row(58, "SASL_AUTHENTICATION_FAILED", AUTH, Client, Unknown, "the broker did not accept the credentials"),
    row(59, "UNKNOWN_PRODUCER_ID", FATAL, Partition, Unknown, "the broker has forgotten this producer"),
    row(60, "REASSIGNMENT_IN_PROGRESS", OTHER, Record, Told, ""),
    row(61, "DELEGATION_TOKEN_AUTH_DISABLED", OTHER, Record, Told, ""),
    row(62, "DELEGATION_TOKEN_NOT_FOUND", OTHER, Record, Told, ""),
    row(63, "DELEGATION_TOKEN_OWNER_MISMATCH", OTHER, Record, Told, ""),
    row(64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", OTHER, Record, Told, ""),
    row(65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", OTHER, Record, Told, ""),
    row(66, "DELEGATION_TOKEN_EXPIRED", OTHER, Record, Told, ""),
    row(67, "INVALID_PRINCIPAL_TYPE", OTHER, Record, Told, ""),
    row(68, "NON_EMPTY_GROUP", OTHER, Record, Told, ""),
    row(69, "GROUP_ID_NOT_FOUND", OTHER, Record, Told, ""),
    row(70, "FETCH_SESSION_ID_NOT_FOUND", OTHER_RETRY, Record, Told, ""),
    row(71, "INVALID_FETCH_SESSION_EPOCH", OTHER_RETRY, Record, Told, ""),
    row(72, "LISTENER_NOT_FOUND", BROKER, Partition, Told, "the leader has no listener of this name"),
    row(73, "TOPIC_DELETION_DISABLED", OTHER, Record, Told, ""),
    row(74, "FENCED_LEADER_EPOCH", BROKER, Partition, Told, "the partition's leader has changed"),
    row(75, "UNKNOWN_LEADER_EPOCH", BROKER, Partition, Told, "the broker has not heard of the partition's leader yet"),
    row(76, "UNSUPPORTED_COMPRESSION_TYPE", CONFIG, Topic, Told, "the broker or the topic does not support the compression type"),
    row(77, "STALE_BROKER_EPOCH", BROKER, Broker, Told, "the broker has restarted"),
    row(78, "OFFSET_NOT_AVAILABLE", BROKER, Partition, Told, "the partition's leader is catching up"),
    row(79, "MEMBER_ID_REQUIRED", OTHER, Record, Told, ""),
    row(80, "PREFERRED_LEADER_NOT_AVAILABLE", BROKER, Partition, Told, "the preferred leader is not available"),
    row(81, "GROUP_MAX_SIZE_REACHED", OTHER, Record, Told, ""),
    row(82, "FENCED_INSTANCE_ID", OTHER, Record, Told, ""),
    row(83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", BROKER, Partition, Told, "no replica can become leader"),
    row(84, "ELECTION_NOT_NEEDED", OTHER_RETRY, Record, Told, ""),
    row(85, "NO_REASSIGNMENT_IN_PROGRESS", OTHER, Record, Told, ""),
    row(86, "GROUP_SUBSCRIBED_TO_TOPIC", OTHER, Record, Told, ""),
    row(87, "INVALID_RECORD", REJECTED, Batch, Told, "the broker refused the record, or one in its batch (a compacted topic takes no record without a key)"),
    row(88, "UNSTABLE_OFFSET_COMMIT", OTHER_RETRY, Record, Told, ""),
    row(89, "THROTTLING_QUOTA_EXCEEDED", THROTTLED, Client, Told, "the client is over its quota"),
    row(90, "PRODUCER_FENCED", FENCED, Client, Told, "another producer with the same transactional id took over"),
    row(91, "RESOURCE_NOT_FOUND", OTHER, Record, Told, ""),
    row(92, "DUPLICATE_RESOURCE", OTHER, Record, Told, ""),
    row(93, "UNACCEPTABLE_CREDENTIAL", OTHER, Record, Told, ""),
    row(94, "INCONSISTENT_VOTER_SET", OTHER, Record, Told, ""),
    row(95, "INVALID_UPDATE_VERSION", OTHER, Record, Told, ""),
    row(96, "FEATURE_UPDATE_FAILED", OTHER, Record, Told, ""),
    row(97, "PRINCIPAL_DESERIALIZATION_FAILURE", OTHER, Record, Told, ""),
    row(98, "SNAPSHOT_NOT_FOUND", OTHER, Record, Unknown, ""),
    row(99, "POSITION_OUT_OF_RANGE", OTHER, Record, Unknown, ""),
    row(100, "UNKNOWN_TOPIC_ID", BROKER, Topic, Told, "the topic was deleted, or recreated"),
    row(101, "DUPLICATE_BROKER_REGISTRATION", OTHER, Record, Unknown, ""),
    row(102, "BROKER_ID_NOT_REGISTERED", OTHER, Record, Unknown, ""),
    row(103, "INCONSISTENT_TOPIC_ID", BROKER, Topic, Unknown, "the topic was recreated under the same name"),
    row(104, "INCONSISTENT_CLUSTER_ID", OTHER, Record, Unknown, ""),
    row(105, "TRANSACTIONAL_ID_NOT_FOUND", OTHER, Record, Unknown, ""),
    row(106, "FETCH_SESSION_TOPIC_ID_ERROR", OTHER_RETRY, Record, Unknown, ""),
    row(107, "INELIGIBLE_REPLICA", OTHER, Record, Unknown, ""),
    row(108, "NEW_LEADER_ELECTED", OTHER, Record, Unknown, ""),
    row(109, "OFFSET_MOVED_TO_TIERED_STORAGE", OTHER, Record, Unknown, ""),
    row(110, "FENCED_MEMBER_EPOCH", OTHER, Record, Told, ""),
    row(111, "UNRELEASED_INSTANCE_ID", OTHER, Record, Told, ""),
    row(112, "UNSUPPORTED_ASSIGNOR", OTHER, Record, Told, ""),
    row(113, "STALE_MEMBER_EPOCH", OTHER, Record, Told, ""),
    row(114, "MISMATCHED_ENDPOINT_TYPE", OTHER, Record, Unknown, ""),
    row(115, "UNSUPPORTED_ENDPOINT_TYPE", OTHER, Record, Unknown, ""),
    row(116, "UNKNOWN_CONTROLLER_ID", OTHER, Record, Unknown, ""),
    row(117, "UNKNOWN_SUBSCRIPTION_ID", OTHER, Record, Told, ""),
    row(118, "TELEMETRY_TOO_LARGE", OTHER, Record, Told, ""),
    row(119, "INVALID_REGISTRATION", OTHER, Record, Unknown, ""),
    row(120, "TRANSACTION_ABORTABLE", ABORT, Client, Unknown, "the transaction must be aborted"),
    row(121, "INVALID_RECORD_STATE", OTHER, Record, Unknown, ""),
    row(122, "SHARE_SESSION_NOT_FOUND", OTHER_RETRY, Record, Unknown, ""),
    row(123, "INVALID_SHARE_SESSION_EPOCH", OTHER_RETRY, Record, Unknown, ""),
    row(124, "FENCED_STATE_EPOCH", OTHER, Record, Unknown, ""),
    row(125, "INVALID_VOTER_KEY", OTHER, Record, Unknown, ""),
    row(126, "DUPLICATE_VOTER", OTHER, Record, Unknown, ""),
    row(127, "VOTER_NOT_FOUND", OTHER, Record, Unknown, ""),
    row(128, "INVALID_REGULAR_EXPRESSION", OTHER, Record, Unknown, ""),
    row(129, "REBOOTSTRAP_REQUIRED", OTHER, Record, Told, ""),
    row(130, "STREAMS_INVALID_TOPOLOGY", OTHER, Record, Unknown, ""),
    row(131, "STREAMS_INVALID_TOPOLOGY_EPOCH", OTHER, Record, Unknown, ""),
    row(132, "STREAMS_TOPOLOGY_FENCED", OTHER, Record, Unknown, ""),
    row(133, "SHARE_SESSION_LIMIT_REACHED", OTHER_RETRY, Record, Unknown, ""),];

/// Text and name of a code.
pub(crate) fn describe(code: i32) -> String {
    match row_of(code) {
        Some(row) => format!("{} ({})", row.text(), row.name),
        None => format!("code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_each_code_once() {
        assert!(TABLE.windows(2).all(|pair| pair[0].code < pair[1].code));
        let mut names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn each_code_of_kafka_4_3_1_is_there() {
        assert!((-1..=133).filter(|code| *code != 0).all(|code| row_of(code).is_some()));
        assert!(row_of(134).is_none());
    }
}
