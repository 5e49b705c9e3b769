//! What follows a call of a transaction that failed, and an aborted batch. No clock, no lock, no async.

use std::time::Duration;

use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery, Scope};

/// What follows a failed commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterCommit {
    /// Call commit again: it continues.
    Again,
    /// Nothing of the transaction is visible: abort it, then the batch may be replayed.
    Abort,
    /// The records may be visible. They must not be sent again, and the producer cannot be used any more.
    Unknown,
}

/// Decides after a commit failed. `first`: it was the first call of commit for this transaction. Only then is a refusal
/// certain: a later one says nothing about what an earlier call has caused.
pub(super) fn after_commit(error: &Error, first: bool, in_time: bool) -> AfterCommit {
    match (error.recovery(), error.persistence()) {
        (Recovery::Retry, _) if in_time => AfterCommit::Again,
        (Recovery::AbortTransaction, Persistence::NotPersisted) if first => AfterCommit::Abort,
        _ => AfterCommit::Unknown,
    }
}

/// What follows a failed begin. No transaction is open, unless it has to be aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterBegin {
    /// Abort, then try again.
    Abort,
    /// Try again later.
    Replay,
    /// Refuse the batch: trying again does not help.
    Refuse,
    /// Refuse the batch: the producer cannot be used any more.
    Finish,
}

pub(super) fn after_begin(error: &Error) -> AfterBegin {
    match error.recovery() {
        Recovery::AbortTransaction => AfterBegin::Abort,
        Recovery::Reject => AfterBegin::Refuse,
        Recovery::Fatal => AfterBegin::Finish,
        _ => AfterBegin::Replay,
    }
}

/// What is left of a transaction without a clean end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// A commit was called: only the same call may follow.
    Commit,
    /// An abort was called.
    Abort,
    /// Nothing that a call could end: the producer has ended.
    Nothing,
}

/// What brings a lane back whose last transaction has no clean end. The records of that transaction have their outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recover {
    /// Call this again, after a time.
    Again(Left),
    /// Replace the producer.
    Replace,
    /// No transaction is open: the next one may begin.
    Ended,
    /// The lane takes no more records.
    Finish,
}

/// Decides after a call that should end the transaction has failed. `young`: the transaction is younger than its time-out,
/// after which the broker fences its producer. Before, being fenced means that another process has taken over the id, which
/// must not be taken back.
pub(super) fn after_unclean(left: Left, error: &Error, young: bool, can_replace: bool) -> Recover {
    let is_fenced = error.kind() == ErrorKind::Fenced;
    match (error.recovery(), left) {
        _ if error.kind() == ErrorKind::Closed || (is_fenced && young) => Recover::Finish,
        (_, Left::Nothing) | (Recovery::Fatal, _) => {
            if can_replace {
                Recover::Replace
            } else {
                Recover::Finish
            }
        }
        (Recovery::Retry, left) => Recover::Again(left),
        // The commit was refused, or the transaction has ended: an abort says which.
        (_, Left::Commit) => Recover::Again(Left::Abort),
        (Recovery::Reject, Left::Abort) => Recover::Ended,
        (_, Left::Abort) => Recover::Again(Left::Abort),
    }
}

/// What follows a batch that was certainly aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterAbort {
    /// Refuse the units of the group that refused its offsets, and replay the others at once.
    RefuseGroup,
    /// Refuse the records that were [refused themselves](is_poison), and replay the others at once.
    Refuse,
    /// Send the batch as two batches, one after the other, to find the record that makes a broker refuse it.
    Halve,
    /// Replay the batch after this time.
    Replay(Duration),
    /// Give up.
    Fail,
}

/// Decides after an abort. `errors` are those of the records, `refuses_group` says whether a group refused
/// its offsets, `size` is the number of records and units in the batch, `replays` how often the batch was replayed before.
pub(super) fn after_abort<'a>(
    errors: impl Iterator<Item = &'a Error> + Clone,
    refuses_group: bool,
    size: usize,
    replays: u32,
    max_replays: u32,
) -> AfterAbort {
    if refuses_group {
        return AfterAbort::RefuseGroup;
    }
    if errors.clone().any(|error| is_poison(error, size)) {
        return AfterAbort::Refuse;
    }
    if size > 1 && errors.into_iter().any(is_of_batch) {
        return AfterAbort::Halve;
    }
    if replays >= max_replays { AfterAbort::Fail } else { AfterAbort::Replay(backoff(replays)) }
}

/// Whether a record with this error was refused itself, so that sending it again in a batch of `size` never succeeds.
pub(super) fn is_poison(error: &Error, size: usize) -> bool {
    is_refusal(error) && (size == 1 || error.scope() != Scope::Batch)
}

/// Whether the record, or another one of its batch, was refused. If it was certainly another one, the recovery is `Retry`,
/// and the outcome of that one may not be known yet.
fn is_of_batch(error: &Error) -> bool {
    error.scope() == Scope::Batch && (is_refusal(error) || error.kind() == ErrorKind::Rejected)
}

/// Errors of kind `Transaction` and of the whole client say that another record has failed, or that the producer cannot
/// be used: they do not refuse the record.
pub(super) fn is_refusal(error: &Error) -> bool {
    error.recovery() == Recovery::Reject
        && error.kind() != ErrorKind::Transaction
        && !matches!(error.scope(), Scope::Client | Scope::Broker)
}

/// Time before a replay: 100 ms, doubled with each one up to 5 s.
pub(super) fn backoff(replays: u32) -> Duration {
    Duration::from_millis(100).saturating_mul(1 << replays.min(10)).min(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Recovery; 5] =
        [Recovery::Retry, Recovery::Wait, Recovery::AbortTransaction, Recovery::Fatal, Recovery::Reject];

    fn error(recovery: Recovery, persistence: Persistence) -> Error {
        Error::new(ErrorKind::Broker, "planted").with_recovery(recovery).with_persistence(persistence)
    }

    #[test]
    fn only_the_first_commit_can_be_refused_for_certain() {
        for recovery in ALL {
            for persistence in [Persistence::NotPersisted, Persistence::PossiblyPersisted] {
                for first in [true, false] {
                    let certain =
                        recovery == Recovery::AbortTransaction && persistence == Persistence::NotPersisted && first;
                    let expected = match recovery {
                        Recovery::Retry => AfterCommit::Again,
                        _ if certain => AfterCommit::Abort,
                        _ => AfterCommit::Unknown,
                    };
                    let error = error(recovery, persistence);
                    assert_eq!(after_commit(&error, first, true), expected, "{error:?}");
                    let late = if recovery == Recovery::Retry { AfterCommit::Unknown } else { expected };
                    assert_eq!(after_commit(&error, first, false), late, "{error:?}");
                }
            }
        }
    }

    fn refusal(scope: Scope) -> Error {
        Error::new(ErrorKind::Rejected, "planted").with_scope(scope)
    }

    fn broken() -> Error {
        error(Recovery::Retry, Persistence::PossiblyPersisted)
    }

    #[test]
    fn records_that_were_refused_themselves_are_taken_out_first() {
        for scope in [Scope::Record, Scope::Partition, Scope::Topic] {
            let errors = [refusal(Scope::Batch), broken(), refusal(scope)];
            assert_eq!(after_abort(errors.iter(), false, 5, 9, 3), AfterAbort::Refuse);
            assert!(is_poison(&errors[2], 5) && !is_poison(&errors[0], 5) && !is_poison(&errors[1], 5));
        }
    }

    #[test]
    fn a_refused_batch_is_halved_until_a_record_is_alone() {
        let errors = [refusal(Scope::Batch)];
        assert_eq!(after_abort(errors.iter(), false, 2, 9, 3), AfterAbort::Halve);
        assert_eq!(after_abort(errors.iter(), false, 1, 9, 3), AfterAbort::Refuse);
    }

    #[test]
    fn the_refusal_of_another_record_uses_no_replay() {
        let errors = [refusal(Scope::Batch).with_recovery(Recovery::Retry)];
        assert_eq!(after_abort(errors.iter(), false, 5, 0, 0), AfterAbort::Halve);
        // It cannot be alone.
        assert!(matches!(after_abort(errors.iter(), false, 1, 0, 3), AfterAbort::Replay(_)));
        assert_eq!(after_abort(errors.iter().chain([&refusal(Scope::Record)]), false, 5, 0, 0), AfterAbort::Refuse);
    }

    #[test]
    fn other_failures_are_replayed_and_then_given_up() {
        let broken = [broken()];
        let decided = |replays| after_abort(broken.iter(), false, 5, replays, 3);
        assert_eq!(decided(0), AfterAbort::Replay(Duration::from_millis(100)));
        assert_eq!(decided(2), AfterAbort::Replay(Duration::from_millis(400)));
        assert_eq!(decided(3), AfterAbort::Fail);
        assert_eq!(after_abort([].iter(), false, 5, 0, 0), AfterAbort::Fail, "the commit was refused");
        assert_eq!(backoff(u32::MAX), Duration::from_secs(5));
    }

    #[test]
    fn a_group_that_refuses_its_offsets_is_taken_out() {
        assert_eq!(after_abort([].iter(), true, 5, 0, 3), AfterAbort::RefuseGroup);
    }

    #[test]
    fn an_error_that_another_record_has_caused_refuses_no_record() {
        let caused = Error::new(ErrorKind::Transaction, "a record failed").with_recovery(Recovery::Reject);
        assert!(matches!(after_abort([caused].iter(), false, 5, 0, 3), AfterAbort::Replay(_)));
        assert!(matches!(after_abort([refusal(Scope::Client)].iter(), false, 5, 0, 3), AfterAbort::Replay(_)));
    }

    #[test]
    fn a_commit_without_an_answer_is_called_until_it_has_one() {
        let unanswered = error(Recovery::Retry, Persistence::PossiblyPersisted);
        assert_eq!(after_unclean(Left::Commit, &unanswered, false, true), Recover::Again(Left::Commit));
        assert_eq!(after_unclean(Left::Abort, &unanswered, false, true), Recover::Again(Left::Abort));
        let in_doubt = error(Recovery::Reject, Persistence::PossiblyPersisted);
        assert_eq!(after_unclean(Left::Commit, &in_doubt, false, true), Recover::Again(Left::Abort));
        assert_eq!(after_unclean(Left::Abort, &in_doubt, false, true), Recover::Ended);
        let must_abort = error(Recovery::AbortTransaction, Persistence::NotPersisted);
        assert_eq!(after_unclean(Left::Abort, &must_abort, false, true), Recover::Again(Left::Abort));
    }

    #[test]
    fn a_producer_that_has_ended_is_replaced_unless_it_was_taken_over() {
        let fatal = error(Recovery::Fatal, Persistence::PossiblyPersisted);
        let fenced = Error::new(ErrorKind::Fenced, "planted");
        for left in [Left::Commit, Left::Abort, Left::Nothing] {
            for young in [true, false] {
                assert_eq!(after_unclean(left, &fatal, young, true), Recover::Replace);
                assert_eq!(after_unclean(left, &fatal, young, false), Recover::Finish);
                let after_fence = if young { Recover::Finish } else { Recover::Replace };
                assert_eq!(after_unclean(left, &fenced, young, true), after_fence);
            }
            assert_eq!(after_unclean(left, &Error::new(ErrorKind::Closed, "closed"), false, true), Recover::Finish);
        }
        let planted = error(Recovery::Retry, Persistence::NotPersisted);
        assert_eq!(after_unclean(Left::Nothing, &planted, true, true), Recover::Replace);
    }

    #[test]
    fn a_begin_that_failed_leaves_no_record_in_doubt() {
        let after = |recovery| after_begin(&error(recovery, Persistence::NotPersisted));
        assert_eq!(
            ALL.map(after),
            [AfterBegin::Replay, AfterBegin::Replay, AfterBegin::Abort, AfterBegin::Finish, AfterBegin::Refuse]
        );
    }
}
