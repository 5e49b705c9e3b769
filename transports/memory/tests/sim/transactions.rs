//! Exactly once: a stack without defects, and stacks whose defects make part of a transaction visible.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Control, Delivery, Record, Transport};
use kafka_tower_memory::sim::{Guarantee, Report, Verdict, check};
use kafka_tower_memory::{FaultKind, Faults, MemoryTransport};
use tower::Service;

use crate::support::*;

#[test]
fn transactions_keep_exactly_once() {
    let report = check(|transport| transport).guarantee(Guarantee::ExactlyOnce).seeds(300).run();
    report.assert_clean();
    assert!(report.to_string().contains("6000 transactions"), "{report}");
    assert!(report.faults > 3_000, "the runs are dull: {report}");
    let report = check(|t| Limited::new(t, 3, Leak::None)).guarantee(Guarantee::ExactlyOnce).seeds(100).run();
    report.assert_clean();
}

#[track_caller]
fn assert_found(verdict: Verdict, planted: impl Fn() -> Report, clean: impl Fn() -> Report) {
    let report = found_at_once(planted);
    assert!(report.verdicts().contains(&verdict), "{report}");
    clean().assert_clean();
}

/// A layer that swallows a record of a transaction.
fn swallowing<S: Transport>(inner: S, every: u64) -> impl Transport {
    passing(inner, move |inner: &mut S, record: Record| {
        if hits(&record, every) {
            return Box::pin(ready(Ok(Delivery::new(record.topic, 0))));
        }
        Box::pin(inner.call(record))
    })
}

#[test]
fn a_torn_transaction() {
    let with = |every| check(move |t| swallowing(t, every)).guarantee(Guarantee::ExactlyOnce).run();
    assert_found(Verdict::TornTransaction, || with(5), || with(u64::MAX));
}

/// A layer that sends some records through a producer without transactions.
#[test]
fn a_record_beside_its_transaction_is_an_aborted_read() {
    let with = |every: u64| {
        check(move |t: MemoryTransport| {
            let control: Arc<dyn Control> = t.control();
            passing(t, move |inner: &mut MemoryTransport, record: Record| {
                let answer = inner.call(record.clone());
                if hits(&record, every) {
                    let control = Arc::clone(&control);
                    return Box::pin(async move {
                        let outcome = answer.await;
                        // Commits in the middle of another caller's transaction.
                        let transactions = control.transactions().unwrap();
                        let _ = transactions.commit(Duration::from_secs(1)).await;
                        let _ = transactions.begin(Duration::from_secs(1)).await;
                        outcome
                    });
                }
                Box::pin(answer)
            })
        })
        .guarantee(Guarantee::ExactlyOnce)
        .run()
    };
    assert_found(Verdict::AbortedRead, || with(4), || with(u64::MAX));
}

/// KAFKA-17754: an end request without an answer may arrive late and end the producer's next transaction. A new producer
/// avoids this, because the broker fences the old request.
#[test]
fn a_stale_end_is_found_and_a_new_producer_prevents_it() {
    let faults = Faults::default().with(FaultKind::StaleEnd, 0.1);
    let check = || check(|t| t).guarantee(Guarantee::ExactlyOnce).faults(faults.clone()).seeds(200);
    let report = found_at_once(|| check().run());
    let torn = [Verdict::AbortedRead, Verdict::TornTransaction, Verdict::LostAcknowledged];
    assert!(report.verdicts().iter().any(|verdict| torn.contains(verdict)), "{report}");
    check().replace_producers(true).run().assert_clean();
}
