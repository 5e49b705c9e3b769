//! Errors of transactional calls and of their records.

pub(crate) use kafka_tower_core::error::transport::{aborted, call_after_close};
use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery};

/// Error of a `begin` whose time ended before the producer was replaced. `because` names the cause, if it is known.
pub(crate) fn not_rebuilt(because: &str) -> Error {
    let text = format!(
        "the transaction was not begun: the end of the previous one had no clean answer, and a new producer that prevents \
         its late effects is not ready yet{because}"
    );
    Error::new(ErrorKind::Timeout, text)
        .with_recovery(Recovery::Retry)
        .with_persistence(Persistence::NotPersisted)
        .with_help("begin again to keep waiting")
}

/// Error of a `begin` after another producer took the transactional id over.
pub(crate) fn taken_over() -> Error {
    Error::new(
        ErrorKind::Fenced,
        "the transaction was not begun: another producer with the same transactional id took over while the previous \
         transaction was open longer than transaction.timeout.ms",
    )
    .with_persistence(Persistence::NotPersisted)
    .with_help("stop one of the two, or give each its own transactional id; then create a new sink")
}

/// Error of an abort whose time ended before a new producer had the transactional id. `because` names the cause, if it is known.
pub(crate) fn not_aborted(because: &str) -> Error {
    let text = format!("the transaction was not aborted: a new producer that aborts it is not ready yet{because}");
    Error::new(ErrorKind::Timeout, text)
        .with_recovery(Recovery::Retry)
        .with_persistence(Persistence::NotPersisted)
        .with_help("call it again to keep waiting")
}

/// Error of an offsets call that was lost.
pub(crate) fn no_group_coordinator() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "the offsets were not added to the transaction: the coordinator of the group was not found, or does not answer",
    )
    .with_recovery(Recovery::AbortTransaction)
    .with_persistence(Persistence::NotPersisted)
    .with_help("abort the transaction, and send its records and offsets again in a new one")
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

/// Error of a commit after a record has failed, while others have no answer yet.
pub(crate) fn record_failed() -> Error {
    Error::new(ErrorKind::Transaction, "not committed: a record of the transaction failed")
}

/// Error of a record whose transaction failed by itself.
pub(crate) fn failed(what: &str, why: &str, persistence: Persistence) -> Error {
    Error::new(ErrorKind::Transaction, format!("{what}: its transaction failed: {why}")).with_persistence(persistence)
}
