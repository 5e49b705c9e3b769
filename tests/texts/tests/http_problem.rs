//! Tests of the answers that a failed send has over HTTP, for all kinds of errors.
#![allow(clippy::unwrap_used)] // a test may fail

use std::time::Duration;

use kafka_tower_core::error::HttpProblem;
use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery};
use kafka_tower_test_texts::KINDS;

const FATES: [Persistence; 3] = [Persistence::NotPersisted, Persistence::PossiblyPersisted, Persistence::Persisted];
const SECRET: &str = "10.0.0.7:9092 \"quoted\"";

fn of(kind: ErrorKind) -> HttpProblem {
    HttpProblem::of(&Error::new(kind, SECRET).with_persistence(Persistence::NotPersisted))
}

#[test]
fn what_is_certainly_not_written_is_answered_by_what_can_be_done() {
    let status = KINDS.map(|kind| of(kind).status());
    assert_eq!(
        status,
        [500, 422, 422, 413, 422, 500, 500, 500, 503, 503, 503, 503, 503, 503, 503, 500, 503, 500, 422, 503]
    );
}

#[test]
fn only_504_says_that_a_record_may_be_in_the_log() {
    for kind in KINDS {
        for fate in FATES {
            for recovery in [Recovery::Retry, Recovery::Wait, Recovery::Reject, Recovery::Fatal] {
                let error = Error::new(kind, SECRET).with_recovery(recovery).with_persistence(fate);
                let problem = HttpProblem::of(&error);
                assert_eq!(problem.status() == 504, error.may_be_written(), "{error:?}");
                let says = problem.detail().contains("not written");
                assert_eq!(says, fate == Persistence::NotPersisted, "{error:?}: {problem:?}");
            }
        }
    }
}

#[test]
fn the_body_is_json_without_a_text_of_the_error() {
    for kind in KINDS {
        for fate in FATES {
            let error = Error::new(kind, SECRET).with_persistence(fate).with_help(SECRET).with_source(SECRET);
            let problem = HttpProblem::of(&error);
            let json = problem.to_json();
            assert!(!json.contains("10.0.0.7"), "{json}");
            let body: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(body["status"], problem.status());
            assert_eq!(body["title"], problem.title());
            assert_eq!(body["detail"], problem.detail());
            assert_eq!(body["persistence"], fate.as_str());
            assert_eq!(body["recovery"], error.recovery().as_str());
        }
    }
}

#[test]
fn retry_after_is_in_whole_seconds_rounded_up() {
    let after = |kind, millis| {
        HttpProblem::of(&Error::new(kind, "").with_retry_after(Duration::from_millis(millis))).retry_after()
    };
    let given = [0, 1, 1_000, 1_001, 29_999].map(|millis| after(ErrorKind::CircuitOpen, millis));
    assert_eq!(given, [1, 1, 1, 2, 30].map(Some));
    assert_eq!(of(ErrorKind::CircuitOpen).retry_after(), None, "not known");
    assert_eq!(after(ErrorKind::Timeout, 1), None, "a repeated request may write twice");
    assert_eq!(after(ErrorKind::Refused, 1), None, "it does not help");
}
