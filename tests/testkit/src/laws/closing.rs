use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Delivery, Persistence, Result};

use tower_service::Service as _;

use super::Applied;
use super::support::{WIDE, all_once, call, numbered, within};
use crate::fixture::number;
use crate::{Broker as _, Fixture, LogRecord, Opened};

/// Law 8: close delivers records that were called before.
///
/// # Errors
///
/// None: this law always runs.
///
/// # Panics
///
/// If not.
pub async fn close_delivers_everything<F: Fixture>(fixture: &F) -> Applied {
    const RECORDS: usize = 1_000;
    let mut open = fixture.open(WIDE, 1).await;
    for number in 0..RECORDS {
        drop(call(&mut open.transport, numbered(&open.topic, number)).await);
    }
    let report = within(fixture.patience(), "close", open.control.close(Duration::from_secs(30))).await.expect("close");
    assert!(report.is_complete(), "{report}");
    let numbers: Vec<_> = open.broker.read().await.iter().map(LogRecord::number).collect();
    assert!(numbers.is_sorted(), "in call order");
    all_once(numbers, RECORDS);
    Ok(())
}

/// Law 8: close reports undelivered records, each once and complete, with an outcome that agrees with the log.
///
/// # Errors
///
/// [`NotApplicable`](crate::NotApplicable), if the broker cannot be paused.
///
/// # Panics
///
/// If not.
pub async fn close_reports_what_it_could_not_deliver<F: Fixture>(fixture: &F) -> Applied {
    const RECORDS: usize = 20;
    let mut open = fixture.open(Limits { records: 10, bytes: 1_000 }, 1).await;
    open.broker.pause().await?;
    // Each on its own handle and without readiness: half of them are parked.
    let mut handles: Vec<_> = (0..RECORDS).map(|_| open.transport.clone()).collect();
    let futures: Vec<_> = handles.iter_mut().enumerate().map(|(n, h)| h.call(numbered(&open.topic, n))).collect();
    let close = open.control.close(Duration::from_millis(300));
    let report = within(fixture.patience(), "close", close).await.expect("close");
    assert_eq!(report.delivered + report.failed + report.unknown, RECORDS as u64, "{report}");
    let undelivered: BTreeSet<usize> = report.undelivered.iter().map(|u| number(u.record.value.as_deref())).collect();
    assert_eq!(undelivered.len() as u64, report.failed + report.unknown, "each one once");
    assert!(report.failed >= 10, "{report}: the parked ones are not written");
    let outcomes = within(fixture.patience(), "futures", join_all(futures)).await;
    open.broker.resume().await;
    let written: BTreeSet<_> = open.broker.read().await.iter().map(LogRecord::number).collect();
    for undelivered in &report.undelivered {
        let number = number(undelivered.record.value.as_deref());
        if undelivered.error.persistence() == Persistence::NotPersisted {
            assert!(!written.contains(&number), "{number} is in the log: {}", undelivered.error);
        }
    }
    no_lies(&outcomes, &written);
    let again = open.control.close(Duration::from_secs(1)).await.expect("close");
    assert!(again.undelivered.is_empty(), "a second close reports nothing");
    Ok(())
}

/// Drops the last handle without a close: every future resolves, with a true outcome.
///
/// # Errors
///
/// None: this law always runs.
///
/// # Panics
///
/// If one does.
pub async fn dropping_the_last_handle_resolves_all<F: Fixture>(fixture: &F) -> Applied {
    let Opened { mut transport, control, topic, broker } = fixture.open(WIDE, 1).await;
    let mut futures = Vec::new();
    for number in 0..100 {
        futures.push(call(&mut transport, numbered(&topic, number)).await);
    }
    drop(control);
    // Where blocking is allowed, because the last handle waits for its threads.
    tokio::task::spawn_blocking(move || drop(transport)).await.expect("a drop");
    let outcomes = within(fixture.patience(), "futures", join_all(futures)).await;
    let written: BTreeSet<_> = broker.read().await.iter().map(LogRecord::number).collect();
    no_lies(&outcomes, &written);
    Ok(())
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
