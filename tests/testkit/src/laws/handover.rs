use std::future::poll_fn;
use std::pin::pin;

use kafka_tower_core::{Record, handover};
use tower_service::Service as _;

use super::Applied;
use super::support::{WIDE, delivered, numbered, ready, within};
use crate::Fixture;

/// Law 8: the transport reports when it has accepted a record, and when its future has resolved.
///
/// # Errors
///
/// None: this law always runs.
///
/// # Panics
///
/// If it does not, or if it reports a refused record as accepted.
pub async fn acceptance_is_reported<F: Fixture>(fixture: &F) -> Applied {
    let mut open = fixture.open(WIDE, 1).await;
    ready(&mut open.transport).await;
    let (future, seen) = handover::observe(|| open.transport.call(numbered(&open.topic, 0)));
    assert_eq!(seen.has_record(), Some(true), "`call` accepted a record without `handover::taken`");
    let mut future = pin!(future);
    let mut answered = false;
    let resolved = poll_fn(|cx| {
        let (poll, seen) = handover::observe(|| future.as_mut().poll(cx));
        answered = seen.was_answered();
        poll
    });
    delivered(within(fixture.patience(), "a record", resolved).await);
    assert!(answered, "the future resolved without `handover::returned`");

    ready(&mut open.transport).await;
    let (refused, seen) = handover::observe(|| open.transport.call(Record::new("bad topic!")));
    within(fixture.patience(), "a refusal", refused).await.expect_err("it is not a topic's name");
    assert!(!seen.was_taken(), "a refused record is not accepted");
    Ok(())
}
