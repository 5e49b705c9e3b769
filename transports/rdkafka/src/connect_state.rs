//! Facts that the connection check waits for.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use kafka_tower_core::sync::lock;

#[derive(Clone, Default)]
pub(crate) struct ConnectFacts {
    pub(crate) producer_id: bool,
    pub(crate) fatal: Option<(i32, String)>,
    pub(crate) denied: Option<(i32, String)>,
}

/// Shared facts, with a condition variable for changes.
#[derive(Default)]
pub(crate) struct ConnectState {
    facts: Mutex<ConnectFacts>,
    changed: Condvar,
}

impl ConnectState {
    pub(crate) fn change(&self, change: impl FnOnce(&mut ConnectFacts)) {
        change(&mut lock(&self.facts));
        self.changed.notify_all();
    }

    /// Waits until the facts give an answer, or until the deadline.
    pub(crate) fn wait<R>(&self, until: Instant, mut answer: impl FnMut(&ConnectFacts) -> Option<R>) -> Option<R> {
        let mut facts = lock(&self.facts);
        loop {
            if let Some(answer) = answer(&facts) {
                return Some(answer);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            facts = self.changed.wait_timeout(facts, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
