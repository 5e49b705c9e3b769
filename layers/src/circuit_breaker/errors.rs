//! Errors of calls that the breaker rejects.

use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Error, ErrorKind};

use super::state::Refusal;

pub(super) fn refused(refusal: Refusal, last_failure: Option<&Failure>) -> Error {
    let mut text = match refusal {
        Refusal::Open { failures: 0, .. } => "the circuit breaker is open again after a probe failed".to_owned(),
        Refusal::Open { failures: 1, .. } => "the circuit breaker is open after 1 failure".to_owned(),
        Refusal::Open { failures, .. } => format!("the circuit breaker is open after {failures} failures"),
        Refusal::Probing => "the circuit breaker is half-open and its probes are in flight".to_owned(),
        Refusal::Forced => {
            return Error::new(ErrorKind::CircuitOpen, "the circuit breaker was forced open")
                .with_help("reset the circuit breaker through its handle");
        }
    };
    let left = match refusal {
        Refusal::Open { half_open_in, .. } => half_open_in,
        _ => None,
    };
    if let Some(left) = left {
        text.push_str(&format!("; half-open in {}", seconds(left)));
    }
    if let Some(failure) = last_failure {
        text.push_str("; last failure: ");
        text.push_str(&failure.text);
    }
    let error = Error::new(ErrorKind::CircuitOpen, text);
    match left {
        Some(left) => error.with_retry_after(left),
        None => error,
    }
}

/// The breaker was open when the handle was polled, so no room was requested from the service below.
pub(super) fn not_ready() -> Error {
    Error::new(ErrorKind::CircuitOpen, "the circuit breaker was open when this handle was polled for readiness")
        .with_help("call `poll_ready` again before the next call")
}

/// Description of the last failure in one line, without persistence, which applied to that record only.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error_type: &'static str,
    /// For callers.
    text: String,
    /// For logs: without the cause, into which a foreign layer may write parts of the record.
    pub(super) logged: String,
}

pub(super) fn failure(error: &Error) -> Arc<Failure> {
    let (text, logged) = (error.message_with_causes(), error.message().to_owned());
    Arc::new(Failure { error_type: error.error_type(), text, logged })
}

/// Describes a send whose caller dropped the future before the outcome was known.
pub(super) fn abandoned(waited: Duration) -> Arc<Failure> {
    let logged = format!("the future of a send was dropped after {} without an answer", seconds(waited));
    Arc::new(Failure { error_type: ErrorKind::Timeout.as_str(), text: logged.clone(), logged })
}

/// Formats a duration as "12.3 s".
fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    #[test]
    fn all_texts_agree_with_their_facts() {
        let last = failure(&Error::new(ErrorKind::Connection, "cut").with_source("reset by peer"));
        for last in [None, Some(&*last)] {
            for failures in [0, 1, 5] {
                for half_open_in in [None, Some(Duration::from_millis(40))] {
                    assert_consistent(&refused(Refusal::Open { failures, half_open_in }, last));
                }
            }
            assert_consistent(&refused(Refusal::Probing, last));
            assert_consistent(&refused(Refusal::Forced, last));
        }
        assert_consistent(&not_ready());
    }

    #[test]
    fn only_the_end_of_the_open_time_is_a_time_to_try_again() {
        let left = Duration::from_millis(2_400);
        let after = |refusal| refused(refusal, None).retry_after();
        assert_eq!(after(Refusal::Open { failures: 5, half_open_in: Some(left) }), Some(left));
        assert_eq!(after(Refusal::Open { failures: 5, half_open_in: None }), None);
        assert_eq!([Refusal::Probing, Refusal::Forced].map(after), [None, None]);
    }
}
