use std::error::Error as _;

use kafka_tower_core::source::Notice;
use kafka_tower_core::{BoxError, Error, ErrorKind, TopicPartition};
use kafka_tower_test_texts::{assert_helped_once, chain};

use super::SourceError;
use crate::source::failure::Failure;

fn cause() -> Error {
    Error::new(ErrorKind::Connection, "the connection was cut").with_source("reset by peer")
}

/// Every constructor that takes a cause of its own.
fn with_causes() -> Vec<SourceError> {
    let at = &TopicPartition::new("orders", 3);
    let boxed = || BoxError::from(cause());
    let of_notice = |notice| SourceError::of_notice(notice).unwrap();
    vec![
        of_notice(Notice::NotCommitted(vec![at.clone()], Some(cause()))),
        of_notice(Notice::Unable(cause(), None)),
        of_notice(Notice::Unable(cause(), Some(at.clone()))),
        of_notice(Notice::Failed(cause())),
        SourceError::not_located(at, boxed()),
        SourceError::no_end(at, cause()),
        SourceError::not_sought(at, Some(cause())),
        SourceError::listener("assigned", std::slice::from_ref(at), Failure::Error(boxed())),
        SourceError::not_handled(at, 7, 1, Failure::Error(boxed())),
        SourceError::service_ended(Some(boxed())),
        SourceError::transaction(cause()),
        SourceError::moved(&[], cause()),
        SourceError::letter_refused(at, 7, cause()),
    ]
}

#[test]
fn the_help_is_printed_once_and_so_is_the_cause() {
    for error in with_causes() {
        assert_helped_once(&error);
        for text in [chain(&error), format!("{error:#}")] {
            assert_eq!(text.matches("the connection was cut").count(), 1, "{text}");
            assert_eq!(text.matches("reset by peer").count(), 1, "{text}");
            assert!(text.contains(error.message()) && text.contains(error.help()), "{text}");
        }
        assert!(!error.to_string().contains("cut"), "`anyhow` prints the cause: {error}");
        let facts = error.source().and_then(|cause| cause.downcast_ref::<Error>()).map(Error::kind);
        assert_eq!(facts, Some(ErrorKind::Connection), "its facts stay");
    }
}
