use proptest::prelude::*;

use super::*;
use crate::retry::Jitter;

const MS: Duration = Duration::from_millis(1);

fn at(retries: u32, isolated: bool, left: Option<Duration>) -> Situation {
    let now = Instant::now();
    Situation { retries, isolated, expires_at: left.map(|left| now + left), now, draw: 0 }
}

fn fresh() -> Situation {
    at(0, false, None)
}

fn policy(guarantee: DeliveryGuarantee) -> RetryPolicy {
    RetryPolicy::new().delivery_guarantee(guarantee).jitter(Jitter::None)
}

fn error(kind: ErrorKind, persistence: Persistence) -> Error {
    Error::new(kind, "planted").with_persistence(persistence)
}

use DeliveryGuarantee::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use Persistence::{NotPersisted, Persisted, PossiblyPersisted};

#[test]
fn each_guarantee_has_its_row() {
    let again = Decision::RetryAfter(100 * MS);
    for (guarantee, duplicates, persistence, expected) in [
        (AtMostOnce, false, NotPersisted, again),
        (AtMostOnce, false, PossiblyPersisted, Decision::Stop),
        (AtMostOnce, true, PossiblyPersisted, Decision::Stop),
        (AtLeastOnce, false, NotPersisted, again),
        (AtLeastOnce, false, PossiblyPersisted, Decision::Stop),
        (AtLeastOnce, true, PossiblyPersisted, again),
        (AtLeastOnce, true, Persisted, Decision::Stop),
        (ExactlyOnce, true, NotPersisted, Decision::Stop),
        (ExactlyOnce, true, PossiblyPersisted, Decision::Stop),
    ] {
        let policy = policy(guarantee).allow_duplicates(duplicates);
        let decision = decide(&policy, &error(ErrorKind::Broker, persistence), &fresh());
        assert_eq!(decision, expected, "{guarantee:?}, duplicates {duplicates}, {persistence:?}");
    }
}

#[test]
fn each_kind_has_its_row() {
    let soon = Decision::RetryAfter(100 * MS);
    let late = Decision::RetryAfter(800 * MS);
    for (kind, expected) in [
        (ErrorKind::Connection, soon),
        (ErrorKind::Broker, soon),
        (ErrorKind::Unknown, soon),
        (ErrorKind::Throttled, late),
        (ErrorKind::Overloaded, late),
        (ErrorKind::Rejected, Decision::SendIsolated),
        (ErrorKind::Timeout, Decision::Stop),
        (ErrorKind::CircuitOpen, Decision::Stop),
        (ErrorKind::Config, Decision::Stop),
        (ErrorKind::Serialization, Decision::Stop),
        (ErrorKind::InvalidRecord, Decision::Stop),
        (ErrorKind::RecordTooLarge, Decision::Stop),
        (ErrorKind::UnknownTopicOrPartition, Decision::Stop),
        (ErrorKind::Authorization, Decision::Stop),
        (ErrorKind::Authentication, Decision::Stop),
        (ErrorKind::Closed, Decision::Stop),
        (ErrorKind::Fenced, Decision::Stop),
        (ErrorKind::Transaction, Decision::Stop),
        (ErrorKind::Fatal, Decision::Stop),
    ] {
        assert_eq!(decide(&policy(AtLeastOnce), &error(kind, NotPersisted), &fresh()), expected, "{kind}");
    }
}

#[test]
fn a_time_out_is_never_retried() {
    let policy = policy(AtLeastOnce).allow_duplicates(true);
    for persistence in [NotPersisted, PossiblyPersisted] {
        let error = error(ErrorKind::Timeout, persistence).with_recovery(Recovery::Retry);
        assert_eq!(decide(&policy, &error, &fresh()), Decision::Stop);
    }
}

#[test]
fn records_of_a_refused_batch_are_isolated_once_without_counting() {
    let refused = error(ErrorKind::Rejected, NotPersisted);
    for guarantee in [AtMostOnce, AtLeastOnce] {
        let policy = policy(guarantee).max_retries(0);
        assert_eq!(decide(&policy, &refused, &at(5, false, None)), Decision::SendIsolated);
        assert_eq!(decide(&policy, &refused, &at(0, true, None)), Decision::Stop, "it was isolated");
        assert_eq!(decide(&policy, &refused, &at(0, false, Some(Duration::ZERO))), Decision::Stop, "time is up");
        let own = refused.clone().with_scope(Scope::Record);
        assert_eq!(decide(&policy, &own, &fresh()), Decision::Stop);
        let unknown = refused.clone().with_persistence(PossiblyPersisted);
        assert_eq!(decide(&policy, &unknown, &fresh()), Decision::Stop);
    }
    assert_eq!(decide(&policy(ExactlyOnce), &refused, &fresh()), Decision::Stop);
}

#[test]
fn each_retry_doubles_the_back_off_up_to_max_retries() {
    let (policy, error) = (policy(AtLeastOnce).max_retries(3), error(ErrorKind::Broker, NotPersisted));
    let decisions = [0, 1, 2, 3].map(|retries| decide(&policy, &error, &at(retries, false, None)));
    let after = |ms: u32| Decision::RetryAfter(ms * MS);
    assert_eq!(decisions, [after(100), after(200), after(400), Decision::Stop]);
}

#[test]
fn every_back_off_ends_before_the_deadline() {
    let error = error(ErrorKind::Broker, NotPersisted);
    let with = |left| decide(&policy(AtLeastOnce), &error, &at(0, false, Some(left)));
    assert_eq!(with(100 * MS), Decision::Stop);
    assert_eq!(with(101 * MS), Decision::RetryAfter(100 * MS));
    let endless = policy(AtLeastOnce).base_backoff(Duration::MAX).max_backoff(Duration::MAX);
    assert_eq!(decide(&endless, &error, &at(0, false, Some(MS))), Decision::Stop);
}

fn kinds() -> impl Strategy<Value = ErrorKind> {
    use ErrorKind::*;
    prop::sample::select(vec![
        Config,
        Serialization,
        Rejected,
        Authorization,
        Connection,
        Timeout,
        Broker,
        Throttled,
        CircuitOpen,
        Overloaded,
        Closed,
        Fenced,
        Transaction,
        Fatal,
        Unknown,
    ])
}

proptest! {
    /// The laws, for any combination of error properties.
    #[test]
    fn only_records_that_may_be_retried_are_retried(
        kind in kinds(),
        recovery in prop::sample::select(vec![Recovery::Retry, Recovery::Wait, Recovery::AbortTransaction, Recovery::Fatal, Recovery::Reject]),
        persistence in prop::sample::select(vec![NotPersisted, PossiblyPersisted, Persisted]),
        scope in prop::sample::select(vec![Scope::Record, Scope::Batch, Scope::Broker]),
        guarantee in prop::sample::select(vec![AtMostOnce, AtLeastOnce, ExactlyOnce]),
        (duplicates, isolated, draw) in any::<(bool, bool, u64)>(),
        (retries, max_retries) in (0..8_u32, 0..8_u32),
        left in prop::option::of((0..2_000_u32).prop_map(|ms| ms * MS)),
    ) {
        let policy = RetryPolicy::new().delivery_guarantee(guarantee).allow_duplicates(duplicates).max_retries(max_retries);
        let error = Error::new(kind, "planted").with_recovery(recovery).with_persistence(persistence).with_scope(scope);
        let situation = Situation { draw, ..at(retries, isolated, left) };
        let decision = decide(&policy, &error, &situation);
        if decision != Decision::Stop {
            prop_assert!(guarantee != ExactlyOnce && persistence != Persisted);
            prop_assert!(persistence == NotPersisted || (duplicates && guarantee == AtLeastOnce));
            prop_assert!(!matches!(recovery, Recovery::Fatal | Recovery::AbortTransaction));
        }
        match decision {
            Decision::Stop => {}
            Decision::SendIsolated => {
                prop_assert!(!isolated && scope == Scope::Batch && recovery == Recovery::Reject);
                prop_assert!(persistence == NotPersisted);
            }
            Decision::RetryAfter(delay) => {
                prop_assert!(retries < max_retries && kind != ErrorKind::Timeout && recovery != Recovery::Reject);
                prop_assert!(left.is_none_or(|left| delay < left));
            }
        }
    }
}
