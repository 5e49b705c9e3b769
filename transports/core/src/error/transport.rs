//! Errors of records that every transport makes: one text for each fact.
//!
//! `topic` is the record's topic. `why` is the cause, if the transport knows it; it ends the message, after a
//! semicolon. A transport may add to an error: its own help, the elapsed time, an error type.
//!
//! ```
//! use std::time::Duration;
//! use kafka_tower_core::error::transport;
//!
//! let error = transport::expired("orders", Some(Duration::from_secs(30)), false, Some("no broker could be reached"));
//! assert_eq!(
//!     error.message(),
//!     "not delivered to orders within 30 s: there was no room for it; no broker could be reached"
//! );
//! ```

use std::time::Duration;

use super::{Error, ErrorKind, Persistence, Recovery, Scope};
use crate::Record;
use crate::text::seconds;
use crate::unanswered::Unanswered;

/// Shorter times are not shown as numbers.
const A_MILLISECOND: Duration = Duration::from_millis(1);

/// Beginning of a message about a record, in agreement with its persistence. `to` is a topic or a
/// [`destination`].
///
/// ```
/// use kafka_tower_core::Persistence;
/// use kafka_tower_core::error::transport::outcome;
///
/// assert_eq!(outcome("orders", Persistence::NotPersisted), "not delivered to orders");
/// assert_eq!(outcome("orders", Persistence::PossiblyPersisted), "the delivery to orders was not confirmed");
/// ```
#[must_use]
pub fn outcome(to: &str, persistence: Persistence) -> String {
    match persistence {
        Persistence::NotPersisted => format!("not delivered to {to}"),
        Persistence::PossiblyPersisted => format!("the delivery to {to} was not confirmed"),
        Persistence::Persisted => format!("written to {to} without an acknowledgement"),
    }
}

/// Topic of a record, with its partition if it has one: "orders", "orders\[1\]".
#[must_use]
pub fn destination(record: &Record) -> String {
    match record.partition {
        Some(partition) => format!("{}[{partition}]", record.topic),
        None => record.topic.to_string(),
    }
}

/// Narrows an error of a batch to its record, because the record was [isolated](Record::isolated) in the batch: it was
/// rejected itself.
#[must_use]
pub fn of_isolated(error: Error) -> Error {
    if error.scope() != Scope::Batch {
        return error;
    }
    let help = match error.kind() {
        ErrorKind::RecordTooLarge => "send a smaller record, or raise max.message.bytes of the topic",
        _ => "correct the record: its key or timestamp violates the topic's rules",
    };
    error.with_scope(Scope::Record).with_help(help)
}

/// Error of a record that is larger than the whole [`Gate`](crate::gate::Gate). Sizes are in bytes.
#[must_use]
pub fn larger_than_gate(topic: &str, size: usize, limit: usize) -> Error {
    let text =
        format!("a record of {size} bytes for {topic} is larger than the transport's whole limit of {limit} bytes");
    Error::new(ErrorKind::RecordTooLarge, text)
}

/// Error of a record that no broker takes, because its request would be too large. Sizes are in bytes.
#[must_use]
pub fn larger_than_request(topic: &str, size: usize, limit: usize) -> Error {
    let text = format!(
        "a record of {size} bytes for {topic} is larger than what the brokers take in one request \
         (socket.request.max.bytes={limit})"
    );
    Error::new(ErrorKind::RecordTooLarge, text)
        .with_help("send a smaller record, or raise socket.request.max.bytes of the brokers")
}

/// Error of a record that was called after the close.
#[must_use]
pub fn after_close(topic: &str) -> Error {
    Error::new(ErrorKind::Closed, format!("not sent to {topic}: the transport was closed"))
}

/// Error of a call without a record, such as one of a transaction, that came after the close. `what` says what was
/// called, or what did not happen.
#[must_use]
pub fn call_after_close(what: &str) -> Error {
    Error::new(ErrorKind::Closed, format!("{what}: the transport was closed"))
}

/// Error of a record that found no room before the close ended.
#[must_use]
pub fn without_room_at_close(topic: &str, why: Option<&str>) -> Error {
    let text = format!("not delivered to {topic}: the transport was closed before there was room for it");
    Error::new(ErrorKind::Closed, because(text, why))
}

/// Error of a record that was called after the close of its sink, which shares its transport with others.
#[must_use]
pub fn after_sink_close(topic: &str) -> Error {
    Error::new(ErrorKind::Closed, format!("not sent to {topic}: its sink was closed"))
}

/// Error of a record that found no room before the close of its sink ended. Its transport goes on.
#[must_use]
pub fn without_room_at_sink_close(topic: &str, why: Option<&str>) -> Error {
    let text = format!("not delivered to {topic}: its sink was closed before there was room for it");
    never_handed_over(Error::new(ErrorKind::Closed, because(text, why)))
}

/// Error of a record without an answer when the close of its sink ended. Its transport goes on.
#[must_use]
pub fn unanswered_at_sink_close(topic: &str, handed_over: bool, why: Option<&str>) -> Error {
    let persistence = if handed_over { Persistence::PossiblyPersisted } else { Persistence::NotPersisted };
    let text = format!("{}: its sink was closed before it had an answer", outcome(topic, persistence));
    let error = Error::new(ErrorKind::Closed, because(text, why)).with_persistence(persistence);
    if handed_over { error } else { never_handed_over(error) }
}

/// Error of a record whose topic was being looked up when the transport was closed.
#[must_use]
pub fn looked_up_at_close(topic: &str) -> Error {
    let text = format!("not delivered to {topic}: the transport was closed while the topic was looked up");
    Error::new(ErrorKind::Closed, text)
}

/// Error of a record whose producer ended without a report for it.
#[must_use]
pub fn lost(topic: &str) -> Error {
    Error::new(ErrorKind::Closed, format!("the producer ended before the fate of a record to {topic} was known"))
        .with_persistence(Persistence::PossiblyPersisted)
}

/// Error of a record whose deadline passed. `given` is the time that the caller gave, from its call on: see
/// [`Record::given`].
///
/// A record that was not handed over is [described](Error::with_unanswered) as such; for one that was handed over, the
/// transport has to add the description.
#[must_use]
pub fn expired(topic: &str, given: Option<Duration>, handed_over: bool, why: Option<&str>) -> Error {
    let time = match given.filter(|given| *given >= A_MILLISECOND) {
        Some(given) => format!("within {}", seconds(given)),
        None => "in time".to_owned(),
    };
    let room = if handed_over { "" } else { ": there was no room for it" };
    let error = Error::new(ErrorKind::Timeout, because(format!("not delivered to {topic} {time}{room}"), why));
    if handed_over { error } else { never_handed_over(error) }
}

/// Error of a record whose deadline had passed when it reached the transport.
#[must_use]
pub fn too_late(record: &Record) -> Error {
    let topic = &record.topic;
    let text = match record.given() {
        Some(given) => format!("not sent to {topic} within {}: it reached the transport too late", seconds(given)),
        None => format!("not sent to {topic}: its deadline had passed before the call"),
    };
    never_handed_over(Error::new(ErrorKind::Timeout, text))
        .with_help("allow more time; the serializer, a layer, the wait for room or a back-off used it up")
}

/// Error of a record that is given up because a record, perhaps another one, had no answer within `bound`.
#[must_use]
pub fn overdue(topic: &str, bound: Duration, persistence: Persistence, why: Option<&str>) -> Error {
    let bound = seconds(bound);
    let text = format!("the delivery to {topic} was given up, because a record had no answer within {bound}");
    Error::new(ErrorKind::Timeout, because(text, why)).with_persistence(persistence)
}

/// Error of a record that is given up while its transaction is aborted. If it is in the log, it is part of that
/// transaction: a coordinator is asked to commit only after all records are answered.
#[must_use]
pub fn aborted(topic: &str, persistence: Persistence) -> Error {
    let text = format!("{}: its transaction is being aborted", outcome(topic, persistence));
    Error::new(ErrorKind::Transaction, text).with_recovery(Recovery::Reject).with_persistence(persistence).with_help(
        match persistence {
            Persistence::NotPersisted => "send it again in the next transaction",
            _ => "send it again in the next transaction: readers of committed records never see this one",
        },
    )
}

/// Error of a commit that was requested and did not return `Ok` at the first try: the records of the transaction may be
/// visible, whatever the last answer says. An earlier request may have been carried out, and a refusal that follows
/// (fenced, an unknown producer id, "abort it") is then about a transaction that has ended.
///
/// With [`Recovery::Retry`] the same call goes on waiting; every other error becomes [`Recovery::Fatal`].
///
/// ```
/// use kafka_tower_core::error::transport::commit_in_doubt;
/// use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery};
///
/// let error = commit_in_doubt(Error::new(ErrorKind::Transaction, "the coordinator requires an abort"));
/// assert_eq!((error.recovery(), error.persistence()), (Recovery::Fatal, Persistence::PossiblyPersisted));
/// ```
#[must_use]
pub fn commit_in_doubt(error: Error) -> Error {
    let error = if error.may_be_written() {
        error
    } else {
        error.in_doubt_since("an earlier commit may have been carried out")
    };
    if error.recovery() == Recovery::Retry {
        return error;
    }
    error.with_recovery(Recovery::Fatal).with_help(
        "do not abort and replay: create a new sink with the same transactional id, which waits until the transaction has \
         ended; then read the topic or the committed offsets as `read_committed`: all of the transaction is there, or none",
    )
}

/// Error of an abort that succeeded after a commit was requested: that request may have been carried out before.
#[must_use]
pub fn aborted_in_doubt() -> Error {
    Error::new(ErrorKind::Transaction, "the transaction has ended, and a commit that was requested may have ended it")
        .with_recovery(Recovery::Reject)
        .with_persistence(Persistence::PossiblyPersisted)
        .with_help("read the topic or the committed offsets as `read_committed` before the transaction's messages are sent again")
}

fn because(mut text: String, why: Option<&str>) -> String {
    if let Some(why) = why {
        text.push_str("; ");
        text.push_str(why);
    }
    text
}

fn never_handed_over(error: Error) -> Error {
    error.with_persistence(Persistence::NotPersisted).with_unanswered(Unanswered::new(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_names_the_callers_time_and_its_cause() {
        let text = |given: Option<u64>, handed_over| {
            expired("t", given.map(Duration::from_millis), handed_over, None).message().to_owned()
        };
        assert_eq!(text(Some(1_000), true), "not delivered to t within 1 s");
        assert_eq!(text(Some(1_000), false), "not delivered to t within 1 s: there was no room for it");
        assert_eq!(text(Some(0), true), "not delivered to t in time");
        assert_eq!(text(None, false), "not delivered to t in time: there was no room for it");
        assert_eq!(
            expired("t", None, true, Some("no broker could be reached")).message(),
            "not delivered to t in time; no broker could be reached"
        );
    }

    #[test]
    fn a_time_out_is_not_persisted_only_if_it_was_never_handed_over() {
        let given = Some(Duration::from_secs(1));
        let late = Record::new("t").with_given(Duration::from_secs(1));
        for error in [expired("t", given, false, None), too_late(&late)] {
            assert_eq!(error.persistence(), Persistence::NotPersisted, "{error}");
            assert!(error.unanswered().is_some_and(|record| record.handed_over_for().is_none()), "{error}");
        }
        let in_doubt = expired("t", given, true, None);
        assert_eq!(in_doubt.persistence(), Persistence::PossiblyPersisted);
        assert!(in_doubt.unanswered().is_none(), "only the transport knows since when");
    }

    #[test]
    fn the_error_of_a_late_record_says_where_its_time_was_spent() {
        assert_eq!(too_late(&Record::new("t")).message(), "not sent to t: its deadline had passed before the call");
        assert_eq!(
            too_late(&Record::new("t").with_given(Duration::from_secs(1))).message(),
            "not sent to t within 1 s: it reached the transport too late"
        );
    }

    #[test]
    fn a_record_that_may_be_in_an_aborted_transaction_can_be_sent_again() {
        assert_eq!(
            aborted("orders", Persistence::PossiblyPersisted).to_string(),
            "the delivery to orders was not confirmed: its transaction is being aborted (may have been written) [help: send it \
             again in the next transaction: readers of committed records never see this one]"
        );
    }

    #[test]
    fn only_an_error_of_a_batch_is_narrowed_to_its_isolated_record() {
        let of = |kind, scope| of_isolated(Error::new(kind, "refused").with_scope(scope)).scope();
        assert_eq!(of(ErrorKind::Rejected, Scope::Batch), Scope::Record);
        assert_eq!(of(ErrorKind::Authorization, Scope::Topic), Scope::Topic);
    }
}
