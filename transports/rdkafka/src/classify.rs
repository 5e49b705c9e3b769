//! Turns a code and a status into an [`Error`] that says what happened, what to do and where the record is.

use std::time::{Duration, Instant};

use kafka_tower_core::codes::{INCONSISTENT_TOPIC_ID, TRANSACTION_ABORTABLE};
use kafka_tower_core::unanswered::Unanswered;
use kafka_tower_core::{Error, ErrorKind, Persistence, Record, Scope};

pub(crate) use kafka_tower_core::text::seconds;

use crate::advertised_names;
use crate::codes;
use crate::explain::Explanation;

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

/// Error for a code, without a record. `text` replaces the code's own text.
pub(crate) fn client_error(code: i32, what: &str, text: Option<&str>) -> Error {
    let cause = match (codes::find(code), text) {
        (Some(facts), Some(text)) => format!("{text} ({})", facts.name),
        (None, Some(text)) => format!("{}: {text}", codes::describe(code)),
        (_, None) => codes::describe(code),
    };
    codes::error(code, Persistence::NotPersisted, format!("{what}: {cause}"))
}

/// Beginning of a text about a record's error.
pub(crate) fn outcome(to: &str, persistence: Persistence) -> String {
    match persistence {
        Persistence::NotPersisted => format!("not delivered to {to}"),
        Persistence::PossiblyPersisted => format!("the delivery to {to} was not confirmed"),
        Persistence::Persisted => format!("written to {to} without an acknowledgement"),
    }
}

/// Error of a record that was rejected or reported with a code.
pub(crate) fn record_error(code: i32, persistence: Persistence, record: &Record, elapsed: Duration) -> Error {
    let to = match record.partition {
        Some(partition) => format!("{}[{partition}]", record.topic),
        None => record.topic.to_string(),
    };
    let error =
        client_error(code, &outcome(&to, persistence), None).with_persistence(persistence).with_elapsed(elapsed);
    if !record.isolated || error.scope() != Scope::Batch {
        return error;
    }
    // Isolated in its batch, so the record itself was rejected.
    let help = match error.kind() {
        ErrorKind::RecordTooLarge => "send a smaller record, or raise max.message.bytes of the topic",
        _ => "correct the record: its key or timestamp violates the topic's rules",
    };
    error.with_scope(Scope::Record).with_help(help)
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

/// Adds help if the cause is an advertised host name that does not resolve.
fn helped(error: Error, why: Option<&Explanation>) -> Error {
    match why.and_then(|why| advertised_names::advertised_help(&why.text)) {
        Some(help) if error.may_be_written() => error.with_help(format!("{help}; the record may still arrive")),
        Some(help) => error.with_help(help),
        None => error,
    }
}

/// Error of a record that is larger than the whole limit.
pub(crate) fn larger_than_all_room(topic: &str, size: usize, limit: usize) -> Error {
    let text =
        format!("a record of {size} bytes for {topic} is larger than the transport's whole limit of {limit} bytes");
    Error::new(ErrorKind::RecordTooLarge, text).with_help("send a smaller record, or raise buffer_memory")
}

/// Error of a record that no broker takes, because its request would be too large.
pub(crate) fn larger_than_a_request(topic: &str, size: usize, limit: usize) -> Error {
    let text = format!(
        "a record of {size} bytes for {topic} is larger than what the brokers take in one request \
         (socket.request.max.bytes={limit})"
    );
    Error::new(ErrorKind::RecordTooLarge, text)
        .with_help("send a smaller record, or raise socket.request.max.bytes of the brokers")
}

/// Error of a record that was called after the close.
pub(crate) fn after_close(topic: &str) -> Error {
    Error::new(ErrorKind::Closed, format!("not sent to {topic}: the transport was closed"))
}

/// Error of a record that found no room before the close ended.
pub(crate) fn without_room_at_close(topic: &str, why: Option<&Explanation>) -> Error {
    let cause = why.map(|why| format!("; {}", why.text)).unwrap_or_default();
    let text = format!("not delivered to {topic}: the transport was closed before there was room for it{cause}");
    Error::new(ErrorKind::Closed, text)
}

/// Error of a record whose topic was being looked up when the transport was closed.
pub(crate) fn looked_up_at_close(topic: &str) -> Error {
    let text = format!("not delivered to {topic}: the transport was closed while the topic was looked up");
    Error::new(ErrorKind::Closed, text)
}

/// Error of a record whose producer ended without a report for it.
pub(crate) fn lost(topic: &str) -> Error {
    Error::new(ErrorKind::Closed, format!("the producer ended before the fate of a record to {topic} was known"))
        .with_persistence(Persistence::PossiblyPersisted)
}

/// Error of a record that is given up because some record had no answer for too long.
pub(crate) fn overdue(topic: &str, bound: Duration, persistence: Persistence, why: Option<&Explanation>) -> Error {
    let why = why.filter(|why| persistence == Persistence::NotPersisted || !why.is_unsent());
    let cause = why.map(|why| format!("; {}", why.text)).unwrap_or_default();
    let bound = seconds(bound);
    let text = format!("the delivery to {topic} was given up, because a record had no answer within {bound}{cause}");
    helped(Error::new(ErrorKind::Timeout, text).with_persistence(persistence), why)
}

/// Error of a record whose deadline had passed when it reached the transport.
pub(crate) fn too_late(record: &Record) -> Error {
    let text = match record.given() {
        Some(given) => {
            format!("not sent to {} within {}: it reached the transport too late", record.topic, seconds(given))
        }
        None => format!("not sent to {}: its deadline had passed before the call", record.topic),
    };
    Error::new(ErrorKind::Timeout, text)
        .with_persistence(Persistence::NotPersisted)
        .with_unanswered(Unanswered::new(None))
        .with_help("allow more time; the serializer, a layer, the wait for room or a back-off used it up")
}

/// Shorter times are not shown as numbers.
const A_MILLISECOND: Duration = Duration::from_millis(1);

/// Error of a record whose deadline passed; `handed_over` says whether librdkafka has it.
pub(crate) fn expired(
    record: &Record,
    handed_over: bool,
    called_at: Instant,
    now: Instant,
    why: Option<&Explanation>,
) -> Error {
    let elapsed = now.saturating_duration_since(called_at);
    // The time that the caller gave, from the caller's call on: it includes the wait for room and earlier attempts, and
    // excludes the delay of the sweep.
    let given = record.given().unwrap_or_else(|| record.expires_at.unwrap_or(now).saturating_duration_since(called_at));
    let mut text = if given < A_MILLISECOND {
        format!("not delivered to {} in time", record.topic)
    } else {
        format!("not delivered to {} within {}", record.topic, seconds(given))
    };
    if !handed_over {
        text.push_str(": there was no room for it");
    }
    if let Some(why) = why {
        text.push_str(&format!("; {}", why.text));
    }
    let persistence = if handed_over { Persistence::PossiblyPersisted } else { Persistence::NotPersisted };
    // For a record that was handed over, the slot adds the state that it was in.
    let throttled = why.is_some_and(Explanation::is_throttling);
    let error = Error::new(ErrorKind::Timeout, text)
        .with_elapsed(elapsed)
        .with_persistence(persistence)
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
        let why = Explanation {
            code: Some(-195),
            text: "last broker error 0.4 s ago: Connect to ipv4#127.0.0.1:1 failed: Connection refused".to_owned(),
        };
        let error = expired(&Record::new("t"), true, start, now, Some(&why));
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
        let mut record = Record::new("t").with_expires_at(at(1_000));
        let texts = |record: &Record| {
            let of = |handed_over| expired(record, handed_over, at(995), at(1_020), None).message().to_owned();
            [of(true), of(false), too_late(record).message().to_owned()]
        };
        // It waited for room or was tried before: the transport was called 5 ms before the deadline.
        record = record.with_given(Duration::from_secs(1));
        assert_eq!(
            texts(&record),
            [
                "not delivered to t within 1 s",
                "not delivered to t within 1 s: there was no room for it",
                "not sent to t within 1 s: it reached the transport too late",
            ]
        );
        // Its deadline had passed before the call.
        record = Record::new("t").with_expires_at(at(900));
        assert_eq!(
            texts(&record),
            [
                "not delivered to t in time",
                "not delivered to t in time: there was no room for it",
                "not sent to t: its deadline had passed before the call",
            ]
        );
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
