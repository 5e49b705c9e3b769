//! Task that keeps the deadlines of records that wait, or whose transaction is under way.

use std::sync::{Arc, Weak};

use kafka_tower_core::ledger::RecordTransport;
use tokio::time::{Instant, timeout_at};

use super::inner::BatchInner;

/// Expires records until the layer is gone, which it does not keep alive.
pub(super) async fn keep_deadlines(inner: Weak<BatchInner>) {
    while let Some(live) = inner.upgrade() {
        let now = live.now();
        drop(live.expire(now, |slot, admitted| {
            let trouble = live.lane_of(slot).trouble();
            slot.time_out(admitted, now, trouble.as_deref().or(admitted.then_some(NOT_COMMITTED)))
        }));
        if live.has_ended() {
            live.notify_lanes();
        }
        let (changed, next) = (Arc::clone(&live.expiry), live.ledger().next_deadline());
        drop(live);
        match next {
            Some(at) => drop(timeout_at(Instant::from_std(at), changed.notified()).await),
            None => changed.notified().await,
        }
    }
}

/// Why a record that had room has expired, if its lane works.
pub(super) const NOT_COMMITTED: &str = "its transaction is not committed yet";
