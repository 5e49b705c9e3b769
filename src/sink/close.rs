use std::error::Error as StdError;
use std::fmt;

use kafka_tower_core::{CloseReport, Error, ErrorKind, Persistence, Result, TransactionEnd};

/// Error of a [`close`](super::KafkaSink::close) that did not deliver everything.
///
/// It holds the records that were not delivered, so that you can store them or send them by other means:
///
/// ```
/// # async fn example(sink: kafka_tower::KafkaSink<String>) {
/// if let Err(error) = sink.close().await {
///     for undelivered in error.into_report().undelivered {
///         eprintln!("{:?}: {}", undelivered.record.key, undelivered.error);
///     }
/// }
/// # }
/// ```
///
/// Its `Debug`, which `main` prints, is one line: the counts and the first few errors, without the records.
pub struct CloseError(Box<Inner>);

struct Inner {
    report: CloseReport,
    /// Why the close itself failed, or the error of the first undelivered record.
    cause: Option<Error>,
}

impl CloseError {
    pub(super) fn check(closed: Result<CloseReport>) -> Result<(), Self> {
        let (report, cause) = match closed {
            Ok(report) if report.is_complete() => return Ok(()),
            Ok(report) => {
                let of_records = report.undelivered.first().map(|undelivered| &undelivered.error);
                let of_transaction = match &report.transaction {
                    Some(TransactionEnd::Unknown(error)) => Some(error),
                    _ => None,
                };
                let cause = of_records.or(of_transaction).cloned();
                (report, cause)
            }
            Err(error) => (CloseReport::default(), Some(error)),
        };
        Err(Self(Box::new(Inner { report, cause })))
    }

    /// How each record ended.
    pub fn report(&self) -> &CloseReport {
        &self.0.report
    }

    /// Returns how each record ended, with the undelivered records themselves.
    pub fn into_report(self) -> CloseReport {
        self.0.report
    }
}

impl fmt::Debug for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("CloseError");
        if self.0.report.is_complete() {
            text.field("cause", &self.0.cause);
        } else {
            text.field("report", &self.0.report);
        }
        text.finish()
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.report.is_complete() {
            return f.write_str("the sink could not be closed");
        }
        write!(f, "the sink was closed with records in flight (see `into_report`): {}", self.0.report)
    }
}

impl StdError for CloseError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_ref().map(|cause| cause as _)
    }
}

/// Discards the records; [`CloseError::into_report`] returns them.
impl From<CloseError> for Error {
    fn from(error: CloseError) -> Self {
        let Inner { report, cause } = *error.0;
        match cause {
            Some(cause) if report.is_complete() => cause,
            cause => {
                let error = incomplete(&report);
                match cause {
                    Some(first) => error.with_source(first),
                    None => error,
                }
            }
        }
    }
}

/// Error of a close that did not deliver everything.
fn incomplete(report: &CloseReport) -> Error {
    let transaction = match &report.transaction {
        Some(TransactionEnd::Unknown(error)) => Some(error),
        _ => None,
    };
    // An earlier attempt of a send without an answer may have been written.
    let in_doubt = report.unknown > 0 || report.unfinished > 0 || transaction.is_some_and(Error::may_be_written);
    let counts = [(report.failed, "failed"), (report.unknown, "in doubt"), (report.unfinished, "without an answer")];
    let counts: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let text = if counts.is_empty() {
        "the sink was closed before the outcome of its transaction was known".to_owned()
    } else {
        format!("the sink was closed with undelivered records: {}", counts.join(", "))
    };
    let help = match (counts.is_empty(), transaction) {
        (true, Some(error)) => error.help().to_owned(),
        _ => "take the records from `CloseError::into_report`; give `close_within` more time".to_owned(),
    };
    let persistence = if in_doubt { Persistence::PossiblyPersisted } else { Persistence::NotPersisted };
    Error::new(ErrorKind::Closed, text).with_persistence(persistence).with_help(help)
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::Record;
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    fn incomplete() -> CloseError {
        let mut report = CloseReport::default();
        report.count(Record::new("orders"), &Ok(()));
        report.count(Record::new("orders"), &Err::<(), _>(Error::new(ErrorKind::Connection, "cut")));
        CloseError::check(Ok(report)).unwrap_err()
    }

    #[test]
    fn a_complete_close_is_not_an_error() {
        let mut report = CloseReport::default();
        report.count(Record::new("orders"), &Ok(()));
        assert!(CloseError::check(Ok(report)).is_ok());
    }

    #[test]
    fn an_incomplete_close_reports_counts_cause_and_records() {
        let error = incomplete();
        assert_eq!(
            error.to_string(),
            "the sink was closed with records in flight (see `into_report`): 1 delivered, 0 not written, 1 may have \
             been written"
        );
        let source = error.source().unwrap().to_string();
        assert!(source.starts_with("cut (may have been written) [help: "), "{source}");
        assert_eq!(
            format!("{error:?}"),
            "CloseError { report: CloseReport { delivered: 1, failed: 0, unknown: 1, unfinished: 0, \
             undelivered: [\"orders: cut (may have been written)\"] } }"
        );
        assert_eq!(error.into_report().undelivered.len(), 1);
    }

    #[test]
    fn converted_into_error_its_text_matches_its_facts() {
        let failed = |persistence| Error::new(ErrorKind::Connection, "cut").with_persistence(persistence);
        for (unwritten, in_doubt, unfinished) in [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (2, 2, 2), (0, 0, 0)] {
            for end in [None, Some(Persistence::NotPersisted), Some(Persistence::PossiblyPersisted)] {
                let mut report = CloseReport::default();
                let fates = [(unwritten, Persistence::NotPersisted), (in_doubt, Persistence::PossiblyPersisted)];
                for (count, fate) in fates {
                    (0..count).for_each(|_| report.count(Record::new("orders"), &Err::<(), _>(failed(fate))));
                }
                report.unfinished = unfinished;
                report.transaction = end.map(|fate| TransactionEnd::Unknown(failed(fate)));
                let in_doubt = in_doubt + unfinished > 0 || end == Some(Persistence::PossiblyPersisted);
                let Err(error) = CloseError::check(Ok(report)) else { continue };
                let error = Error::from(error);
                assert_consistent(&error);
                assert_eq!(error.may_be_written(), in_doubt, "{error}");
            }
        }
    }

    #[test]
    fn converted_into_error_it_says_whether_records_may_be_in_the_log() {
        let error = Error::from(incomplete());
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Closed, Persistence::PossiblyPersisted));
        assert_eq!(error.message_with_causes(), "the sink was closed with undelivered records: 1 in doubt: cut");
        let failed = CloseError::check(Err(Error::new(ErrorKind::Fatal, "gone"))).unwrap_err();
        assert_eq!(failed.to_string(), "the sink could not be closed");
        assert_eq!(Error::from(failed).kind(), ErrorKind::Fatal);
    }
}
