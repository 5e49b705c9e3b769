//! Negative controls: each planted defect is found in less than a second with the right verdict, and the same run
//! without it is clean.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Delivery, Record, Transport};
use kafka_tower_memory::sim::{Check, Guarantee, Report, Verdict, check};
use kafka_tower_memory::{FaultKind, Faults, MemoryTransport};
use tokio::time::sleep;
use tower::Service;

use crate::support::*;

const SEEDS: u64 = 100;

fn run<S: Transport>(check: Check<impl Fn(MemoryTransport) -> S>, guarantee: Guarantee) -> Report {
    check.guarantee(guarantee).seeds(SEEDS).run()
}

/// `planted` has the defect; `clean` is the same run without it.
#[track_caller]
fn assert_found(verdict: Verdict, planted: impl Fn() -> Report, clean: impl Fn() -> Report) {
    let report = found_at_once(planted);
    assert_eq!(report.verdicts(), [verdict], "{report}");
    let failure = report.failure.as_ref().unwrap();
    assert_eq!(failure.not_deterministic, None);
    assert!(failure.sends.len() <= 8 && failure.faults.len() <= 3, "it is not shrunk: {report}");
    clean().assert_clean();
}

fn dropping<S: Transport>(inner: S, every: u64) -> impl Transport {
    passing(inner, move |inner: &mut S, record: Record| {
        if hits(&record, every) {
            return Box::pin(ready(Ok(Delivery::new(record.topic, 0))));
        }
        Box::pin(inner.call(record))
    })
}

#[test]
fn a_dropped_record() {
    for guarantee in [Guarantee::AtMostOnce, Guarantee::AtLeastOnce] {
        let with = |every| run(check(move |t| dropping(t, every)), guarantee);
        assert_found(Verdict::LostAcknowledged, || with(150), || with(u64::MAX));
    }
}

fn duplicating<S: Transport>(inner: S, every: u64) -> impl Transport {
    passing(inner, move |inner: &mut S, record: Record| {
        let answer = inner.call(record.clone());
        if !hits(&record, every) {
            return Box::pin(answer);
        }
        let mut inner = inner.clone();
        Box::pin(async move {
            let outcome = answer.await?;
            let _ = inner.call(record).await;
            Ok(outcome)
        })
    })
}

#[test]
fn a_duplicate() {
    for guarantee in [Guarantee::AtMostOnce, Guarantee::AtLeastOnce] {
        let with = |every| run(check(move |t| duplicating(t, every)), guarantee);
        assert_found(Verdict::Duplicate, || with(150), || with(u64::MAX));
    }
}

/// Sends in a later poll and not in the call.
fn late<S: Transport>(inner: S, every: u64) -> impl Transport {
    passing(inner, move |inner: &mut S, record: Record| {
        if !hits(&record, every) {
            return Box::pin(inner.call(record));
        }
        let mut inner = inner.clone();
        Box::pin(async move {
            sleep(Duration::from_millis(5)).await;
            inner.call(record).await
        })
    })
}

#[test]
fn a_reordered_key() {
    let with = |every| run(check(move |t| late(t, every)), Guarantee::AtMostOnce);
    assert_found(Verdict::Reordered, || with(20), || with(u64::MAX));
}

/// Acknowledges before the outcome is known.
fn early<S: Transport>(inner: S, every: u64) -> impl Transport {
    passing(inner, move |inner: &mut S, record: Record| {
        let (topic, hit) = (Arc::clone(&record.topic), hits(&record, every));
        let answer = inner.call(record);
        if hit { Box::pin(ready(Ok(Delivery::new(topic, 0)))) } else { Box::pin(answer) }
    })
}

#[test]
fn an_early_acknowledgement() {
    // No record may be lost, so that each one is in the log at the end.
    let faults = Faults::none().with(FaultKind::DelayAppend, 0.2).with(FaultKind::DelayAnswer, 0.1);
    let with = |every| run(check(move |t| early(t, every)).faults(faults.clone()), Guarantee::AtMostOnce);
    assert_found(Verdict::PersistedNotInLog, || with(10), || with(u64::MAX));
    let with = |every| run(check(move |t| early(t, every)), Guarantee::AtMostOnce);
    let found = with(3).verdicts();
    assert!(matches!(found[0], Verdict::LostAcknowledged | Verdict::PersistedNotInLog), "{found:?}");
}

#[test]
fn a_leaked_permit() {
    let with = |leak| run(check(move |t| Limited::new(t, 4, leak)), Guarantee::AtMostOnce);
    assert_found(Verdict::PermitLeak, || with(Leak::Permit), || with(Leak::None));
}

#[test]
fn a_lost_wake_up() {
    let with = |leak| run(check(move |t| Limited::new(t, 4, leak)), Guarantee::AtMostOnce);
    assert_found(Verdict::LostWakeUp, || with(Leak::WakeUp), || with(Leak::None));
}

/// Counts failures in a row and opens for a time. `stale`: the result of a call in flight depends on the breaker's
/// state when the answer arrives, not when the call was admitted.
fn breaker<S: Transport>(inner: S, stale: bool) -> impl Transport {
    let failures = Arc::new(AtomicU32::new(0));
    passing(inner, move |inner: &mut S, record: Record| {
        let failures = Arc::clone(&failures);
        let open = |failures: &AtomicU32| failures.load(Ordering::SeqCst) >= 3;
        if open(&failures) {
            failures.fetch_add(1, Ordering::SeqCst);
            // A few calls are refused, then one is tried.
            if failures.load(Ordering::SeqCst) < 10 {
                return Box::pin(ready(Err(circuit_open())));
            }
            failures.store(2, Ordering::SeqCst);
        }
        let answer = inner.call(record);
        Box::pin(async move {
            let outcome = answer.await;
            if stale && open(&failures) {
                return Err(circuit_open());
            }
            match &outcome {
                Ok(_) => failures.store(0, Ordering::SeqCst),
                Err(_) => drop(failures.fetch_add(1, Ordering::SeqCst)),
            }
            outcome
        })
    })
}

#[test]
fn a_stale_result_of_a_breaker() {
    let with = |stale| run(check(move |t| breaker(t, stale)), Guarantee::AtMostOnce);
    let report = found_at_once(|| with(true));
    assert_eq!(report.verdicts(), [Verdict::NotPersistedInLog], "{report}");
    with(false).assert_clean();
}

/// A stack that retries possibly written records keeps at least once, and not at most once.
#[test]
fn retrying_possibly_written_records_breaks_at_most_once() {
    let with = |unknown, guarantee| run(check(move |t| resending(t, unknown)), guarantee);
    assert_eq!(with(true, Guarantee::AtMostOnce).verdicts()[0], Verdict::Duplicate);
    with(true, Guarantee::AtLeastOnce).assert_clean();
    with(false, Guarantee::AtLeastOnce).assert_clean();
}

/// A stack that never resolves some sends.
#[test]
fn a_stuck_future() {
    let stuck = |every: u64| {
        move |t: MemoryTransport| {
            passing(t, move |inner: &mut MemoryTransport, record: Record| {
                if hits(&record, every) { Box::pin(std::future::pending()) } else { Box::pin(inner.call(record)) }
            })
        }
    };
    let with = |every| run(check(stuck(every)), Guarantee::AtMostOnce);
    let report = with(100);
    assert_eq!(report.verdicts(), [Verdict::StuckFuture], "{report}");
    with(u64::MAX).assert_clean();
    let burst = Limits { records: 8, bytes: 2_000 };
    let report = check(stuck(3)).guarantee(Guarantee::AtMostOnce).callers(0, 0).limits(burst).seeds(1).run();
    assert_eq!(report.verdicts(), [Verdict::UnreportedAtClose], "{report}");
}

#[test]
fn a_panic_is_a_verdict_and_keeps_its_seed() {
    let report = check(|t: MemoryTransport| {
        passing(t, |inner: &mut MemoryTransport, record: Record| {
            assert!(!hits(&record, 50), "planted");
            Box::pin(inner.call(record))
        })
    });
    let report = report.shrink(false).run();
    assert_eq!(report.verdicts(), [Verdict::Panicked], "{report}");
    assert!(report.to_string().contains("planted"), "{report}");
}

/// A stack whose behaviour depends on something other than its inputs.
#[test]
fn a_stack_that_is_not_deterministic_is_reported() {
    let draw = Arc::new(AtomicU32::new(0));
    let report = check(move |t: MemoryTransport| {
        let shift = u64::from(draw.fetch_add(1, Ordering::SeqCst));
        dropping(t, 20 + shift)
    });
    let report = report.guarantee(Guarantee::AtMostOnce).run();
    let failure = report.failure.as_ref().unwrap();
    assert!(failure.not_deterministic.is_some());
    assert!(report.to_string().contains("not deterministic"), "{report}");
}
