use super::*;

const RECOVERIES: [Recovery; 5] =
    [Recovery::Retry, Recovery::Wait, Recovery::AbortTransaction, Recovery::Fatal, Recovery::Reject];

fn error(kind: ErrorKind, recovery: Recovery, persistence: Persistence) -> Error {
    Error::new(kind, "planted").with_recovery(recovery).with_persistence(persistence)
}

#[test]
fn each_failed_begin_has_its_end() {
    for recovery in RECOVERIES {
        let after = after_begin(&error(ErrorKind::Transaction, recovery, Persistence::NotPersisted));
        let stops = matches!(recovery, Recovery::Fatal | Recovery::Reject);
        assert_eq!(after == AfterBegin::Stop, stops, "{recovery:?}");
    }
}

/// Only a certain answer is an abort.
#[test]
fn each_failed_commit_has_its_end() {
    use Persistence::{NotPersisted, PossiblyPersisted};
    for recovery in RECOVERIES {
        for persistence in [NotPersisted, PossiblyPersisted, Persistence::Persisted] {
            let expected = match (recovery, persistence) {
                (Recovery::Retry, _) => AfterCommit::Again,
                (Recovery::AbortTransaction | Recovery::Fatal, NotPersisted) => AfterCommit::Aborted,
                _ => AfterCommit::Unknown,
            };
            let after = after_commit(&error(ErrorKind::Transaction, recovery, persistence));
            assert_eq!(after, expected, "{recovery:?} {persistence:?}");
        }
    }
}

#[test]
fn the_committed_offsets_say_how_a_transaction_ended() {
    // The first record has offset 5, and the last one 9.
    let after = |committed: &[Option<i64>]| after_unknown(committed.iter().map(|committed| (5, 10, *committed)));
    assert_eq!(after(&[Some(10)]), AfterUnknown::Committed);
    for old in [None, Some(0), Some(3), Some(5)] {
        assert_eq!(after(&[old]), AfterUnknown::Aborted, "{old:?}: holes before the first record change nothing");
        assert_eq!(after(&[old, Some(10)]), AfterUnknown::Moved, "all of it or nothing");
        assert_eq!(after(&[Some(10), old]), AfterUnknown::Moved);
        assert_eq!(after(&[old, None]), AfterUnknown::Aborted);
    }
    for other in [6, 9, 11] {
        assert_eq!(after(&[Some(other)]), AfterUnknown::Moved);
        assert_eq!(after(&[Some(10), Some(other)]), AfterUnknown::Moved);
    }
    assert_eq!(after(&[Some(10), Some(10)]), AfterUnknown::Committed);
    assert_eq!(after(&[]), AfterUnknown::Lost);
}

#[test]
fn an_aborted_transaction_is_repeated_until_it_cannot_succeed() {
    use Persistence::NotPersisted;
    let refused = error(ErrorKind::RecordTooLarge, Recovery::Reject, NotPersisted);
    assert_eq!(after_abort(&refused, 0, 100, 1_000), AfterAbort::Replay(Duration::ZERO, 50));
    assert_eq!(after_abort(&refused, 9, 2, 1_000), AfterAbort::Replay(Duration::ZERO, 1));
    assert_eq!(after_abort(&refused, 9, 1, 1_000), AfterAbort::Fail, "this record");
    let transient = error(ErrorKind::Connection, Recovery::Retry, NotPersisted);
    for (failed, delay) in [(0, 100), (1, 200), (5, 3_200), (6, 5_000), (1_000, 5_000)] {
        let after = after_abort(&transient, failed, 100, 1_000);
        assert_eq!(after, AfterAbort::Replay(Duration::from_millis(delay), 1_000));
    }
    let denied = error(ErrorKind::Authorization, Recovery::AbortTransaction, NotPersisted);
    assert!(matches!(after_abort(&denied, 1, 100, 1_000), AfterAbort::Replay(..)));
    assert_eq!(after_abort(&denied, 2, 100, 1_000), AfterAbort::Fail, "an operator has to act");
}

#[test]
fn the_cause_is_the_record_that_was_refused_itself() {
    use Persistence::NotPersisted;
    let other = || error(ErrorKind::Transaction, Recovery::AbortTransaction, NotPersisted);
    let refused = || error(ErrorKind::RecordTooLarge, Recovery::Reject, NotPersisted);
    assert_eq!(cause_of(vec![other(), refused(), other()]).unwrap().kind(), ErrorKind::RecordTooLarge);
    assert_eq!(cause_of(vec![other(), other()]).unwrap().kind(), ErrorKind::Transaction);
    assert!(cause_of(Vec::new()).is_none());
}
