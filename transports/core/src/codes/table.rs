//! The table of Kafka's codes.
//!
//! The effect of each code, and whether its batch was in the log, was measured on Apache Kafka 4.3.1. Where an answer
//! leaves it open, and why:
//!
//! - A leader that loses its leadership answers 3, 6 or 56 after it has appended the batch (`DelayedProduce`).
//! - 7 and 20 come after the append, and 45 and 59 also come for a batch that is in the log already.
//! - 33, 34, 54 and 58 answer an authentication and end the connection: what it had not answered is in doubt.
//! - 4, 8 and 9 answer no produce request of Kafka 4.3.1, so they prove nothing. 14 to 16 do before the append, when the broker
//!   asks the coordinator about the batch's transaction (`ReplicaManager.handleProduceAppend`).
//! - A code with a recovery in brackets answers no producer.

use ErrorKind as Kind;
use Persistence::{NotPersisted as No, Persisted as Yes, PossiblyPersisted as Maybe};
use Recovery::{Fatal, Reject, Retry};

use super::CodeFacts;
use crate::{ErrorKind, Persistence, Recovery, Scope};

const TOO_LARGE: &str = "send the record alone to learn whether it is too large by itself; raise max.message.bytes of the topic, or lower batch.size";
const TRANSACTION_TIMEOUT: &str =
    "lower transaction.timeout.ms (default 60000), or raise transaction.max.timeout.ms of the brokers";
const GRANT_IDEMPOTENT: &str =
    "grant this principal WRITE on the topic, or (before Kafka 3) IDEMPOTENT_WRITE on the cluster";
const GRANT_TRANSACTIONS: &str = "grant this principal WRITE and DESCRIBE on the transactional id";

/// Code, name, then kind, scope, whether the batch may be in the log, text, and what differs from the kind's defaults;
/// or the recovery alone for a code that answers no producer.
macro_rules! codes {
    ($($code:literal $name:ident $(($recovery:ident))?
        $(: $kind:ident, $scope:ident, $persistence:ident, $text:literal $(, $with:ident($value:ident))*)?;)*) => {
        $(
            #[doc = concat!("Code ", stringify!($code) $(, ": ", $text)?, ".")]
            pub const $name: i32 = $code;
        )*

        /// Sorted by code.
        pub(super) static TABLE: &[CodeFacts] = &[$(
            $(CodeFacts::not_for_producers($code, stringify!($name), $recovery))?
            $(
                CodeFacts::new($code, stringify!($name), Kind::$kind, Scope::$scope, $persistence, $text)
                    $(.$with($value))*
            )?,
        )*];
    };
}

codes! {
    -1 UNKNOWN_SERVER_ERROR: Broker, Batch, Maybe, "the broker met an unexpected error";
    1 OFFSET_OUT_OF_RANGE (Reject);
    2 CORRUPT_MESSAGE: Broker, Batch, No, "the broker found the batch corrupt";
    3 UNKNOWN_TOPIC_OR_PARTITION: UnknownTopicOrPartition, Topic, Maybe, "the broker has no such topic or partition";
    4 INVALID_FETCH_SIZE: Rejected, Batch, Maybe, "the broker rejected the size as invalid";
    5 LEADER_NOT_AVAILABLE: Broker, Partition, No, "the partition has no leader now";
    6 NOT_LEADER_OR_FOLLOWER: Broker, Partition, Maybe, "the partition's leader has moved";
    7 REQUEST_TIMED_OUT: Broker, Partition, Maybe, "the replicas did not acknowledge in time";
    8 BROKER_NOT_AVAILABLE: Broker, Broker, Maybe, "the broker is not available";
    9 REPLICA_NOT_AVAILABLE: Broker, Partition, Maybe, "a replica is not available";
    10 MESSAGE_TOO_LARGE: RecordTooLarge, Batch, No, "the record, or the batch it was in, is larger than the topic's max.message.bytes", with_help(TOO_LARGE);
    11 STALE_CONTROLLER_EPOCH (Reject);
    12 OFFSET_METADATA_TOO_LARGE (Reject);
    13 NETWORK_EXCEPTION: Broker, Broker, Maybe, "the connection ended before the answer";
    14 COORDINATOR_LOAD_IN_PROGRESS: Broker, Client, No, "the coordinator is loading";
    15 COORDINATOR_NOT_AVAILABLE: Broker, Client, No, "the coordinator is not available";
    16 NOT_COORDINATOR: Broker, Client, No, "the coordinator has moved";
    17 INVALID_TOPIC_EXCEPTION: InvalidRecord, Topic, No, "the broker does not accept the topic's name";
    18 RECORD_LIST_TOO_LARGE: RecordTooLarge, Batch, No, "the batch is larger than the topic's segments", with_help(TOO_LARGE);
    19 NOT_ENOUGH_REPLICAS: Broker, Partition, No, "fewer replicas are in sync than min.insync.replicas asks for";
    20 NOT_ENOUGH_REPLICAS_AFTER_APPEND: Broker, Partition, Maybe, "the record was appended, but to fewer replicas than min.insync.replicas asks for";
    21 INVALID_REQUIRED_ACKS: Config, Client, No, "the broker does not accept the value of acks";
    22 ILLEGAL_GENERATION: Transaction, Client, No, "the consumer group has a newer generation: it has rebalanced";
    23 INCONSISTENT_GROUP_PROTOCOL (Reject);
    24 INVALID_GROUP_ID (Reject);
    25 UNKNOWN_MEMBER_ID: Transaction, Client, No, "the consumer group does not know the member";
    26 INVALID_SESSION_TIMEOUT (Reject);
    27 REBALANCE_IN_PROGRESS: Transaction, Client, No, "the consumer group is rebalancing";
    28 INVALID_COMMIT_OFFSET_SIZE (Reject);
    29 TOPIC_AUTHORIZATION_FAILED: Authorization, Topic, No, "this principal may not write to the topic";
    30 GROUP_AUTHORIZATION_FAILED: Authorization, Client, No, "this principal may not use the consumer group";
    31 CLUSTER_AUTHORIZATION_FAILED: Authorization, Client, No, "this principal may not write anywhere (IDEMPOTENT_WRITE on the cluster, or WRITE on a topic)", with_recovery(Fatal), with_help(GRANT_IDEMPOTENT);
    32 INVALID_TIMESTAMP: Rejected, Batch, No, "the timestamp of the record, or of one in its batch, is out of the topic's range";
    33 UNSUPPORTED_SASL_MECHANISM: Authentication, Client, Maybe, "the broker does not offer the SASL mechanism";
    34 ILLEGAL_SASL_STATE: Authentication, Client, Maybe, "the broker did not expect this step of SASL";
    35 UNSUPPORTED_VERSION: Fatal, Client, No, "the broker does not speak this version of the protocol";
    36 TOPIC_ALREADY_EXISTS (Reject);
    37 INVALID_PARTITIONS (Reject);
    38 INVALID_REPLICATION_FACTOR (Reject);
    39 INVALID_REPLICA_ASSIGNMENT (Reject);
    40 INVALID_CONFIG (Reject);
    41 NOT_CONTROLLER (Retry);
    42 INVALID_REQUEST: Rejected, Batch, No, "the broker rejected the request as malformed";
    43 UNSUPPORTED_FOR_MESSAGE_FORMAT: Rejected, Batch, No, "the topic's message format does not allow it";
    44 POLICY_VIOLATION: Throttled, Client, No, "a policy of the broker refused it (Azure Event Hubs throttles with this code)";
    45 OUT_OF_ORDER_SEQUENCE_NUMBER: Fatal, Partition, Maybe, "the broker missed an earlier batch of this producer";
    46 DUPLICATE_SEQUENCE_NUMBER: Broker, Batch, Yes, "the broker has the batch already";
    47 INVALID_PRODUCER_EPOCH: Fenced, Client, No, "another producer took over the producer's epoch, or its transaction timed out";
    48 INVALID_TXN_STATE: Transaction, Client, No, "the transaction is not in a state for this", with_recovery(Fatal);
    49 INVALID_PRODUCER_ID_MAPPING: Transaction, Client, No, "the broker has forgotten the transactional id";
    50 INVALID_TRANSACTION_TIMEOUT: Config, Client, No, "transaction.timeout.ms is larger than the broker's transaction.max.timeout.ms", with_help(TRANSACTION_TIMEOUT);
    51 CONCURRENT_TRANSACTIONS: Broker, Client, No, "an earlier transaction of this id is not finished";
    52 TRANSACTION_COORDINATOR_FENCED: Fenced, Client, No, "the transaction's coordinator was replaced";
    53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED: Authorization, Client, No, "this principal may not use the transactional id", with_recovery(Fatal), with_help(GRANT_TRANSACTIONS);
    54 SECURITY_DISABLED: Authentication, Client, Maybe, "the broker's security is switched off";
    55 OPERATION_NOT_ATTEMPTED (Reject);
    56 KAFKA_STORAGE_ERROR: Broker, Partition, Maybe, "the broker could not write to its disk";
    57 LOG_DIR_NOT_FOUND: Broker, Partition, No, "the broker has lost the log's directory";
    58 SASL_AUTHENTICATION_FAILED: Authentication, Client, Maybe, "the broker did not accept the credentials";
    59 UNKNOWN_PRODUCER_ID: Fatal, Partition, Maybe, "the broker has forgotten this producer";
    60 REASSIGNMENT_IN_PROGRESS (Reject);
    61 DELEGATION_TOKEN_AUTH_DISABLED (Reject);
    62 DELEGATION_TOKEN_NOT_FOUND (Reject);
    63 DELEGATION_TOKEN_OWNER_MISMATCH (Reject);
    64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED (Reject);
    65 DELEGATION_TOKEN_AUTHORIZATION_FAILED (Reject);
    66 DELEGATION_TOKEN_EXPIRED (Reject);
    67 INVALID_PRINCIPAL_TYPE (Reject);
    68 NON_EMPTY_GROUP (Reject);
    69 GROUP_ID_NOT_FOUND (Reject);
    70 FETCH_SESSION_ID_NOT_FOUND (Retry);
    71 INVALID_FETCH_SESSION_EPOCH (Retry);
    72 LISTENER_NOT_FOUND: Broker, Partition, No, "the leader has no listener of this name";
    73 TOPIC_DELETION_DISABLED (Reject);
    74 FENCED_LEADER_EPOCH: Broker, Partition, No, "the partition's leader has changed";
    75 UNKNOWN_LEADER_EPOCH: Broker, Partition, No, "the broker has not heard of the partition's leader yet";
    76 UNSUPPORTED_COMPRESSION_TYPE: Config, Topic, No, "the broker or the topic does not support the compression type";
    77 STALE_BROKER_EPOCH: Broker, Broker, No, "the broker has restarted";
    78 OFFSET_NOT_AVAILABLE: Broker, Partition, No, "the partition's leader is catching up";
    79 MEMBER_ID_REQUIRED (Reject);
    80 PREFERRED_LEADER_NOT_AVAILABLE: Broker, Partition, No, "the preferred leader is not available";
    81 GROUP_MAX_SIZE_REACHED (Reject);
    82 FENCED_INSTANCE_ID: Transaction, Client, No, "another member of the consumer group has the same group.instance.id";
    83 ELIGIBLE_LEADERS_NOT_AVAILABLE: Broker, Partition, No, "no replica can become leader";
    84 ELECTION_NOT_NEEDED (Retry);
    85 NO_REASSIGNMENT_IN_PROGRESS (Reject);
    86 GROUP_SUBSCRIBED_TO_TOPIC (Reject);
    87 INVALID_RECORD: Rejected, Batch, No, "the broker refused the record, or one in its batch (a compacted topic takes no record without a key)";
    88 UNSTABLE_OFFSET_COMMIT (Retry);
    89 THROTTLING_QUOTA_EXCEEDED: Throttled, Client, No, "the client is over its quota";
    90 PRODUCER_FENCED: Fenced, Client, No, "another producer with the same transactional id took over";
    91 RESOURCE_NOT_FOUND (Reject);
    92 DUPLICATE_RESOURCE (Reject);
    93 UNACCEPTABLE_CREDENTIAL (Reject);
    94 INCONSISTENT_VOTER_SET (Reject);
    95 INVALID_UPDATE_VERSION (Reject);
    96 FEATURE_UPDATE_FAILED (Reject);
    97 PRINCIPAL_DESERIALIZATION_FAILURE (Reject);
    98 SNAPSHOT_NOT_FOUND (Reject);
    99 POSITION_OUT_OF_RANGE (Reject);
    100 UNKNOWN_TOPIC_ID: Broker, Topic, No, "the topic was deleted, or recreated";
    101 DUPLICATE_BROKER_REGISTRATION (Reject);
    102 BROKER_ID_NOT_REGISTERED (Reject);
    103 INCONSISTENT_TOPIC_ID: Broker, Topic, No, "the topic was recreated under the same name";
    104 INCONSISTENT_CLUSTER_ID (Reject);
    105 TRANSACTIONAL_ID_NOT_FOUND (Reject);
    106 FETCH_SESSION_TOPIC_ID_ERROR (Retry);
    107 INELIGIBLE_REPLICA (Reject);
    108 NEW_LEADER_ELECTED (Reject);
    109 OFFSET_MOVED_TO_TIERED_STORAGE (Reject);
    110 FENCED_MEMBER_EPOCH: Transaction, Client, No, "the consumer group has removed the member";
    111 UNRELEASED_INSTANCE_ID (Reject);
    112 UNSUPPORTED_ASSIGNOR (Reject);
    113 STALE_MEMBER_EPOCH: Transaction, Client, No, "the consumer group has a newer epoch of the member: it has rebalanced";
    114 MISMATCHED_ENDPOINT_TYPE (Reject);
    115 UNSUPPORTED_ENDPOINT_TYPE (Reject);
    116 UNKNOWN_CONTROLLER_ID (Reject);
    117 UNKNOWN_SUBSCRIPTION_ID (Reject);
    118 TELEMETRY_TOO_LARGE (Reject);
    119 INVALID_REGISTRATION (Reject);
    120 TRANSACTION_ABORTABLE: Transaction, Client, No, "the transaction must be aborted";
    121 INVALID_RECORD_STATE (Reject);
    122 SHARE_SESSION_NOT_FOUND (Retry);
    123 INVALID_SHARE_SESSION_EPOCH (Retry);
    124 FENCED_STATE_EPOCH (Reject);
    125 INVALID_VOTER_KEY (Reject);
    126 DUPLICATE_VOTER (Reject);
    127 VOTER_NOT_FOUND (Reject);
    128 INVALID_REGULAR_EXPRESSION (Reject);
    129 REBOOTSTRAP_REQUIRED (Reject);
    130 STREAMS_INVALID_TOPOLOGY (Reject);
    131 STREAMS_INVALID_TOPOLOGY_EPOCH (Reject);
    132 STREAMS_TOPOLOGY_FENCED (Reject);
    133 SHARE_SESSION_LIMIT_REACHED (Retry);
}
