//! Turns a code and a status into an [`Error`] that says what happened, what to do and where the record is.

use std::time::{Duration, Instant};

use kafka_tower_core::codes::{INCONSISTENT_TOPIC_ID, TRANSACTION_ABORTABLE};
use kafka_tower_core::error::transport;
use kafka_tower_core::unanswered::Unanswered;
use kafka_tower_core::{Error, ErrorKind, Persistence, Record, Recovery, Scope};

pub(crate) use kafka_tower_core::error::transport::{larger_than_request, looked_up_at_close, lost, outcome, too_late};

use crate::advertised_names;
use crate::codes;
use crate::explain::Explanation;
use crate::slot::Slot;
use crate::tokens;

/// `RD_KAFKA_MSG_STATUS_…` of `rdkafka.h`.
const NOT_PERSISTED: i32 = 0;
const PERSISTED: i32 = 2;

/// Returns the persistence for a code and librdkafka's status. An unknown code or status is `PossiblyPersisted`.
pub(crate) fn persistence(code: i32, status: i32) -> Persistence {
    // librdkafka does not know these codes, so its status is only its default.
    let guessed = matches!(code, INCONSISTENT_TOPIC_ID | TRANSACTION_ABORTABLE);
    match codes::find(code).map_or(Persistence::PossiblyPersisted, |facts| facts.persistence) {
        Persistence::NotPersisted if status == NOT_PERSISTED && !guessed => Persistence::NotPersisted,
        Persistence::Persisted => Persistence::Persisted,
        _ => acknowledged(status),
    }
}

/// Returns the persistence for a report without an error. With `acks=0` the record was only written to a socket.
pub(crate) fn acknowledged(status: i32) -> Persistence {
    if status == PERSISTED { Persistence::Persisted } else { Persistence::PossiblyPersisted }
}

/// Whether librdkafka reports a record as written without an answer of a broker: see [`implied`](crate::implied).
pub(crate) fn is_implied(code: i32, status: i32, offset: i64) -> bool {
    code == 0 && status == PERSISTED && offset < 0
}

/// Error of such a record.
pub(crate) fn implied(destination: &str, persistence: Persistence) -> Error {
    let what = outcome(destination, persistence);
    Error::new(ErrorKind::Broker, format!("{what}: the broker refused it, and acknowledged a later record"))
        .with_scope(Scope::Partition)
        .with_recovery(Recovery::Retry)
        .with_persistence(persistence)
}

/// Error for a code, without a record. `text` replaces the code's own text.
pub(crate) fn client_error(code: i32, what: &str, text: Option<&str>) -> Error {
    let cause = match (codes::find(code), text) {
        (Some(facts), Some(text)) => format!("{text} ({})", facts.name),
        (None, Some(text)) => format!("{}: {text}", codes::describe(code)),
        (_, None) => codes::describe(code),
    };
    codes::error(code, Persistence::NotPersisted, format!("{what}: {cause}"))
}

/// Error of a record that was rejected or reported with a code.
pub(crate) fn record_error(code: i32, persistence: Persistence, record: &Record, elapsed: Duration) -> Error {
    let error = client_error(code, &outcome(&transport::destination(record), persistence), None)
        .with_persistence(persistence)
        .with_elapsed(elapsed);
    if record.isolated { transport::of_isolated(error) } else { error }
}

/// Error of a record that a producer gives up, because it ended with this code and is replaced.
pub(crate) fn ended(code: i32, destination: &str, persistence: Persistence) -> Error {
    let what = outcome(destination, persistence);
    let text = format!("{what}: its producer ended and is replaced: {}", codes::describe(code));
    let error = Error::new(ErrorKind::Broker, text).with_scope(Scope::Partition).with_recovery(Recovery::Retry);
    let name = codes::find(code).map(|facts| facts.name);
    let error = if let Some(name) = name { error.with_error_type(name) } else { error };
    error.with_persistence(persistence)
}

/// Error of a record whose producer was being replaced when the transport was closed.
pub(crate) fn replaced_at_close(topic: &str) -> Error {
    let text = format!("not delivered to {topic}: the transport was closed while its producer was replaced");
    Error::new(ErrorKind::Closed, text)
}

/// Error of a record that a close gives up, with the reason for the missing answer if it is known.
pub(crate) fn left(code: i32, persistence: Persistence, record: &Record, why: &Explanation) -> Error {
    let error = record_error(code, persistence, record, Duration::ZERO);
    if error.may_be_written() && why.is_unsent() {
        return error;
    }
    let text = format!("{}; {}", error.message(), why.text);
    let (recovery, scope, name, help) = (error.recovery(), error.scope(), error.error_type(), error.help().to_owned());
    let error = Error::new(error.kind(), text).with_recovery(recovery).with_scope(scope).with_error_type(name);
    helped(error.with_help(help).with_persistence(persistence), Some(why))
}

/// Adds help if the cause is an advertised host name that does not resolve, or a token provider.
fn helped(error: Error, why: Option<&Explanation>) -> Error {
    let token = || why.is_some_and(Explanation::is_without_token).then(|| tokens::HELP.to_owned());
    match why.and_then(|why| advertised_names::advertised_help(&why.text)).or_else(token) {
        Some(help) if error.may_be_written() => error.with_help(format!("{help}; the record may still arrive")),
        Some(help) => error.with_help(help),
        None => error,
    }
}

/// Names the setting in the error of a record that is larger than the whole limit.
pub(crate) fn larger_than_gate(error: Error) -> Error {
    error.with_help("send a smaller record, or raise buffer_memory")
}

/// Error of a record that found no room before the close ended.
pub(crate) fn without_room_at_close(topic: &str, why: Option<&Explanation>) -> Error {
    transport::without_room_at_close(topic, why.map(|why| &*why.text))
}

/// Error of a record that is given up because some record had no answer for too long.
pub(crate) fn overdue(topic: &str, bound: Duration, persistence: Persistence, why: Option<&Explanation>) -> Error {
    let why = known(why, persistence);
    helped(transport::overdue(topic, bound, persistence, why.map(|why| &*why.text)), why)
}

/// Error of a record that is given up because its client is replaced for the sake of other records. `why` it has no answer
/// itself, if that is known.
pub(crate) fn replaced(what: &str, cause: &str, persistence: Persistence, why: Option<&Explanation>) -> Error {
    let why = known(why, persistence);
    let mut text = format!("{what}: its client was replaced, because {cause}");
    if let Some(why) = why {
        text.push_str("; ");
        text.push_str(&why.text);
    }
    helped(Error::new(ErrorKind::Timeout, text).with_scope(Scope::Batch).with_persistence(persistence), why)
}

/// That a record was not sent explains it only if it certainly was not.
fn known(why: Option<&Explanation>, persistence: Persistence) -> Option<&Explanation> {
    why.filter(|why| persistence == Persistence::NotPersisted || !why.is_unsent())
}

/// Error of a record whose deadline passed; `handed_over` says whether librdkafka has it.
pub(crate) fn expired(slot: &Slot, handed_over: bool, now: Instant, why: Option<&Explanation>) -> Error {
    let throttled = why.is_some_and(Explanation::is_throttling);
    let error = slot
        .time_out(handed_over, now, why.map(|why| &*why.text))
        // For a record that was handed over, the slot adds the state that it was in.
        .with_unanswered(Unanswered::new(None).with_throttled(throttled));
    helped(error, why)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(code: i32, status: i32) -> Error {
        record_error(code, persistence(code, status), &Record::new("t"), Duration::ZERO)
    }

    #[test]
    fn guesses_of_librdkafka_are_possibly_persisted() {
        for code in [-1, 1, 3, 6, 13, 20, 36, 56, 103, 120, 131, 200, 32_767, -152, -169] {
            assert_eq!(error(code, NOT_PERSISTED).persistence(), Persistence::PossiblyPersisted, "{code}");
        }
        for code in [10, 29, 32, 87, -190] {
            assert_eq!(error(code, NOT_PERSISTED).persistence(), Persistence::NotPersisted, "{code}");
        }
    }

    #[test]
    fn errors_of_a_batch_have_its_scope_until_the_record_is_isolated() {
        for code in [10, 32, 87] {
            assert_eq!(error(code, NOT_PERSISTED).scope(), Scope::Batch, "{code}");
            let mut isolated = Record::new("t");
            isolated.isolated = true;
            assert_eq!(
                record_error(code, Persistence::NotPersisted, &isolated, Duration::ZERO).scope(),
                Scope::Record,
                "{code}"
            );
        }
    }

    #[test]
    fn texts_name_the_topic_and_kafkas_code() {
        assert_eq!(
            error(10, NOT_PERSISTED).message(),
            "not delivered to t: the record, or the batch it was in, is larger than the topic's max.message.bytes \
             (MESSAGE_TOO_LARGE)"
        );
        assert_eq!(
            error(200, NOT_PERSISTED).message(),
            "the delivery to t was not confirmed: code 200, which Kafka 4.3.1 does not have"
        );
    }

    #[test]
    fn a_time_out_names_its_cause() {
        let (start, now) = (Instant::now(), Instant::now() + Duration::from_secs(30));
        let text = "last broker error 0.4 s ago: Connect to ipv4#127.0.0.1:1 failed: Connection refused";
        let why = Explanation::new(Some(-195), text.to_owned());
        let slot = Slot::new(Record::new("t").with_expires_at(now), start);
        let error = expired(&slot, true, now, Some(&why));
        assert_eq!(
            error.message(),
            "not delivered to t within 30 s; last broker error 0.4 s ago: Connect to ipv4#127.0.0.1:1 failed: \
             Connection refused"
        );
    }

    #[test]
    fn a_time_out_names_the_callers_time() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let text = |record| expired(&Slot::new(record, at(995)), true, at(1_020), None).message().to_owned();
        // It waited for room or was tried before: the transport was called 5 ms before the deadline.
        let record = Record::new("t").with_expires_at(at(1_000));
        assert_eq!(text(record.clone().with_given(Duration::from_secs(1))), "not delivered to t within 1 s");
        assert_eq!(text(record), "not delivered to t within 5 ms");
        // Its deadline had passed before the call.
        assert_eq!(text(Record::new("t").with_expires_at(at(900))), "not delivered to t in time");
    }

    proptest! {
        /// For any code a broker sends: a typed error, and never a `NotPersisted` that is a guess.
        #[test]
        fn every_code_has_an_answer(code in any::<i32>(), status in -1..5) {
            let error = error(code, status);
            prop_assert!(!error.message().is_empty());
            if codes::find(code).is_none() {
                prop_assert!(error.persistence() != Persistence::NotPersisted);
            }
        }
    }
}
