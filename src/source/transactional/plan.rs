//! What follows the calls of a transaction. No clock, no lock, no async.

use std::time::Duration;

use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery, Scope};

/// Number of times that a batch is tried whose cause only an operator can end.
const TRIES: u32 = 3;

/// What follows a failed begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterBegin {
    /// Try again later.
    Again,
    /// The sink cannot begin a transaction any more.
    Stop,
}

pub(super) fn after_begin(error: &Error) -> AfterBegin {
    match error.recovery() {
        Recovery::Reject | Recovery::Fatal => AfterBegin::Stop,
        _ => AfterBegin::Again,
    }
}

/// What follows a failed commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterCommit {
    /// Call commit again: it continues.
    Again,
    /// Nothing of the transaction is visible.
    Aborted,
    /// The transaction may be committed.
    Unknown,
}

pub(super) fn after_commit(error: &Error) -> AfterCommit {
    match (error.recovery(), error.persistence()) {
        (Recovery::Retry, _) => AfterCommit::Again,
        (Recovery::AbortTransaction | Recovery::Fatal, Persistence::NotPersisted) => AfterCommit::Aborted,
        // Refused although it was in order: another call has ended the transaction.
        _ => AfterCommit::Unknown,
    }
}

/// How a transaction without a known end has ended, by the committed offsets of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterUnknown {
    Committed,
    Aborted,
    /// No partition of it is ours any more: nothing has to be known.
    Lost,
    /// Neither: somebody else has committed offsets of these partitions.
    Moved,
}

/// Decides from the offset of the first record, the offset after the last one, and the group's committed offset, for each
/// partition of the transaction that is still ours. A transaction is visible as a whole or not at all.
pub(super) fn after_unknown(offsets: impl IntoIterator<Item = (i64, i64, Option<i64>)>) -> AfterUnknown {
    let (mut any_new, mut any_old) = (false, false);
    for (first, end, committed) in offsets {
        match committed {
            Some(committed) if committed == end => any_new = true,
            Some(committed) if committed > first => return AfterUnknown::Moved,
            _ => any_old = true,
        }
    }
    match (any_new, any_old) {
        (true, true) => AfterUnknown::Moved,
        (true, false) => AfterUnknown::Committed,
        (false, true) => AfterUnknown::Aborted,
        (false, false) => AfterUnknown::Lost,
    }
}

/// What follows a transaction that was certainly aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterAbort {
    /// Read its records again after this time, and take at most so many records into the next transactions.
    Replay(Duration, usize),
    /// Give up.
    Fail,
}

/// Decides after an abort for this cause. `failed` is the number of transactions since the last commit that were aborted for a
/// cause, without this one. `records` is the number of records in the transaction, and `max` of those that it might have had.
pub(super) fn after_abort(cause: &Error, failed: u32, records: usize, max: usize) -> AfterAbort {
    if is_refusal(cause) {
        // To find the record whose output is refused.
        return if records > 1 { AfterAbort::Replay(Duration::ZERO, records / 2) } else { AfterAbort::Fail };
    }
    if is_for_an_operator(cause) && failed + 1 >= TRIES {
        return AfterAbort::Fail;
    }
    AfterAbort::Replay(backoff(failed), max)
}

/// Whether an output was refused itself, so that sending it again never succeeds.
fn is_refusal(error: &Error) -> bool {
    error.recovery() == Recovery::Reject
        && error.kind() != ErrorKind::Transaction
        && !matches!(error.scope(), Scope::Client | Scope::Broker)
}

fn is_for_an_operator(error: &Error) -> bool {
    use ErrorKind::{Authentication, Authorization, Closed, Config, UnknownTopicOrPartition};
    matches!(error.kind(), Authentication | Authorization | Closed | Config | UnknownTopicOrPartition)
}

/// Delay before the next try, after so many that failed before.
pub(super) fn backoff(failed: u32) -> Duration {
    Duration::from_millis(100).saturating_mul(1 << failed.min(10)).min(Duration::from_secs(5))
}

/// The error that says most about why a transaction failed: that of a record that was refused itself.
pub(super) fn cause_of(errors: Vec<Error>) -> Option<Error> {
    let refused = errors.iter().position(is_refusal).unwrap_or(0);
    errors.into_iter().nth(refused)
}

#[cfg(test)]
mod tests;
