//! Errors of the batching layer.

use std::time::Duration;

use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery, Scope};

/// The record's transaction was aborted, and replays did not help.
pub(super) fn aborted(topic: &str, times: u32, cause: &Error) -> Error {
    let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
    Error::new(ErrorKind::Transaction, format!("not delivered to {topic}: its transaction was aborted {times}"))
        .with_recovery(Recovery::Retry)
        .with_persistence(Persistence::NotPersisted)
        .with_source(cause.clone())
        .with_help("correct the cause and send the record again: readers of committed records never see this attempt")
}

/// The commit was requested, and its outcome is not known. `goes_on`: the lane takes more records.
pub(super) fn unknown(topic: &str, cause: &Error, goes_on: bool) -> Error {
    let (recovery, help) = match goes_on {
        true => (Recovery::Reject, "read the topic before you send the record again: it may be visible"),
        false => (
            Recovery::Fatal,
            "create a new producer and layer, and read the topic before you send the record again: it may be visible",
        ),
    };
    Error::new(
        ErrorKind::Transaction,
        format!("it is not known whether the transaction of a record to {topic} was committed"),
    )
    .with_recovery(recovery)
    .with_persistence(Persistence::PossiblyPersisted)
    .with_source(cause.clone())
    .with_help(help)
}

/// The transaction was not committed, and the producer cannot be used any more.
pub(super) fn not_committed(topic: &str, cause: &Error) -> Error {
    Error::new(
        ErrorKind::Fatal,
        format!("not delivered to {topic}: the producer of its transaction cannot be used any more"),
    )
    .with_persistence(Persistence::NotPersisted)
    .with_source(cause.clone())
    .with_help("create a new producer and layer, and send the record with them")
}

/// An earlier transaction has ended the producer.
pub(super) fn finished(topic: &str, cause: &Error) -> Error {
    Error::new(ErrorKind::Fatal, format!("not sent to {topic}: an earlier transaction has ended the producer"))
        .with_persistence(Persistence::NotPersisted)
        .with_source(cause.clone())
        .with_help("create a new producer and layer, and send the record with them")
}

/// A panic below ended the batch.
pub(super) fn panicked(topic: &str, persistence: Persistence) -> Error {
    let text = match persistence {
        Persistence::NotPersisted => {
            format!("not delivered to {topic}: a panic below the batching layer ended its transaction")
        }
        _ => {
            format!("the delivery to {topic} was not confirmed: a panic below the batching layer ended its transaction")
        }
    };
    Error::new(ErrorKind::Unknown, text)
        .with_persistence(persistence)
        .with_recovery(match persistence {
            Persistence::NotPersisted => Recovery::Retry,
            _ => Recovery::Fatal,
        })
        .with_help("the panic's message is in the output of the process: correct its cause")
}

/// The layer's task ended, because its runtime ended or a close gave up.
pub(super) fn stopped(topic: &str, persistence: Persistence, why: &str) -> Error {
    let text = match persistence {
        Persistence::NotPersisted => format!("not delivered to {topic}: {why} before its transaction was committed"),
        _ => format!("the delivery to {topic} was not confirmed: {why} while its transaction was committed"),
    };
    Error::new(ErrorKind::Closed, text).with_persistence(persistence).with_help(match persistence {
        Persistence::NotPersisted => "send it with a new producer",
        _ => "read the topic before you send it again",
    })
}

/// The sends of a batch were not answered in time.
pub(super) fn slow(within: Duration) -> Error {
    let text = format!("the records of the transaction were not answered within {:.1} s", within.as_secs_f64());
    Error::new(ErrorKind::Timeout, text).with_persistence(Persistence::NotPersisted).with_scope(Scope::Client)
}

/// A transport that was made for a lane has no transactions.
pub(super) fn no_transactions() -> Error {
    Error::new(ErrorKind::Config, "a transport that replaces the one of a lane has no transactions")
        .with_help("create it with the transactional id of its lane")
}

/// Several lanes, and a topic whose number of partitions is not known.
pub(super) fn no_partition_count(topic: &str) -> Error {
    let text = format!(
        "not sent to {topic}: its number of partitions, by which the batching layer picks a lane, is not known yet"
    );
    Error::new(ErrorKind::UnknownTopicOrPartition, text)
        .with_recovery(Recovery::Retry)
        .with_help("name the topic when you create the transports, or send the record again later")
}

/// A record of a unit was refused.
pub(super) fn unit_refused(unit: &str, place: usize, cause: &Error) -> Error {
    let text = format!("not delivered to {unit}: its record at index {place} was refused");
    Error::new(cause.kind(), text)
        .with_recovery(Recovery::Reject)
        .with_persistence(Persistence::NotPersisted)
        .with_source(cause.clone())
        .with_help("correct or leave out this record, and join the unit again")
}

/// A consumer group did not take the offsets of a unit.
pub(super) fn offsets_refused(unit: &str, cause: &Error) -> Error {
    Error::new(ErrorKind::Transaction, format!("not delivered to {unit}: the consumer group did not take its offsets"))
        .with_recovery(Recovery::Reject)
        .with_persistence(Persistence::NotPersisted)
        .with_source(cause.clone())
        .with_help(
            "after a rebalance the partition may have another owner: if not, consume again from its committed offset",
        )
}

/// An earlier unit of the same input partition was not committed for certain.
pub(super) fn after_failed_unit(unit: &str, topic: &str, partition: i32) -> Error {
    let text = format!(
        "not sent to {unit}: an earlier unit with input from partition {partition} of {topic} failed, or its outcome is not \
         known, so this unit would commit the input of that one as consumed"
    );
    Error::new(ErrorKind::Transaction, text).with_recovery(Recovery::Reject).with_persistence(Persistence::NotPersisted)
}

/// Adds what to do with the input of a unit. Joining the same unit again does not help: its partitions are not resumed.
pub(super) fn of_inputs(error: Error, group: &str) -> Error {
    let input = format!(
        "consume its input again from the committed offsets of group {group}, call `resume` for each input partition, and \
         join new units"
    );
    let help = match (error.kind(), error.persistence()) {
        // They say what to correct first.
        (ErrorKind::Rejected | ErrorKind::RecordTooLarge, Persistence::NotPersisted) => {
            format!("{}; then {input}", error.help())
        }
        (ErrorKind::Fatal | ErrorKind::Closed, _) | (_, Persistence::PossiblyPersisted) if is_last(&error) => {
            format!("create a new producer and layer; the committed offsets of group {group} say where to go on")
        }
        _ => input,
    };
    let recovery = error.recovery();
    error.with_help(help).with_recovery(if recovery == Recovery::Retry { Recovery::Reject } else { recovery })
}

fn is_last(error: &Error) -> bool {
    error.recovery() == Recovery::Fatal
}

/// Units of the partition may still be committed.
pub(super) fn resumed_early(topic: &str, partition: i32, open: usize) -> Error {
    let text = format!("partition {partition} of {topic} is not resumed: {open} of its units have no outcome yet");
    Error::new(ErrorKind::Transaction, text)
        .with_recovery(Recovery::Retry)
        .with_persistence(Persistence::NotPersisted)
        .with_help("await them or a flush, fetch the committed offset, and call `resume` again")
}

/// Neither records nor offsets.
pub(super) fn empty_unit() -> Error {
    Error::new(ErrorKind::Transaction, "a unit has neither records nor offsets")
        .with_recovery(Recovery::Reject)
        .with_persistence(Persistence::NotPersisted)
        .with_help("put at least one record or offset into it")
}

/// Its input partitions belong to several lanes.
pub(super) fn unit_of_several_lanes(unit: &str) -> Error {
    let text = format!("not sent to {unit}: its input partitions belong to different lanes, and a transaction to one");
    Error::new(ErrorKind::Transaction, text)
        .with_recovery(Recovery::Reject)
        .with_persistence(Persistence::NotPersisted)
        .with_help("make units of one input partition, or use one lane")
}

/// Several lanes, and no input partition that decides.
pub(super) fn unit_without_lane(unit: &str) -> Error {
    let text = format!("not sent to {unit}: it has no offsets, whose partition decides the lane");
    Error::new(ErrorKind::Transaction, text)
        .with_recovery(Recovery::Reject)
        .with_persistence(Persistence::NotPersisted)
        .with_help("use one lane")
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    #[test]
    fn all_texts_agree_with_their_facts() {
        let cause = Error::new(ErrorKind::Fenced, "another producer took over");
        for error in [
            aborted("orders", 1, &cause),
            aborted("orders", 4, &cause),
            of_inputs(aborted("orders", 4, &cause), "g"),
            unknown("orders", &cause, true),
            unknown("orders", &cause, false),
            not_committed("orders", &cause),
            finished("orders", &cause),
            slow(Duration::from_secs(30)),
            no_transactions(),
            no_partition_count("orders"),
            unit_refused("orders", 2, &Error::new(ErrorKind::Rejected, "planted")),
            offsets_refused("orders", &cause),
            after_failed_unit("orders", "input", 3),
            of_inputs(unknown("orders", &cause, true), "g"),
            of_inputs(unknown("orders", &cause, false), "g"),
            of_inputs(unit_refused("orders", 2, &Error::new(ErrorKind::Rejected, "planted")), "g"),
            of_inputs(finished("orders", &cause), "g"),
            resumed_early("input", 3, 2),
            empty_unit(),
            unit_of_several_lanes("orders"),
            unit_without_lane("orders"),
        ] {
            assert_consistent(&error);
        }
        for persistence in [Persistence::NotPersisted, Persistence::PossiblyPersisted] {
            assert_consistent(&panicked("orders", persistence));
            assert_consistent(&stopped("orders", persistence, "the runtime of the batching layer ended"));
        }
    }
}
