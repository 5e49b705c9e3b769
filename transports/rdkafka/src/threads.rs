//! Errors of calls whose thread could not be started, or panicked.

use kafka_tower_core::{Error, ErrorKind, Persistence};

/// Error of a call for which the system started no thread.
pub(crate) fn no_thread(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Fatal, "the system could not start a thread")
        .with_persistence(Persistence::NotPersisted)
        .with_source(error)
}

/// Error of a call whose thread panicked, so that its outcome is unknown.
pub(crate) fn panicked(what: &str) -> Error {
    Error::new(ErrorKind::Fatal, format!("{what}: its thread panicked"))
}
