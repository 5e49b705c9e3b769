//! Errors that this transport creates, in one place so that each one states its persistence.

pub(crate) mod transaction;

use Persistence::NotPersisted;
use kafka_tower_core::error::transport;
pub(crate) use kafka_tower_core::error::transport::after_close;
use kafka_tower_core::{Error, ErrorKind, Persistence, Scope, Timestamp, codes};

pub(crate) fn unknown_topic(topic: &str) -> Error {
    codes::error(codes::UNKNOWN_TOPIC_OR_PARTITION, NotPersisted, format!("topic {topic} does not exist"))
        .with_help("create it with MemoryKafka::create_topic, or enable MemoryKafka::with_auto_create")
}

pub(crate) fn unknown_partition(topic: &str, partition: i32, count: u32) -> Error {
    let text = format!("{topic} has no partition {partition}: it has {count}");
    codes::error(codes::UNKNOWN_TOPIC_OR_PARTITION, NotPersisted, text).with_help("partitions are numbered from 0")
}

pub(crate) fn larger_than_topic(topic: &str, bytes: usize, limit: usize) -> Error {
    Error::new(
        ErrorKind::RecordTooLarge,
        format!("a record of {bytes} bytes is larger than the {limit} bytes that {topic} accepts"),
    )
    .with_error_type("MESSAGE_TOO_LARGE")
}

pub(crate) fn without_key(topic: &str) -> Error {
    let text = format!("a record without a key was refused: {topic} is compacted");
    codes::error(codes::INVALID_RECORD, NotPersisted, text)
}

pub(crate) fn misdated(topic: &str, timestamp: Timestamp) -> Error {
    let text = format!("the timestamp {timestamp} of a record for {topic} is more than an hour ahead");
    codes::error(codes::INVALID_TIMESTAMP, NotPersisted, text).with_help(
        "use a time between 1970 and one hour from now; Kafka's limit is the topic's message.timestamp.after.max.ms",
    )
}

/// A source has a task that keeps it in its group.
pub(crate) fn source_without_runtime() -> Error {
    Error::new(ErrorKind::Config, "a source of the in-memory Kafka needs a tokio runtime")
        .with_help("build it inside of a runtime with time enabled")
}

/// Handed over; its report is no longer waited for.
pub(crate) fn given_up(topic: &str) -> Error {
    let what = transport::outcome(topic, Persistence::PossiblyPersisted);
    Error::new(ErrorKind::Timeout, format!("{what}: the transport was closed before the answer"))
        .with_scope(Scope::Client)
}

pub(crate) fn lost(topic: &str, partition: i32) -> Error {
    Error::new(ErrorKind::Timeout, format!("no answer from {topic}[{partition}]"))
        .with_error_type("REQUEST_TIMED_OUT")
        .with_scope(Scope::Partition)
}

/// An earlier record is missing: the client sends both again.
pub(crate) fn out_of_order(topic: &str, partition: i32) -> Error {
    Error::new(ErrorKind::Broker, format!("out of sequence: a record before one for {topic}[{partition}] is missing"))
        .with_persistence(NotPersisted)
        .with_error_type("OUT_OF_ORDER_SEQUENCE_NUMBER")
        .with_scope(Scope::Partition)
}

/// A transaction with offsets of the group has not ended.
pub(crate) fn unstable_offset(group: &str) -> Error {
    let text = format!("the committed offsets of the group {group} are not known before a transaction ends");
    codes::error(codes::UNSTABLE_OFFSET_COMMIT, NotPersisted, text).without_record().with_help("ask again")
}

pub(crate) fn no_runtime(topic: &str) -> Error {
    Error::new(ErrorKind::Timeout, format!("the delayed answer from {topic} was lost: its tokio runtime has ended"))
        .with_scope(Scope::Client)
        .with_help("keep the tokio runtime until all answers have arrived")
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::faults;

    use super::transaction::*;
    use super::*;
    use crate::FaultKind;
    use crate::transaction::coordinator::Refusal;

    #[test]
    fn all_texts_agree_with_their_facts() {
        let mut errors = vec![
            unknown_topic("orders"),
            unknown_partition("orders", 7, 1),
            larger_than_topic("orders", 10, 5),
            without_key("orders"),
            misdated("orders", Timestamp::from_millis(i64::MAX)),
            given_up("orders"),
            lost("orders", 1),
            out_of_order("orders", 1),
            no_runtime("orders"),
            source_without_runtime(),
            unstable_offset("payments"),
            unknown_topic("orders").without_record(),
            stale_member("payments").without_record(),
            misuse("begin", "call init first"),
            withdrawn("orders"),
            stale_member("payments"),
            illegal_generation("payments"),
        ];
        for call in ["init", "begin", "send", "send_offsets", "commit", "abort"] {
            errors.extend(["commit", "abort"].map(|end| under_way(call, end)));
            errors.push(must_abort(call, &without_key("orders")));
            errors.push(unanswered(call, "payments-1"));
            for unanswered in [false, true] {
                errors.push(refused(call, "payments-1", Refusal::Fenced, unanswered));
                errors.push(refused(call, "payments-1", Refusal::State, unanswered));
            }
        }
        errors.extend(FaultKind::PRODUCE.into_iter().chain(FaultKind::TRANSACTION).map(FaultKind::error));
        let faults: Vec<_> = errors.iter().flat_map(faults).collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}
