//! From a code and a status to an [`Error`] that says what happened, what to do and where the record is.

use std::time::{Duration, Instant};

use kafka_tower_core::unanswered::Unanswered;
use kafka_tower_core::{Error, ErrorKind, Persistence, Record, Recovery, Scope};

use crate::causes::{Ago, Cause};
use crate::codes::{Fate, row_of};

/// `RD_KAFKA_MSG_STATUS_…` of `rdkafka.h`.
const NOT_PERSISTED: i32 = 0;
const PERSISTED: i32 = 2;

/// Where the record is, by the code and librdkafka's status. An unknown code, or status, is a "nobody knows".
pub(crate) fn persistence(code: i32, status: i32) -> Persistence {
    match row_of(code).map_or(Fate::Unknown, |row| row.fate) {
        Fate::Persisted => Persistence::Persisted,
        Fate::Told if status == NOT_PERSISTED => Persistence::NotPersisted,
        Fate::Told | Fate::Unknown if status == PERSISTED => Persistence::Persisted,
        Fate::Told | Fate::Unknown => Persistence::PossiblyPersisted,
    }
}

/// Where a record is whose report has no error: with `acks=0` it was only written to a socket.
pub(crate) fn acknowledged(status: i32) -> Persistence {
    if status == PERSISTED { Persistence::Persisted } else { Persistence::PossiblyPersisted }
}

/// The error of a code, without a record.
pub(crate) fn client_error(code: i32, what: &str, text: Option<&str>) -> Error {
    let error = match row_of(code) {
        Some(row) => {
            let error = Error::new(
                row.class.kind,
                format!("{what}: {} ({})", text.map_or_else(|| row.text(), str::to_owned), row.name),
            )
            .with_recovery(row.class.recovery)
            .with_scope(row.scope)
            .with_error_type(row.name);
            match row.class.help {
                Some(help) => error.with_help(help),
                None => error,
            }
        }
        None => Error::new(
            ErrorKind::Unknown,
            format!(
                "{what}: code {code}, which Kafka 4.3.1 does not have{}",
                text.map(|t| format!(": {t}")).unwrap_or_default()
            ),
        )
        .with_recovery(Recovery::Retry)
        .with_scope(Scope::Batch)
        .with_help("look the code up in the broker's documentation; a newer client may know it"),
    };
    error.with_persistence(Persistence::NotPersisted)
}

/// The error of a record that was refused or reported with a code.
pub(crate) fn record_error(code: i32, status: i32, record: &Record, elapsed: Duration) -> Error {
    let what = match record.partition {
        Some(partition) => format!("not delivered to {}[{partition}]", record.topic),
        None => format!("not delivered to {}", record.topic),
    };
    let persistence = persistence(code, status);
    let error = client_error(code, &what, None).with_persistence(persistence).with_elapsed(elapsed);
    if !record.isolated || error.scope() != Scope::Batch {
        return error;
    }
    // Alone in its batch, it is itself what was refused.
    let help = match error.kind() {
        ErrorKind::RecordTooLarge => "send less in one record, or raise max.message.bytes of the topic",
        _ => "correct the record: its key or its time stamp is against the topic's rules",
    };
    error.with_scope(Scope::Record).with_help(help)
}

/// Time is up for a record; `handed_over` says whether librdkafka has it.
pub(crate) fn expired(
    record: &Record,
    handed_over: bool,
    called_at: Instant,
    now: Instant,
    cause: Option<&Cause>,
) -> Error {
    let elapsed = now.saturating_duration_since(called_at);
    // What it was given, and not what the sweep took on top of it.
    let given = record.expires_at.map_or(elapsed, |at| at.saturating_duration_since(called_at));
    let mut text = format!("not delivered to {} within {}", record.topic, seconds(given));
    if !handed_over {
        text.push_str(": there was no room for it");
    }
    if let Some(cause) = cause {
        text.push_str(&format!("; {}", Ago(cause, now)));
    }
    let error = Error::new(ErrorKind::Timeout, text).with_elapsed(elapsed);
    if handed_over {
        error.with_persistence(Persistence::PossiblyPersisted)
    } else {
        error.with_persistence(Persistence::NotPersisted).with_unanswered(Unanswered::new(None))
    }
}

/// "30 s", "1.5 s", "80 ms".
pub(crate) fn seconds(duration: Duration) -> String {
    let millis = (duration.as_micros() + 500) / 1_000;
    if millis < 1_000 {
        return format!("{millis} ms");
    }
    let tenths = (millis + 50) / 100;
    if tenths % 10 == 0 { format!("{} s", tenths / 10) } else { format!("{}.{} s", tenths / 10, tenths % 10) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(code: i32, status: i32) -> Error {
        record_error(code, status, &Record::new("t"), Duration::ZERO)
    }

    #[test]
    fn guesses_of_librdkafka_are_not_believed() {
        for code in [-1, 3, 6, 13, 20, 56, 120, 131, 200, 32_767, -152, -169] {
            assert_eq!(error(code, NOT_PERSISTED).persistence(), Persistence::PossiblyPersisted, "{code}");
        }
        for code in [10, 29, 32, 87, -190] {
            assert_eq!(error(code, NOT_PERSISTED).persistence(), Persistence::NotPersisted, "{code}");
        }
    }

    #[test]
    fn refusals_of_a_batch_say_so_until_the_record_was_alone() {
        for code in [10, 32, 87] {
            assert_eq!(error(code, NOT_PERSISTED).scope(), Scope::Batch, "{code}");
            let mut alone = Record::new("t");
            alone.isolated = true;
            assert_eq!(record_error(code, NOT_PERSISTED, &alone, Duration::ZERO).scope(), Scope::Record, "{code}");
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
            "not delivered to t: code 200, which Kafka 4.3.1 does not have"
        );
    }

    #[test]
    fn a_time_out_names_its_cause() {
        let mut causes = crate::causes::Causes::default();
        let start = Instant::now();
        let (seen, now) = (start + Duration::from_millis(29_600), start + Duration::from_secs(30));
        causes.push(-195, "Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)", seen);
        let error = expired(&Record::new("t"), true, start, now, causes.latest(now));
        assert_eq!(
            error.message(),
            "not delivered to t within 30 s; last broker error 0.4 s ago: Connect to ipv4#127.0.0.1:1 failed: \
             Connection refused"
        );
    }

    proptest! {
        /// Whatever a broker says: a typed error, and never a "not written" that is a guess.
        #[test]
        fn every_code_has_an_answer(code in any::<i32>(), status in -1..5) {
            let error = error(code, status);
            prop_assert!(!error.message().is_empty());
            if row_of(code).is_none() {
                prop_assert!(error.persistence() != Persistence::NotPersisted);
            }
        }
    }
}
