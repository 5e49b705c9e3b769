//! What the laws share.

use std::future::{Future, poll_fn};
use std::time::Duration;

use kafka_tower_core::gate::Limits;
use kafka_tower_core::{Delivery, Error, Record, Result, Transport};

/// Limits that no law reaches.
pub(super) const WIDE: Limits = Limits { records: 20_000, bytes: 64 << 20 };

/// Maximum time that a law waits for room.
const READINESS: Duration = Duration::from_secs(60);

/// A record with a number as its value.
pub(super) fn numbered(topic: &str, number: usize) -> Record {
    Record::new(topic).with_value(number.to_string())
}

/// Waits for room.
pub(super) async fn ready<T: Transport>(transport: &mut T) {
    let ready = within(READINESS, "readiness", poll_fn(|cx| transport.poll_ready(cx))).await;
    ready.unwrap_or_else(|error| panic!("`poll_ready` failed, so the transport cannot be used any more: {error:#}"));
}

/// Waits for room and calls.
pub(super) async fn call<T: Transport>(transport: &mut T, record: Record) -> T::Future {
    ready(transport).await;
    transport.call(record)
}

/// Fails instead of hanging.
pub(super) async fn within<F: Future>(patience: Duration, what: &str, future: F) -> F::Output {
    match tokio::time::timeout(patience, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: not done within {patience:?}"),
    }
}

/// Unwraps a delivery.
pub(super) fn delivered(outcome: Result<Delivery, Error>) -> Delivery {
    outcome.unwrap_or_else(|error| panic!("not delivered: {error:#}"))
}

/// Each number below `count` once.
pub(super) fn all_once(mut numbers: Vec<usize>, count: usize) {
    numbers.sort_unstable();
    let repeated: Vec<_> = numbers.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).take(10).collect();
    assert!(repeated.is_empty(), "more than once: {repeated:?}, …");
    let lost: Vec<_> = (0..count).filter(|number| numbers.binary_search(number).is_err()).take(10).collect();
    assert!(lost.is_empty(), "lost: {lost:?}, … of {count}");
}
