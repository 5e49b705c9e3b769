use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Delivery, Persistence, Result};
use tower::Service;

use super::{WIDE, all_once, call, numbered, silenced, within};
use crate::{Subject, Written};

/// Law 8: close delivers records that were called before.
///
/// # Panics
///
/// If not.
pub async fn close_delivers_everything<S: Subject>(subject: &S) {
    const RECORDS: usize = 1_000;
    let mut open = subject.open(WIDE, 1).await;
    for number in 0..RECORDS {
        drop(call(&mut open.transport, numbered(&open.topic, number)).await);
    }
    let report = within(subject.patience(), "close", open.control.close(Duration::from_secs(30))).await.expect("close");
    assert!(report.is_complete(), "{report}");
    let numbers: Vec<_> = open.kafka.read().await.iter().map(Written::number).collect();
    assert!(numbers.is_sorted(), "in call order");
    all_once(numbers, RECORDS);
}

/// Law 8: close reports undelivered records, each once and complete, with an outcome that agrees with the log.
///
/// # Panics
///
/// If not.
pub async fn close_reports_what_it_could_not_deliver<S: Subject>(subject: &S) {
    const RECORDS: usize = 20;
    let open = subject.open(Limits { records: 10, bytes: 1_000 }, 1).await;
    if !silenced(&*open.kafka, "close_reports_what_it_could_not_deliver").await {
        return;
    }
    // Each on its own handle and without readiness: half of them are parked.
    let mut handles: Vec<_> = (0..RECORDS).map(|_| open.transport.clone()).collect();
    let futures: Vec<_> = handles.iter_mut().enumerate().map(|(n, h)| h.call(numbered(&open.topic, n))).collect();
    let close = open.control.close(Duration::from_millis(300));
    let report = within(subject.patience(), "close", close).await.expect("close");
    assert_eq!(report.delivered + report.failed + report.unknown, RECORDS as u64, "{report}");
    let undelivered: BTreeSet<usize> = report.undelivered.iter().map(|u| number(u.record.value.as_deref())).collect();
    assert_eq!(undelivered.len() as u64, report.failed + report.unknown, "each one once");
    assert!(report.failed >= 10, "{report}: the parked ones are not written");
    let outcomes = within(subject.patience(), "futures", join_all(futures)).await;
    open.kafka.answer().await;
    let written: BTreeSet<_> = open.kafka.read().await.iter().map(Written::number).collect();
    for undelivered in &report.undelivered {
        let number = number(undelivered.record.value.as_deref());
        if undelivered.error.persistence() == Persistence::NotPersisted {
            assert!(!written.contains(&number), "{number} is in the log: {}", undelivered.error);
        }
    }
    no_lies(&outcomes, &written);
    let again = open.control.close(Duration::from_secs(1)).await.expect("close");
    assert!(again.undelivered.is_empty(), "a second close reports nothing");
}

/// Drops the last handle without a close: every future resolves, with a true outcome.
///
/// # Panics
///
/// If one does.
pub async fn dropping_the_last_handle_resolves_all<S: Subject>(subject: &S) {
    let crate::Open { mut transport, control, topic, kafka } = subject.open(WIDE, 1).await;
    let mut futures = Vec::new();
    for number in 0..100 {
        futures.push(call(&mut transport, numbered(&topic, number)).await);
    }
    drop(control);
    // Where blocking is allowed, because the last handle waits for its threads.
    tokio::task::spawn_blocking(move || drop(transport)).await.expect("a drop");
    let outcomes = within(subject.patience(), "futures", join_all(futures)).await;
    let written: BTreeSet<_> = kafka.read().await.iter().map(Written::number).collect();
    no_lies(&outcomes, &written);
}

fn number(value: Option<&[u8]>) -> usize {
    value.and_then(|v| std::str::from_utf8(v).ok()).and_then(|v| v.parse().ok()).expect("a number")
}

fn no_lies(outcomes: &[Result<Delivery>], written: &BTreeSet<usize>) {
    for (number, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(_) => assert!(written.contains(&number), "{number} was acknowledged and is lost"),
            Err(error) if error.persistence() == Persistence::NotPersisted => {
                assert!(!written.contains(&number), "{number} is in the log: {error}");
            }
            Err(_) => {}
        }
    }
}
