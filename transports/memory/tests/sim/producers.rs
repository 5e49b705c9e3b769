//! A client's own retries, and which of them break a guarantee.

use std::time::Duration;

use kafka_tower_memory::sim::{Guarantee, Order, Verdict, check};
use kafka_tower_memory::{FaultKind, Faults, Producer};

use crate::support::*;

const LINGER: Duration = Duration::from_millis(2);

#[test]
fn an_idempotent_client_keeps_at_most_once() {
    let report = check(|t| t).guarantee(Guarantee::AtMostOnce).producer(|p| p.retries(50)).seeds(200).run();
    report.assert_clean();
    let report = check(|t| t).guarantee(Guarantee::AtMostOnce).producer(|p| p.retries(50).batches(4, LINGER)).run();
    report.assert_clean();
}

/// The answer is lost, the client retries, and the broker cannot recognize the duplicate.
#[test]
fn without_idempotence_the_checker_finds_defects() {
    let plain = |p: Producer| p.retries(50).idempotence(false);
    for guarantee in [Guarantee::AtMostOnce, Guarantee::AtLeastOnce] {
        let report = check(|t| t).guarantee(guarantee).order(Order::None).producer(plain).run();
        assert_eq!(report.verdicts(), [Verdict::Duplicate], "{report}");
        assert_eq!(report.failure.as_ref().unwrap().faults.len(), 1, "{report}");
    }
}

/// A local time-out shorter than an outage: the client takes a new epoch and writes other records a second time, all
/// of them answered with `Ok` (2,460 records in one measured outage of a real broker).
#[test]
fn a_local_time_out_of_an_idempotent_client_writes_twice() {
    let hasty = |p: Producer| p.retries(50).delivery_timeout(Duration::from_millis(150));
    let patient = |p: Producer| p.retries(50).delivery_timeout(Duration::from_secs(600));
    let faults = Faults::default().with(FaultKind::LoseAnswer, 0.3);
    let run = |producer| check(|t| t).guarantee(Guarantee::AtMostOnce).faults(faults.clone()).producer(producer).run();
    let report = run(hasty);
    assert_eq!(report.verdicts(), [Verdict::Duplicate], "{report}");
    run(patient).assert_clean();
}

#[test]
fn a_stack_over_batches_keeps_its_guarantee() {
    let batches = |p: Producer| p.batches(4, LINGER);
    let report = check(|t| resending(t, true)).guarantee(Guarantee::AtLeastOnce).producer(batches).seeds(200).run();
    report.assert_clean();
    check(|t| t).guarantee(Guarantee::ExactlyOnce).producer(batches).seeds(50).run().assert_clean();
}
