use kafka_tower_core::{Error, ErrorKind};
use proptest::prelude::*;

use super::*;

fn ok(offset: i64) -> Result<Delivery> {
    Ok(Delivery::new("t", 0).with_offset(offset))
}

fn failed(persistence: Persistence) -> Result<Delivery> {
    Err(Error::new(ErrorKind::Timeout, "late").with_persistence(persistence))
}

fn call(id: u32, outcome: Result<Delivery>) -> Call {
    let number = u64::from(id) * 2;
    let answered = Some(Answer { number: number + 1, outcome, in_log: true });
    Call { id, key: Some(0), called: number, answered }
}

fn verdicts(guarantee: Guarantee, calls: &[Call], attempts: &[(u32, bool)], log: &[u32]) -> Vec<Verdict> {
    ordered(guarantee, Order::Calls, calls, attempts, log)
}

fn ordered(guarantee: Guarantee, order: Order, calls: &[Call], attempts: &[(u32, bool)], log: &[u32]) -> Vec<Verdict> {
    let attempts: Vec<_> =
        attempts.iter().map(|(id, acknowledged)| Attempt { id: *id, acknowledged: *acknowledged }).collect();
    let mut seen = Seen::new();
    log.iter().zip(0..).for_each(|(id, offset)| seen.entry(*id).or_default().push((0, offset)));
    judge(guarantee, order, calls, &attempts, &seen).into_iter().map(|violation| violation.verdict).collect()
}

const ONCE: Guarantee = Guarantee::AtMostOnce;
const LEAST: Guarantee = Guarantee::AtLeastOnce;

#[test]
fn results_must_be_true() {
    let told = |outcome, log: &[u32]| verdicts(ONCE, &[call(1, outcome)], &[], log);
    assert_eq!(told(ok(0), &[1]), []);
    assert_eq!(told(ok(0), &[]), [Verdict::LostAcknowledged]);
    assert_eq!(told(ok(7), &[1]), [Verdict::PersistedNotInLog], "it is at 0");
    assert_eq!(told(failed(Persistence::NotPersisted), &[]), []);
    assert_eq!(told(failed(Persistence::NotPersisted), &[1]), [Verdict::NotPersistedInLog]);
    assert_eq!(told(failed(Persistence::Persisted), &[1]), []);
    assert_eq!(told(failed(Persistence::Persisted), &[]), [Verdict::PersistedNotInLog]);
    for log in [&[][..], &[1]] {
        assert_eq!(told(failed(Persistence::PossiblyPersisted), log), [], "either is true");
        let acks_0 = Ok(Delivery::new("t", 0).with_persistence(Persistence::PossiblyPersisted));
        assert_eq!(told(acks_0, log), []);
    }
    let mut early = call(1, ok(0));
    early.answered.as_mut().unwrap().in_log = false;
    assert_eq!(verdicts(ONCE, &[early], &[], &[1]), [Verdict::PersistedNotInLog]);
}

#[test]
fn a_second_copy_needs_a_cause() {
    let calls = [call(1, ok(1))];
    assert_eq!(verdicts(ONCE, &calls, &[(1, false), (1, true)], &[1, 1]), [Verdict::Duplicate]);
    assert_eq!(verdicts(LEAST, &calls, &[(1, false), (1, true)], &[1, 1]), []);
    assert_eq!(verdicts(LEAST, &calls, &[(1, true), (1, true)], &[1, 1]), [Verdict::Duplicate], "it knew");
    assert_eq!(verdicts(LEAST, &calls, &[(1, false), (1, true)], &[1, 1, 1]), [Verdict::Duplicate], "sent twice");
}

#[test]
fn less_order_may_be_promised() {
    let (unknown, known, second) = (call(1, failed(Persistence::PossiblyPersisted)), call(1, ok(1)), call(2, ok(0)));
    let found = |first: &Call, order| ordered(ONCE, order, &[first.clone(), second.clone()], &[], &[2, 1]);
    for (order, of_unknown, of_known) in [(Order::Calls, 1, 1), (Order::Answers, 0, 1), (Order::None, 0, 0)] {
        assert_eq!(found(&unknown, order), vec![Verdict::Reordered; of_unknown], "{order:?}");
        assert_eq!(found(&known, order), vec![Verdict::Reordered; of_known], "{order:?}");
    }
}

#[test]
fn order_is_of_calls_at_most_once_and_of_answers_at_least_once() {
    let (first, second) = (call(1, failed(Persistence::PossiblyPersisted)), call(2, ok(0)));
    assert_eq!(verdicts(ONCE, &[first.clone(), second.clone()], &[], &[2, 1]), [Verdict::Reordered]);
    assert_eq!(verdicts(LEAST, &[first, second.clone()], &[], &[2, 1]), []);
    assert_eq!(verdicts(LEAST, &[call(1, ok(1)), second], &[], &[2, 1]), [Verdict::Reordered]);
}

proptest! {
    /// A log written in call order, and true results, are never a violation.
    #[test]
    fn a_correct_run_is_clean(fates in prop::collection::vec(0..4u8, 0..60)) {
        let (mut log, mut calls, mut attempts) = (Vec::new(), Vec::new(), Vec::new());
        for (id, fate) in (0..).zip(fates) {
            let offset = log.len() as i64;
            let (written, outcome) = match fate {
                0 => (false, failed(Persistence::NotPersisted)),
                1 => (false, failed(Persistence::PossiblyPersisted)),
                2 => (true, failed(Persistence::PossiblyPersisted)),
                _ => (true, ok(offset)),
            };
            if written {
                log.push(id);
            }
            attempts.push((id, outcome.is_ok()));
            calls.push(call(id, outcome));
        }
        for guarantee in [ONCE, LEAST] {
            prop_assert_eq!(verdicts(guarantee, &calls, &attempts, &log), []);
        }
        // Removing any acknowledged record from the log is a violation.
        let acknowledged = calls.iter().find(|call| call.answered.as_ref().unwrap().outcome.is_ok());
        if let Some(id) = acknowledged.map(|call| call.id) {
            log.retain(|there| *there != id);
            prop_assert!(verdicts(LEAST, &calls, &attempts, &log).contains(&Verdict::LostAcknowledged));
        }
    }
}
