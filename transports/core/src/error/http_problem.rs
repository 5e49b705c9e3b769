//! How an HTTP service answers a request whose send failed.

use std::time::Duration;

use super::{Error, ErrorKind, Persistence, Recovery, Scope};

/// Answer of an HTTP service to a request whose send failed: status, `Retry-After` and body of a problem document
/// ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)). A pure value, for any web framework.
///
/// | error | status | the caller |
/// |---|---|---|
/// | the record may be in the log, whatever else is known | 504 | learns from `persistence` whether it is; a repeated request may write it twice |
/// | the record is too large | 413 | must send less |
/// | this message can never be delivered (`Reject`, of a record or its batch) | 422 | must not repeat it |
/// | not written, and it may be later (`Retry`, `Wait`, `AbortTransaction`), or the sink was closed | 503 | may repeat it, after `Retry-After` if that is known |
/// | not written, and the service needs its operator: rights, credentials, a missing topic | 500 | can do nothing |
///
/// So every status but 504 says that the record is not in the log. A throttled client is no 429: it is the service that
/// Kafka throttles, and not its caller.
///
/// The body has no text of the error. [`Error::message`] names topics and brokers, its causes may quote parts of the record,
/// and the texts of Kafka's client and of foreign layers are not ours to judge. All texts here are fixed, so nothing can
/// leak. Log the error, and show your caller more only where you know the text, for example that of your own
/// [`Error::refused`].
///
/// ```
/// use std::time::Duration;
/// use kafka_tower_core::error::HttpProblem;
/// use kafka_tower_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::CircuitOpen, "open: 10.0.0.7:9092 is down").with_retry_after(Duration::from_millis(2_400));
/// let problem = HttpProblem::of(&error);
/// assert_eq!((problem.status(), problem.retry_after()), (503, Some(3)));
/// assert_eq!(
///     problem.to_json(),
///     r#"{"title":"Service Unavailable","status":503,"detail":"The message was not written. The request can be repeated later.","persistence":"not_persisted","recovery":"wait"}"#
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpProblem {
    status: u16,
    persistence: Persistence,
    recovery: Recovery,
    /// In seconds.
    retry_after: Option<u64>,
}

impl HttpProblem {
    /// The media type of [`to_json`](Self::to_json).
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// Decides how to answer.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        let status = status(error);
        // Only where a repeated request cannot write the record twice.
        let retry_after = error.retry_after().filter(|_| status == 503).map(whole_seconds);
        Self { status, persistence: error.persistence(), recovery: error.recovery(), retry_after }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Value of the header `Retry-After` in seconds, if it is known: rounded up, at least 1.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    /// The status in words, as RFC 9457 asks of a problem without a `type` of its own.
    #[must_use]
    pub fn title(&self) -> &'static str {
        match self.status {
            413 => "Content Too Large",
            422 => "Unprocessable Content",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            _ => "Internal Server Error",
        }
    }

    /// What happened to the message, in one or two fixed sentences.
    #[must_use]
    pub fn detail(&self) -> &'static str {
        match (self.status, self.persistence) {
            (_, Persistence::Persisted) => "The message was written. Do not repeat the request.",
            (_, Persistence::PossiblyPersisted) => {
                "It is not known whether the message was written. A repeated request may write it twice."
            }
            (413, _) => "The message is too large. It was not written.",
            (422, _) => "The message cannot be accepted. It was not written, and to repeat the request does not help.",
            (503, _) => "The message was not written. The request can be repeated later.",
            _ => "The message was not written. The service has a fault that its operator has to correct.",
        }
    }

    /// The problem document: `title`, `status`, `detail`, `persistence` and `recovery`.
    #[must_use]
    pub fn to_json(&self) -> String {
        // No text needs escaping: all are fixed.
        format!(
            r#"{{"title":"{}","status":{},"detail":"{}","persistence":"{}","recovery":"{}"}}"#,
            self.title(),
            self.status,
            self.detail(),
            self.persistence.as_str(),
            self.recovery.as_str()
        )
    }
}

fn status(error: &Error) -> u16 {
    match (error.kind(), error.recovery(), error.scope()) {
        _ if error.may_be_written() => 504,
        (ErrorKind::RecordTooLarge, ..) => 413,
        (_, Recovery::Reject, Scope::Record | Scope::Batch) => 422,
        // Another instance of the service may have a sink that is open.
        (ErrorKind::Closed, ..) | (_, Recovery::Wait | Recovery::Retry | Recovery::AbortTransaction, _) => 503,
        _ => 500,
    }
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).max(1)
}
