//! Stacks without a defect, and properties of a run.

use kafka_tower_memory::sim::{Guarantee, check};
use kafka_tower_memory::{FaultKind, Faults, MemoryKafka};

use crate::support::*;

#[test]
fn the_bare_transport_keeps_both() {
    for guarantee in [Guarantee::AtMostOnce, Guarantee::AtLeastOnce] {
        let report = check(|transport| transport).guarantee(guarantee).seeds(300).run();
        report.assert_clean();
        assert!(report.faults > 10_000 && report.sends > 50_000, "the runs are dull: {report}");
        assert_eq!(report.to_string().lines().count(), 2, "{report}");
    }
}

#[test]
fn a_stack_of_layers_keeps_at_least_once() {
    let stack = |transport| Limited::new(resending(transport, true), 6, Leak::None);
    let report = check(stack).guarantee(Guarantee::AtLeastOnce).seeds(300).run();
    report.assert_clean();
    assert!(!report.to_string().contains("; 0 copies"), "nothing was written twice: {report}");
}

#[test]
fn without_faults_all_is_delivered() {
    let report = check(|transport| transport).guarantee(Guarantee::AtMostOnce).faults(Faults::none()).seeds(20).run();
    report.assert_clean();
    assert_eq!(report.faults, 0);
}

/// A failing seed fails in the same way when it runs alone, and its shrunk faults happen again as a script.
#[test]
fn a_seed_replays() {
    let stack = |transport| resending(transport, true);
    let among = check(stack).guarantee(Guarantee::AtMostOnce).run();
    let failure = among.failure.unwrap();
    let alone = check(stack).guarantee(Guarantee::AtMostOnce).seed(failure.seed).run().failure.unwrap();
    assert_eq!((failure.violations, failure.trace), (alone.violations, alone.trace));
    assert_eq!((failure.sends.len(), failure.faults.len()), (1, 1));
    let writes = [FaultKind::LoseAnswer, FaultKind::ResetAfter, FaultKind::DelayAnswer];
    assert!(writes.contains(&failure.faults[0].kind), "{:?}", failure.faults);
}

#[test]
fn a_seed_draws_the_same_faults_on_a_kafka_of_its_own() {
    let kafka = || {
        let kafka = MemoryKafka::new().with_topic("orders", 2);
        kafka.seed_faults(7, Faults::default().with(FaultKind::DelayAnswer, 0.0).with(FaultKind::DelayAppend, 0.0));
        let mut transport = kafka.transport();
        for n in 0..200 {
            let record = kafka_tower_core::Record::new("orders").with_partition(n % 2);
            drop(tower::Service::call(&mut transport, record));
        }
        let faults = kafka.faults();
        kafka.stop_faults();
        assert!(kafka.faults().is_empty());
        faults
    };
    assert_eq!(kafka(), kafka());
    assert!(kafka().len() > 20);
}
