//! The texts of `kafka-tower-core`'s errors match their facts. Its own unit tests cannot check this, because they see
//! other types.
#![allow(clippy::unwrap_used)] // a test may fail

use std::io;
use std::sync::Arc;

use kafka_tower_core::validate::{partition, timestamp, topic_name};
use kafka_tower_core::{BoxError, Error, Persistence, Timestamp, codes};
use kafka_tower_test_texts::{KINDS, assert_consistent};

#[test]
fn of_invalid_records() {
    for name in ["", ".", "..", "orders of today", "überweisung", "a/b", &"x".repeat(250)] {
        let error = topic_name(name).unwrap_err();
        assert_consistent(&error);
        assert_consistent(&error.without_record());
    }
    [-1, i32::MIN].iter().for_each(|number| assert_consistent(&partition(*number).unwrap_err()));
    for millis in [0, -1, i64::MIN] {
        assert_consistent(&timestamp(Timestamp::from_millis(millis)).unwrap_err());
    }
}

#[test]
fn of_codes() {
    for code in codes::all().map(|facts| facts.code).chain([134, -1_000]) {
        for (persistence, outcome) in [
            (Persistence::NotPersisted, "not delivered to orders"),
            (Persistence::PossiblyPersisted, "the delivery to orders was not confirmed"),
            (Persistence::Persisted, "written to orders without an acknowledgement"),
        ] {
            assert_consistent(&codes::error(code, persistence, format!("{outcome}: {}", codes::describe(code))));
        }
        assert_consistent(&codes::error(code, Persistence::NotPersisted, codes::describe(code)).without_record());
    }
}

#[test]
fn of_layers_and_serializers() {
    assert_consistent(&Error::serialization("the price is not a number"));
    assert_consistent(&Error::refused("more than 10 bytes"));
    let mut errors: Vec<BoxError> = vec![
        "it failed".into(),
        io::Error::other("the disk is full").into(),
        io::Error::other(Error::refused("too large")).into(),
        tower::timeout::error::Elapsed::new().into(),
        tower::load_shed::error::Overloaded::new().into(),
    ];
    errors.extend(KINDS.map(|kind| BoxError::from(Arc::new(Error::new(kind, "it failed")))));
    errors.into_iter().map(Error::from).for_each(|error| assert_consistent(&error));
}

#[test]
fn of_attempts_in_doubt() {
    for kind in KINDS {
        let last = Error::new(kind, "not delivered to orders: the topic is gone").with_attempts(3);
        assert_consistent(&last.in_doubt_since("an earlier attempt may have been written"));
    }
}
