use std::error::Error as StdError;
use std::fmt;

use kafka_tower_core::text::count;
use kafka_tower_core::{CloseReport, Error, ErrorKind, Persistence, Result, TransactionEnd, UnansweredSend};

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
    closed: Closed,
    /// Why the close itself failed, or the error of the first undelivered record.
    cause: Option<Error>,
}

/// How a sink was closed: the transport's report, and the sends that the transport does not know.
#[derive(Default)]
pub(super) struct Closed {
    pub(super) report: CloseReport,
    /// Number of sends without an outcome whose record the transport did not have.
    pub(super) unfinished: u64,
    /// Details of these sends, as far as they are known.
    pub(super) unanswered: Vec<UnansweredSend>,
}

impl Closed {
    fn is_complete(&self) -> bool {
        self.report.is_complete() && self.unfinished == 0
    }
}

impl CloseError {
    pub(super) fn check(closed: Result<Closed>) -> Result<(), Self> {
        let (closed, cause) = match closed {
            Ok(closed) if closed.is_complete() => return Ok(()),
            Ok(closed) => {
                let report = &closed.report;
                let of_records = report.undelivered.first().map(|undelivered| &undelivered.error);
                let of_transaction = match &report.transaction {
                    Some(TransactionEnd::Unknown(error)) => Some(error),
                    _ => None,
                };
                let cause = of_records.or(of_transaction).cloned();
                (closed, cause)
            }
            Err(error) => (Closed::default(), Some(error)),
        };
        Err(Self(Box::new(Inner { closed, cause })))
    }

    /// How each record ended that the transport had.
    pub fn report(&self) -> &CloseReport {
        &self.0.closed.report
    }

    /// Number of sends that had no outcome when the time was over and whose record the transport did not have: they were
    /// backing off, waiting for a serializer, or held by a layer such as tower's `Buffer`.
    ///
    /// Their callers get the outcome if they keep polling. A record that such a layer has handed over since then also
    /// counts in the [`report`](Self::report). The number includes sends that had failed and were not polled since.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.0.closed.unfinished
    }

    /// Details of the [`unfinished`](Self::unfinished) sends, as far as they are known.
    #[must_use]
    pub fn unanswered(&self) -> &[UnansweredSend] {
        &self.0.closed.unanswered
    }

    /// Why the close itself failed, or the error of the first undelivered record.
    pub(crate) fn cause(&self) -> Option<&Error> {
        self.0.cause.as_ref()
    }

    /// Returns how each record ended, with the undelivered records themselves.
    pub fn into_report(self) -> CloseReport {
        self.0.closed.report
    }
}

/// Maximum number of sends that `Debug` lists.
const SHOWN: usize = 3;

impl fmt::Debug for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("CloseError");
        let Inner { closed, cause } = &*self.0;
        if closed.is_complete() {
            text.field("cause", cause);
        } else {
            text.field("report", &closed.report);
        }
        if closed.unfinished > 0 {
            text.field("unfinished", &closed.unfinished);
        }
        if !closed.unanswered.is_empty() {
            text.field("unanswered", &closed.unanswered.iter().take(SHOWN).collect::<Vec<_>>());
        }
        text.finish()
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Closed { report, unfinished, .. } = &self.0.closed;
        if self.0.closed.is_complete() {
            return f.write_str("the sink could not be closed");
        }
        write!(f, "the sink was closed with records in flight (see `into_report`): {report}")?;
        match unfinished {
            0 => Ok(()),
            sends => write!(f, "; {} without an answer", count(*sends as usize, "send")),
        }
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
        let Inner { closed, cause } = *error.0;
        match cause {
            Some(cause) if closed.is_complete() => cause,
            cause => {
                let error = incomplete(&closed);
                match cause {
                    Some(first) => error.with_source(first),
                    None => error,
                }
            }
        }
    }
}

/// Error of a close that did not deliver everything.
fn incomplete(closed: &Closed) -> Error {
    let Closed { report, unfinished, .. } = closed;
    let transaction = match &report.transaction {
        Some(TransactionEnd::Unknown(error)) => Some(error),
        _ => None,
    };
    // An earlier attempt of a send without an answer may have been written.
    let in_doubt = report.unknown > 0 || *unfinished > 0 || transaction.is_some_and(Error::may_be_written);
    let counts = [(report.failed, "failed"), (report.unknown, "in doubt"), (*unfinished, "without an answer")];
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
    use kafka_tower_test_texts::{assert_consistent, assert_helped_once};

    use super::*;

    fn closed(report: CloseReport) -> Closed {
        Closed { report, ..Closed::default() }
    }

    fn incomplete() -> CloseError {
        let mut report = CloseReport::default();
        report.count(Record::new("orders"), &Ok(()));
        report.count(Record::new("orders"), &Err::<(), _>(Error::new(ErrorKind::Connection, "cut")));
        CloseError::check(Ok(closed(report))).unwrap_err()
    }

    #[test]
    fn a_complete_close_is_not_an_error() {
        let mut report = CloseReport::default();
        report.count(Record::new("orders"), &Ok(()));
        assert!(CloseError::check(Ok(closed(report))).is_ok());
    }

    #[test]
    fn an_incomplete_close_reports_counts_cause_and_records() {
        let error = incomplete();
        assert_helped_once(&error);
        assert_eq!(
            error.to_string(),
            "the sink was closed with records in flight (see `into_report`): 1 delivered, 0 not written, 1 may have \
             been written"
        );
        let source = error.source().unwrap().to_string();
        assert!(source.starts_with("cut (may have been written) [help: "), "{source}");
        assert_eq!(
            format!("{error:?}"),
            "CloseError { report: CloseReport { delivered: 1, failed: 0, unknown: 1, undelivered: \
             [\"orders: cut (may have been written)\"] } }"
        );
        assert_eq!(error.into_report().undelivered.len(), 1);
    }

    #[test]
    fn sends_without_an_answer_are_in_all_texts() {
        let unanswered = vec![UnansweredSend::new(Some("orders".into()), Some("secret".into()))];
        let closed = |unfinished| {
            let mut report = CloseReport::default();
            report.transaction = Some(TransactionEnd::Aborted);
            Closed { report, unfinished, unanswered: unanswered.clone() }
        };
        let error = CloseError::check(Ok(closed(2))).unwrap_err();
        assert_eq!((error.unfinished(), error.unanswered().len()), (2, 1));
        assert_eq!(
            error.to_string(),
            "the sink was closed with records in flight (see `into_report`): 0 delivered, 0 not written, 0 may have been \
             written; the open transaction was aborted; 2 sends without an answer"
        );
        assert_eq!(
            format!("{error:?}"),
            "CloseError { report: CloseReport { delivered: 0, failed: 0, unknown: 0, transaction: Aborted, undelivered: \
             [] }, unfinished: 2, unanswered: [UnansweredSend { topic: Some(\"orders\"), key_bytes: Some(6) }] }"
        );
        assert_eq!(Error::from(error).message(), "the sink was closed with undelivered records: 2 without an answer");
        assert!(CloseError::check(Ok(closed(0))).is_ok(), "details alone are no unfinished send");
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
                report.transaction = end.map(|fate| TransactionEnd::Unknown(failed(fate)));
                let in_doubt = in_doubt + unfinished > 0 || end == Some(Persistence::PossiblyPersisted);
                let Err(error) = CloseError::check(Ok(Closed { unfinished, ..closed(report) })) else { continue };
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
        assert_helped_once(&failed);
        assert_eq!(Error::from(failed).kind(), ErrorKind::Fatal);
    }
}
