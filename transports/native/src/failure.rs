//! Errors of records and of connecting.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use kafka_tower_core::error::transport;
use kafka_tower_core::unanswered::Unanswered;
use kafka_tower_core::{Error, ErrorKind, Persistence, Record, Scope, codes, text};

pub(crate) use kafka_tower_core::error::transport::{too_late, without_room_at_close};

use crate::net::address::Address;
use crate::net::error::ConnectionError;
use crate::net::handshake::ConnectError;
use crate::protocol::DecodeError;
use crate::protocol::api::Api;
use crate::protocol::versions::NoCommonVersion;
use crate::slot::Slot;

/// Whether a record may be in the log.
pub(crate) fn persistence(in_doubt: bool) -> Persistence {
    if in_doubt { Persistence::PossiblyPersisted } else { Persistence::NotPersisted }
}

/// Error of a record whose batch a broker refused with a code. `detail` is what the broker said of it.
pub(crate) fn refused(code: i16, detail: Option<&str>, in_doubt: bool, record: &Record, elapsed: Duration) -> Error {
    let persistence = persistence(in_doubt);
    let mut message = format!(
        "{}: {}",
        transport::outcome(&transport::destination(record), persistence),
        codes::describe(code.into())
    );
    if let Some(detail) = detail.filter(|detail| !detail.is_empty()) {
        message.push_str(": ");
        message.push_str(detail);
    }
    codes::error(code.into(), persistence, message).with_elapsed(elapsed)
}

/// The same, of a record that was refused itself and not because of its neighbours.
pub(crate) fn refused_itself(code: i16, detail: Option<&str>, record: &Record, elapsed: Duration) -> Error {
    let error = refused(code, detail, false, record, elapsed);
    let narrowed = transport::of_isolated(error);
    narrowed.with_scope(Scope::Record)
}

/// Error of a record that was sent without idempotence and has no answer: it must not be sent again.
pub(crate) fn unconfirmed(record: &Record, why: Option<&str>, elapsed: Duration) -> Error {
    let mut message = transport::outcome(&transport::destination(record), Persistence::PossiblyPersisted);
    message.push_str(": the connection ended before the broker had answered");
    if let Some(why) = why {
        message.push_str("; ");
        message.push_str(why);
    }
    Error::new(ErrorKind::Connection, message)
        .with_scope(Scope::Batch)
        .with_persistence(Persistence::PossiblyPersisted)
        .with_elapsed(elapsed)
        .with_help(
            "an idempotent producer (acks=all, enable.idempotence) sends such records again without writing them twice",
        )
}

/// Error of a record that was in doubt when its topic was deleted and made anew.
pub(crate) fn made_anew(record: &Record, elapsed: Duration) -> Error {
    let outcome = transport::outcome(&transport::destination(record), Persistence::PossiblyPersisted);
    Error::new(ErrorKind::UnknownTopicOrPartition, format!("{outcome}: the topic was deleted and made anew meanwhile"))
        .with_scope(Scope::Batch)
        .with_persistence(Persistence::PossiblyPersisted)
        .with_elapsed(elapsed)
}

/// Error of a record that a close, or the end of the runtime, gives up.
pub(crate) fn left(record: &Record, in_doubt: bool, why: Option<&str>) -> Error {
    let persistence = persistence(in_doubt);
    let mut message = transport::outcome(&transport::destination(record), persistence);
    message.push_str(": the transport was closed before it had an answer");
    if let Some(why) = why {
        message.push_str("; ");
        message.push_str(why);
    }
    Error::new(ErrorKind::Closed, message).with_persistence(persistence)
}

/// Error of a record that had no answer for too long.
pub(crate) fn overdue(record: &Record, bound: Duration, in_doubt: bool, why: Option<&str>) -> Error {
    transport::overdue(&record.topic, bound, persistence(in_doubt), why)
}

/// Error of a record whose deadline has passed.
pub(crate) fn expired(slot: &Slot, handed_over: bool, now: Instant, why: Option<&str>, throttled: bool) -> Error {
    let error = slot.time_out(handed_over, now, why);
    // For a record that was handed over, the slot adds the state that it was in.
    error.with_unanswered(Unanswered::new(None).with_throttled(throttled))
}

/// Error of a record whose deadline passed before it was sent.
pub(crate) fn expired_unsent(slot: &Slot, now: Instant, why: Option<&str>) -> Error {
    expired(slot, true, now, why, false).with_persistence(Persistence::NotPersisted)
}

/// Error of a record for a partition that its topic does not have.
pub(crate) fn unknown_partition(code: i16, record: &Record, partitions: usize, elapsed: Duration) -> Error {
    let error = refused(code, None, false, record, elapsed);
    let count = text::count(partitions, "partition");
    error.with_help(format!("{} has {count}, numbered from 0", record.topic))
}

/// Error of a record that no batch can take.
pub(crate) fn too_large(record: &Record, limit: usize) -> Error {
    let size = record.size();
    let text = format!(
        "a record of {size} bytes for {} is larger than the limit of a request, which is {limit} bytes",
        record.topic
    );
    Error::new(ErrorKind::RecordTooLarge, text).with_help("send a smaller record, or raise max_request_bytes")
}

/// Error of a call that is about no record.
fn connecting(kind: ErrorKind, text: String) -> Error {
    Error::new(kind, text).without_record()
}

/// Error of a setting that cannot be used. `text` says what to do.
pub(crate) fn config(text: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Config, text).without_record()
}

/// Never seen: the transport has no transactions.
pub(crate) fn no_transactions() -> Error {
    connecting(ErrorKind::Closed, "the transport has no transactions".to_owned())
}

/// Error of a connect whose task has ended.
pub(crate) fn task_ended() -> Error {
    connecting(ErrorKind::Connection, "cannot connect: the client's task has ended".to_owned())
        .with_help("build the runtime with its I/O and time (`enable_all`), and keep it alive")
}

/// Error of a connection that was not made.
pub(crate) fn not_connected(error: &ConnectError) -> Error {
    let kind = match error {
        ConnectError::Refused(_, code) => codes::find((*code).into()).map_or(ErrorKind::Connection, |facts| facts.kind),
        _ => ErrorKind::Connection,
    };
    let made = connecting(kind, format!("cannot connect: {error}"));
    match error.help() {
        Some(help) => made.with_help(help),
        None => made,
    }
}

/// Error of a question about the cluster that has no answer.
pub(crate) fn no_answer(error: &ConnectionError) -> Error {
    let made = connecting(ErrorKind::Connection, format!("cannot connect: {error}"));
    match error.help() {
        Some(help) => made.with_help(help),
        None => made,
    }
}

/// Error of a broker that is too old or too new.
pub(crate) fn versions(address: &Address, error: &NoCommonVersion) -> Error {
    connecting(ErrorKind::Connection, format!("cannot connect: {address}: {error}"))
}

/// Error of an answer about the cluster that cannot be read.
pub(crate) fn undecodable(api: Api, error: &DecodeError) -> Error {
    connecting(ErrorKind::Connection, format!("cannot connect: the answer to {} cannot be read: {error}", api.name()))
}

/// Error of a question about the cluster that was refused.
pub(crate) fn refused_question(what: &str, code: i16) -> Error {
    let message = format!("cannot connect: {what} failed: {}", codes::describe(code.into()));
    codes::error(code.into(), Persistence::NotPersisted, message).without_record()
}

/// Error of a connect whose time is over before anything else was known.
pub(crate) fn connect_timed_out(timeout: Duration, missing: &str, last: Option<&Error>) -> Error {
    let within = text::seconds(timeout);
    let Some(last) = last else {
        return connecting(ErrorKind::Connection, format!("cannot connect: {missing} within {within}"));
    };
    let cause = last.message().strip_prefix("cannot connect: ").unwrap_or(last.message());
    let error = connecting(last.kind(), format!("cannot connect within {within}: {cause}"))
        .with_recovery(last.recovery())
        .with_scope(last.scope())
        .with_error_type(last.error_type());
    error.with_help(last.help().to_owned())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use kafka_tower_test_texts::faults;

    use super::*;
    use crate::net::dial::DialError;
    use crate::net::error::Cause;

    fn assert_all(errors: impl IntoIterator<Item = Error>) {
        let faults: Vec<_> = errors.into_iter().flat_map(|error| faults(&error)).collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    fn codes() -> impl Iterator<Item = i16> {
        (-1..=134).filter(|code| *code != 0).chain([4_711])
    }

    #[test]
    fn texts_of_records_match_their_facts() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let why = Some("last broker error 0.4 s ago: broker-0:9092: no connection: 10.0.0.7:9092 refused it");
        for record in [Record::new("orders"), Record::new("orders").with_partition(1)] {
            for in_doubt in [false, true] {
                assert_all(codes().map(|code| refused(code, None, in_doubt, &record, second)));
                assert_all(
                    codes().map(|code| refused(code, Some("the broker's own words"), in_doubt, &record, second)),
                );
                assert_all([left(&record, in_doubt, why), overdue(&record, second, in_doubt, why)]);
            }
            assert_all(codes().map(|code| refused_itself(code, None, &record, second)));
            let slot = Slot::new(record.clone().with_given(second), now);
            assert_all([expired(&slot, false, now, why, false), expired_unsent(&slot, now, why)]);
            assert_all([unconfirmed(&record, why, second), made_anew(&record, second)]);
            assert_all([unknown_partition(3, &record, 3, second), too_large(&record, 1_000)]);
        }
    }

    #[test]
    fn texts_of_connecting_match_their_facts() {
        let address = Address { host: "kafka-1".to_owned(), port: 9092 };
        let refused: Arc<io::Error> = Arc::new(io::ErrorKind::ConnectionRefused.into());
        let dial = DialError::Connect(vec![(([10, 0, 0, 7], 9092).into(), refused)]);
        let not_made = [
            ConnectError::Dial(address.clone(), dial),
            ConnectError::Dial(address.clone(), DialError::NameTimedOut),
            ConnectError::Refused("kafka-1:9092".into(), 31),
        ];
        assert_all(not_made.iter().map(not_connected));
        let cause = Cause::Closed { answers: 0, partial: false };
        assert_all([no_answer(&ConnectionError { peer: "kafka-1:9092".into(), cause })]);
        assert_all([undecodable(Api::Metadata, &DecodeError::Truncated)]);
        assert_all(codes().map(|code| refused_question("Metadata", code)));
        assert_all([task_ended(), no_transactions(), config("batch_bytes is 0: set it to at least 1")]);
        let last = not_connected(&not_made[0]);
        let errors =
            [None, Some(&last)].map(|last| connect_timed_out(Duration::from_secs(10), "no broker answered", last));
        assert_eq!(
            errors[1].message(),
            "cannot connect within 10 s: kafka-1:9092: no connection: 10.0.0.7:9092 refused it"
        );
        assert_all(errors);
    }
}
