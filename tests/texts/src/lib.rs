//! Checks that the text of an error matches its facts.
//!
//! Each crate that makes errors runs its constructors through [`assert_consistent`].

use std::error::Error as StdError;

use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery};

/// Phrases that say that the record is not in the log, or that the transaction is not committed.
const SURELY_NOT: [&str; 8] = [
    "not committed",
    "not written",
    "not sent",
    "never sent",
    "not delivered to",
    "before it was sent",
    "was refused before",
    "nothing was",
];
/// Phrases that leave it open.
const PERHAPS: [&str; 6] =
    ["may have been", "may be visible", "not known whether", "not confirmed", "in doubt", "still in flight"];
/// Phrases that ask to send the same record again.
const AGAIN: [&str; 4] = ["send it again", "send the record again", "sends it again", "replay"];
/// Conditions under which sending again does no harm.
const CONDITIONS: [&str; 7] = ["only", "unless", "twice", "read ", "duplicate", "abort", "next transaction"];

/// Returns the faults in an error's texts. Empty if there is none.
#[must_use]
pub fn faults(error: &Error) -> Vec<String> {
    let (message, help) = (error.message(), error.help());
    let mut faults = Vec::new();
    let mut fault = |is: bool, what: &str| {
        if is {
            faults.push(format!("{what}: {error:#}"));
        }
    };
    let has = |text: &str, any: &[&str]| any.iter().any(|one| text.contains(one));

    // A time-out only says that there was no answer in that time.
    let timed = message.contains("not delivered to") && (message.contains(" within ") || message.contains("in time"));
    // The last attempt describes itself; the text says what the persistence refers to.
    let doubted = message.starts_with("an earlier ");
    let surely_not = has(message, &SURELY_NOT) && !timed && !doubted || has(help, &["was not sent"]);
    fault(error.may_be_written() && surely_not, "the text says no, the persistence maybe");
    let perhaps = has(message, &PERHAPS) || has(help, &PERHAPS);
    fault(error.persistence() == Persistence::NotPersisted && perhaps, "the text says maybe, the persistence no");
    let careless = has(help, &AGAIN) && !has(help, &CONDITIONS);
    fault(error.may_be_written() && careless, "the help writes the record a second time");
    let waits = has(help, &["try again", "later", "call it again", "same call again"]);
    fault(error.recovery() == Recovery::Fatal && waits, "the help goes on with a producer that has ended");
    let retries = has(help, &["try again", "call it again", "same call again"]);
    fault(error.recovery() == Recovery::Reject && retries, "the help tries what does not help");

    let of_record = error.to_string().contains(&format!(" ({})", error.persistence()));
    let resends = has(help, &["sent again", "send it again", "send the record", "send again"]);
    // Errors of these kinds always concern records, and their texts say so.
    let about_records = matches!(error.kind(), ErrorKind::Rejected | ErrorKind::RecordTooLarge);
    fault(!of_record && !about_records && resends, "the help sends a record, and the error concerns none");

    fault(message.trim().is_empty(), "no message");
    fault(help.trim().is_empty(), "no help");
    fault(message.ends_with(['.', ':', ';', ' ']), "the message does not end with a word");
    fault(message.contains("[help") || help.contains("[help"), "the help of another error");
    fault(message.contains('\n') || help.contains('\n'), "more than one line");
    let own = help.split([';', ',']).map(str::trim).filter(|part| part.len() > 12);
    fault(own.into_iter().any(|part| message.contains(part)), "the help repeats the message");
    fault(message.contains(" within 0 ms") || message.contains(" after 0 ms"), "a time that says nothing");
    let numbers = has(&format!(" {message}"), &[" 1 records", " 1 sends", " 1 attempts", " 1 partitions"]);
    fault(numbers, "a number against its noun");
    fault(help.contains("sasl.mechanisms"), "a property by a name that few write");

    // Nothing is repeated along the chain of causes.
    let mut said = vec![message.to_owned()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        let repeated = !text.is_empty() && said.iter().any(|said| said.contains(&text) || text.contains(said.as_str()));
        fault(repeated, "a cause twice");
        fault(has(&text, &["[help", "(not written)", "(may have been written)"]), "a cause with facts of its own");
        said.push(text);
        cause = error.source();
    }
    faults
}

/// Panics with the faults in an error's texts.
///
/// # Panics
///
/// If [`faults`] finds any.
#[track_caller]
pub fn assert_consistent(error: &Error) {
    let faults = faults(error);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Prints a chain of errors as `anyhow` and `eyre` do with `{:#}`: each error's own text.
#[must_use]
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let rest = error.source().map(|source| format!(": {}", chain(source))).unwrap_or_default();
    format!("{error}{rest}")
}

/// Panics if an error with its causes does not say once what to do.
///
/// # Panics
///
/// If there is no help, or more than one.
#[track_caller]
pub fn assert_helped_once(error: &(dyn StdError + 'static)) {
    let (chain, own) = (chain(error), format!("{error:#}"));
    assert_eq!(chain.matches("[help: ").count(), 1, "{chain}");
    // An error may leave the help to its cause.
    assert!(own.matches("[help: ").count() <= 1, "{own}");
}

/// All kinds.
pub const KINDS: [ErrorKind; 20] = [
    ErrorKind::Config,
    ErrorKind::Serialization,
    ErrorKind::InvalidRecord,
    ErrorKind::RecordTooLarge,
    ErrorKind::Rejected,
    ErrorKind::UnknownTopicOrPartition,
    ErrorKind::Authorization,
    ErrorKind::Authentication,
    ErrorKind::Connection,
    ErrorKind::Timeout,
    ErrorKind::Broker,
    ErrorKind::Throttled,
    ErrorKind::CircuitOpen,
    ErrorKind::Overloaded,
    ErrorKind::Closed,
    ErrorKind::Fenced,
    ErrorKind::Transaction,
    ErrorKind::Fatal,
    ErrorKind::Refused,
    ErrorKind::Unknown,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts that would contradict the error's facts.
    #[test]
    fn planted_faults_are_found() {
        let maybe = |text: &'static str| {
            Error::new(ErrorKind::Transaction, text).with_persistence(Persistence::PossiblyPersisted)
        };
        let no = |text: &'static str| Error::new(ErrorKind::Timeout, text).with_persistence(Persistence::NotPersisted);
        for bad in [
            maybe("the transaction was not committed"),
            maybe("not sent to orders"),
            maybe("not delivered to orders: the connection failed"),
            maybe("x").with_help("send it again"),
            no("it is not known whether the transaction was committed"),
            no("not delivered to orders within 0 ms"),
            no("x").with_help(""),
            no("1 records were late"),
            no("x").with_help("check sasl.mechanisms"),
            no("no").with_recovery(Recovery::Fatal).with_help("try again"),
            no("not today: the disk is full").with_source("the disk is full"),
            no("allow more time"),
            maybe("x").without_record().with_help("send it again in the next transaction"),
        ] {
            let bad = if bad.message() == "allow more time" { bad.with_help("allow more time") } else { bad };
            assert!(!faults(&bad).is_empty(), "{bad:#}");
        }
    }

    #[test]
    fn every_kind_has_a_help_that_agrees_with_recovery_and_persistence() {
        let mut faulty = Vec::new();
        for kind in KINDS {
            for persistence in [Persistence::NotPersisted, Persistence::PossiblyPersisted, Persistence::Persisted] {
                for recovery in
                    [Recovery::Retry, Recovery::Wait, Recovery::AbortTransaction, Recovery::Fatal, Recovery::Reject]
                {
                    let error = Error::new(kind, "x").with_persistence(persistence).with_recovery(recovery);
                    let of_call = error.clone().without_record();
                    let all = faults(&error).into_iter().chain(faults(&of_call));
                    faulty.extend(all.map(|fault| format!("{kind} {recovery:?}: {fault}")));
                }
            }
        }
        assert!(faulty.is_empty(), "{}", faulty.join("\n"));
    }
}
