//! Errors of transactional calls and of their records.

use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery};

use crate::classify;

/// Error of an offsets call without a group coordinator. librdkafka asks for the coordinator three times; if there is
/// none yet, it drops the request and its call never returns, whatever its time-out, and it accepts no other call. The
/// waiting thread stays.
pub(crate) fn no_group_coordinator() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "the offsets were not added to the transaction: no answer about the group's coordinator",
    )
    .with_recovery(Recovery::Fatal)
    .with_persistence(Persistence::NotPersisted)
    .with_help("create a new sink, which aborts the transaction, and replay it; a larger retry.backoff.ms waits longer")
}

/// Error of a call that came after the close.
pub(crate) fn closed(what: &str) -> Error {
    Error::new(ErrorKind::Closed, format!("{what}: the transport was closed"))
        .with_persistence(Persistence::NotPersisted)
}

/// Error if the close ended before the coordinator answered.
pub(crate) fn unanswered() -> Error {
    Error::new(ErrorKind::Timeout, "the transport was closed before the coordinator had ended the transaction")
        .with_recovery(Recovery::Fatal)
        .with_persistence(Persistence::PossiblyPersisted)
        .with_help("give the close more time; a new producer with the same transactional id ends what is still open")
}

/// Error of a commit whose time ended before the records were settled. `because` names the cause, if it is known.
pub(crate) fn not_flushed(because: &str) -> Error {
    let text = format!("not committed: records of the transaction have no answer yet{because}");
    Error::new(ErrorKind::Timeout, text)
        .with_recovery(Recovery::Retry)
        .with_persistence(Persistence::NotPersisted)
        .with_help("commit again to keep waiting, or abort")
}

/// Error of a commit that would leave out a record that was called.
pub(crate) fn not_handed_over() -> Error {
    Error::new(
        ErrorKind::Transaction,
        "not committed: a record of the transaction waited for room and was not handed over",
    )
}

/// Error of a record whose transaction failed by itself.
pub(crate) fn failed(what: &str, why: &str, persistence: Persistence) -> Error {
    Error::new(ErrorKind::Transaction, format!("{what}: its transaction failed: {why}")).with_persistence(persistence)
}

/// Error of a record that is given up while its transaction is aborted. If it is in the log, it is part of that
/// transaction: with records in flight, the coordinator was not asked to commit it.
pub(crate) fn aborted(topic: &str, persistence: Persistence) -> Error {
    let text = format!("{}: its transaction is being aborted", classify::outcome(topic, persistence));
    Error::new(ErrorKind::Transaction, text).with_recovery(Recovery::Reject).with_persistence(persistence).with_help(
        match persistence {
            Persistence::NotPersisted => "send it again in the next transaction",
            _ => "send it again in the next transaction: readers of committed records never see this one",
        },
    )
}
