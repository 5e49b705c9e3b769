//! Errors of transactions.

use kafka_tower_core::error::transport;
pub(crate) use kafka_tower_core::error::transport::call_after_close;
use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery, Scope, codes};

use crate::transaction::coordinator::Refusal;

/// A call in the wrong state: it changed nothing, and repeating it never succeeds.
pub(crate) fn misuse(call: &'static str, why: &'static str) -> Error {
    Error::new(ErrorKind::Transaction, format!("{call}: {why}"))
        .with_recovery(Recovery::Reject)
        .with_help("the order is init, begin, send, commit or abort, begin")
}

/// A commit or abort has started, and only the same call may follow.
pub(crate) fn under_way(call: &'static str, end: &'static str) -> Error {
    Error::new(ErrorKind::Transaction, format!("{call}: a {end} is under way"))
        .with_recovery(Recovery::Reject)
        .with_help(format!("finish the {end} first: repeat that call until it is answered"))
}

/// A part of the transaction failed before.
pub(crate) fn must_abort(call: &'static str, cause: &Error) -> Error {
    Error::new(ErrorKind::Transaction, format!("{call}: a record or an offset of the transaction failed"))
        .with_source(cause.clone())
}

/// `abort` withdrew the record before it was handed over.
pub(crate) fn withdrawn(topic: &str) -> Error {
    transport::aborted(topic, Persistence::NotPersisted)
}

/// The broker refused. `unanswered`: an earlier request may have been carried out.
pub(crate) fn refused(call: &'static str, id: &str, refusal: Refusal, unanswered: bool) -> Error {
    let fate = if unanswered { Persistence::PossiblyPersisted } else { Persistence::NotPersisted };
    match refusal {
        Refusal::Fenced => {
            let text = format!("{call}: another producer took over {id}, or the transaction timed out");
            codes::error(codes::INVALID_PRODUCER_EPOCH, fate, text)
        }
        // Another call ended the transaction, so its outcome is unknown.
        Refusal::State => {
            let text = format!("{call}: the broker has no such transaction of {id}");
            codes::error(codes::INVALID_TXN_STATE, Persistence::PossiblyPersisted, text)
                .with_help("create a new producer, and read the records of the transaction before replaying them")
        }
    }
}

/// No answer in time. Repeating the call continues it.
pub(crate) fn unanswered(call: &'static str, id: &str) -> Error {
    let error = Error::new(ErrorKind::Timeout, format!("{call}: no answer for {id} in time"))
        .with_recovery(Recovery::Retry)
        .with_scope(Scope::Client)
        .with_error_type("REQUEST_TIMED_OUT");
    match call {
        // No commit was requested, or it was certainly refused.
        "abort" => error.with_persistence(Persistence::NotPersisted).with_help("call it again to keep waiting"),
        _ => error.with_help("call it again: only its answer tells how the transaction ended"),
    }
}

/// A rebalance has replaced the consumer's generation; outside of a transaction.
pub(crate) fn stale_member(group: &str) -> Error {
    Error::new(ErrorKind::Fenced, format!("commit: the member is not in the current generation of {group}"))
        .with_recovery(Recovery::Reject)
        .with_persistence(Persistence::NotPersisted)
        .with_error_type("ILLEGAL_GENERATION")
        .with_help("leave the revoked partitions to their new owner")
}

/// A rebalance has replaced the consumer's generation.
pub(crate) fn illegal_generation(group: &str) -> Error {
    let text = format!("send_offsets: the member is not in the current generation of {group}");
    codes::error(codes::ILLEGAL_GENERATION, Persistence::NotPersisted, text)
        .with_help("abort, take the group's identity from the consumer again, and replay")
}
