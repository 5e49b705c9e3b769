//! librdkafka's own error codes, and what its status of a record is worth. Kafka's codes are in `kafka_tower_core`.
//!
//! Numbers and names are those of `rdkafka.h` in librdkafka 2.12.1. librdkafka's status "not persisted" can be wrong,
//! and is not used where it is only a guess:
//!
//! - A connection that ends gives its error to requests that were sent and have no answer (-169, -137, …).
//! - A record that is retried after an answer that leaves it open (3, 6, 56) keeps the status "not persisted", even if
//!   it is then given up in the queue (-152, -166, -192).
//! - It is librdkafka's default for each code that it does not know.

use ErrorKind as Kind;
use Persistence::{NotPersisted as No, PossiblyPersisted as Maybe};
use Scope::{Batch, Broker, Client, Partition, Record, Topic};
use kafka_tower_core::codes::{self, CodeFacts};
use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery, Scope};

pub(crate) use kafka_tower_core::codes::{
    COORDINATOR_NOT_AVAILABLE, INVALID_TXN_STATE, LEADER_NOT_AVAILABLE, MESSAGE_TOO_LARGE,
    OUT_OF_ORDER_SEQUENCE_NUMBER, SASL_AUTHENTICATION_FAILED, THROTTLING_QUOTA_EXCEEDED, TOPIC_AUTHORIZATION_FAILED,
    UNKNOWN_PRODUCER_ID, UNKNOWN_TOPIC_OR_PARTITION, UNSUPPORTED_VERSION,
};

pub(crate) const LOCAL_BAD_MSG: i32 = -199;
pub(crate) const LOCAL_DESTROY: i32 = -197;
pub(crate) const LOCAL_TRANSPORT: i32 = -195;
pub(crate) const LOCAL_RESOLVE: i32 = -193;
pub(crate) const LOCAL_UNKNOWN_PARTITION: i32 = -190;
pub(crate) const LOCAL_UNKNOWN_TOPIC: i32 = -188;
pub(crate) const LOCAL_ALL_BROKERS_DOWN: i32 = -187;
pub(crate) const LOCAL_INVALID_ARG: i32 = -186;
pub(crate) const LOCAL_TIMED_OUT: i32 = -185;
pub(crate) const LOCAL_SSL: i32 = -181;
pub(crate) const LOCAL_PREV_IN_PROGRESS: i32 = -177;
pub(crate) const LOCAL_CONFLICT: i32 = -173;
pub(crate) const LOCAL_STATE: i32 = -172;
pub(crate) const LOCAL_AUTHENTICATION: i32 = -169;
pub(crate) const LOCAL_TIMED_OUT_QUEUE: i32 = -166;
pub(crate) const LOCAL_UNSUPPORTED_FEATURE: i32 = -165;
pub(crate) const LOCAL_RETRY: i32 = -153;
pub(crate) const LOCAL_PURGE_QUEUE: i32 = -152;
pub(crate) const LOCAL_PURGE_INFLIGHT: i32 = -151;
pub(crate) const LOCAL_FATAL: i32 = -150;
#[cfg(test)]
pub(crate) const LOCAL_INCONSISTENT: i32 = -149;
#[cfg(test)]
pub(crate) const LOCAL_FENCED: i32 = -144;

const TLS: &str = "check security.protocol, ssl.ca.location and the client's certificate against the broker's listener";
const CLOSED: &str =
    "give close more time, and close before the last handle is dropped; the close report holds the record";
const LOOK_UP: &str =
    "look the code up in the documentation of Kafka and librdkafka: brokers do not answer producers with it";

/// Sorted by code. Names are librdkafka's with their leading underscore.
#[rustfmt::skip]
static TABLE: &[CodeFacts] = &[
    CodeFacts::new(-199, "_BAD_MSG", Kind::Broker, Broker, Maybe, "the answer could not be read"),
    CodeFacts::new(-198, "_BAD_COMPRESSION", Kind::Rejected, Record, No, "the record could not be compressed"),
    CodeFacts::new(-197, "_DESTROY", Kind::Closed, Client, No, "the producer is being closed").with_help(CLOSED),
    CodeFacts::new(-196, "_FAIL", Kind::Unknown, Client, Maybe, "librdkafka failed").with_help(LOOK_UP),
    CodeFacts::new(-195, "_TRANSPORT", Kind::Connection, Broker, No, "the connection to the broker failed"),
    CodeFacts::new(-194, "_CRIT_SYS_RESOURCE", Kind::Fatal, Client, Maybe, "the system ran out of a resource that librdkafka needs"),
    CodeFacts::new(-193, "_RESOLVE", Kind::Connection, Broker, No, "the broker's name could not be resolved"),
    CodeFacts::new(-192, "_MSG_TIMED_OUT", Kind::Timeout, Record, Maybe, "librdkafka's own message.timeout.ms passed"),
    CodeFacts::new(-190, "_UNKNOWN_PARTITION", Kind::UnknownTopicOrPartition, Partition, No, "the topic has no such partition"),
    CodeFacts::new(-189, "_FS", Kind::Config, Client, No, "a file could not be read"),
    CodeFacts::new(-188, "_UNKNOWN_TOPIC", Kind::UnknownTopicOrPartition, Topic, No, "the cluster has no such topic"),
    CodeFacts::new(-187, "_ALL_BROKERS_DOWN", Kind::Connection, Broker, No, "no broker could be reached"),
    CodeFacts::new(-186, "_INVALID_ARG", Kind::Config, Client, No, "librdkafka rejected an argument as invalid"),
    CodeFacts::new(-185, "_TIMED_OUT", Kind::Timeout, Broker, No, "the broker did not answer in time"),
    CodeFacts::new(-184, "_QUEUE_FULL", Kind::Overloaded, Client, No, "librdkafka's queue is full"),
    CodeFacts::new(-183, "_ISR_INSUFF", Kind::Broker, Partition, No, "too few replicas are in sync"),
    CodeFacts::new(-181, "_SSL", Kind::Connection, Broker, No, "TLS failed").with_help(TLS),
    CodeFacts::new(-180, "_WAIT_COORD", Kind::Broker, Client, No, "there is no coordinator yet"),
    CodeFacts::new(-177, "_PREV_IN_PROGRESS", Kind::Transaction, Client, No, "the same call is under way").with_recovery(Recovery::Reject),
    CodeFacts::new(-173, "_CONFLICT", Kind::Transaction, Client, No, "another call of the transaction is under way").with_recovery(Recovery::Reject),
    CodeFacts::new(-172, "_STATE", Kind::Transaction, Client, No, "the producer is not in a state for this: no transaction is open, or one is ending").with_recovery(Recovery::Reject),
    CodeFacts::new(-170, "_NOT_IMPLEMENTED", Kind::Config, Client, No, "librdkafka does not implement this"),
    CodeFacts::new(-169, "_AUTHENTICATION", Kind::Authentication, Client, Maybe, "the broker did not accept the credentials"),
    CodeFacts::new(-167, "_OUTDATED", Kind::Broker, Client, No, "the request is out of date"),
    CodeFacts::new(-166, "_TIMED_OUT_QUEUE", Kind::Timeout, Record, Maybe, "the record expired in librdkafka's queue"),
    CodeFacts::new(-165, "_UNSUPPORTED_FEATURE", Kind::Config, Client, Maybe, "the broker does not support it"),
    CodeFacts::new(-163, "_INTR", Kind::Unknown, Client, No, "the call was interrupted").with_help(LOOK_UP),
    CodeFacts::new(-155, "_UNDERFLOW", Kind::Broker, Broker, Maybe, "the broker's answer could not be read"),
    CodeFacts::new(-153, "_RETRY", Kind::Broker, Client, No, "librdkafka asks for a retry"),
    CodeFacts::new(-152, "_PURGE_QUEUE", Kind::Closed, Record, Maybe, "the transport was closed while the record was in librdkafka's queue").with_help(CLOSED),
    CodeFacts::new(-151, "_PURGE_INFLIGHT", Kind::Closed, Record, Maybe, "it was sent, and the transport was closed before the answer").with_help(CLOSED),
    CodeFacts::new(-150, "_FATAL", Kind::Fatal, Client, No, "the producer cannot go on"),
    CodeFacts::new(-149, "_INCONSISTENT", Kind::Fatal, Client, Maybe, "librdkafka and the broker disagree on what was written"),
    CodeFacts::new(-148, "_GAPLESS_GUARANTEE", Kind::Fatal, Client, No, "an earlier record of the partition failed and enable.gapless.guarantee is set"),
    CodeFacts::new(-146, "_UNKNOWN_BROKER", Kind::Broker, Broker, No, "the broker is not known"),
    CodeFacts::new(-145, "_NOT_CONFIGURED", Kind::Config, Client, No, "the producer was not configured for this"),
    CodeFacts::new(-144, "_FENCED", Kind::Fenced, Client, No, "another producer with the same transactional id took over, or the transaction timed out"),
    CodeFacts::new(-143, "_APPLICATION", Kind::Unknown, Client, No, "the application failed").with_help(LOOK_UP),
    CodeFacts::new(-138, "_INVALID_DIFFERENT_RECORD", Kind::Rejected, Batch, No, "another record in its batch was refused").with_recovery(Recovery::Retry),
    CodeFacts::new(-137, "_DESTROY_BROKER", Kind::Connection, Broker, Maybe, "the broker left the cluster"),
];

/// Returns the facts of a code that Kafka 4.3.1 or librdkafka 2.12.1 defines.
pub(crate) fn find(code: i32) -> Option<&'static CodeFacts> {
    own(code).or_else(|| codes::find(code))
}

fn own(code: i32) -> Option<&'static CodeFacts> {
    TABLE.binary_search_by_key(&code, |facts| facts.code).ok().map(|at| &TABLE[at])
}

pub(crate) fn all() -> impl Iterator<Item = &'static CodeFacts> {
    TABLE.iter().chain(codes::all())
}

/// What the code of a delivery report says. librdkafka reports `_DESTROY` of a record whose partition it removes, because the
/// topic was deleted (`rd_kafka_toppar_destroy_final`). No report of a producer that is being destroyed is read.
pub(crate) fn of_report(code: i32) -> i32 {
    if code == LOCAL_DESTROY { LOCAL_UNKNOWN_PARTITION } else { code }
}

/// Whether the code says that the producer has no right to its transactional id any more.
pub(crate) fn is_fence(code: i32) -> bool {
    find(code).is_some_and(|facts| facts.kind == ErrorKind::Fenced)
}

/// Text and name of a code.
pub(crate) fn describe(code: i32) -> String {
    own(code).map_or_else(|| codes::describe(code), ToString::to_string)
}

/// Error of a code.
pub(crate) fn error(code: i32, persistence: Persistence, message: String) -> Error {
    match own(code) {
        Some(facts) => facts.error(persistence, message),
        None => codes::error(code, persistence, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_holds_librdkafkas_codes_alone() {
        assert!(TABLE.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(TABLE.iter().all(|facts| facts.code < -1 && facts.name.starts_with('_')));
    }

    #[test]
    fn a_record_of_a_deleted_topic_is_not_one_of_a_producer_that_is_closed() {
        assert_eq!(
            [LOCAL_DESTROY, LOCAL_PURGE_QUEUE, 0].map(of_report),
            [LOCAL_UNKNOWN_PARTITION, LOCAL_PURGE_QUEUE, 0]
        );
    }

    #[test]
    fn codes_of_both_are_found() {
        assert_eq!(describe(LOCAL_TRANSPORT), "the connection to the broker failed (_TRANSPORT)");
        assert_eq!(describe(LEADER_NOT_AVAILABLE), "the partition has no leader now (LEADER_NOT_AVAILABLE)");
        assert_eq!(describe(-1_000), "code -1000, which Kafka 4.3.1 does not have");
    }
}
