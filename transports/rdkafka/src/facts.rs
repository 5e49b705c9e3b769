//! Facts that the connection check waits for.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::shared::lock;

#[derive(Clone, Default)]
pub(crate) struct Facts {
    pub(crate) producer_id: bool,
    pub(crate) fatal: Option<(i32, String)>,
    pub(crate) denied: Option<(i32, String)>,
}

/// Shared facts, with a condition variable for changes.
#[derive(Default)]
pub(crate) struct Known {
    facts: Mutex<Facts>,
    changed: Condvar,
}

impl Known {
    pub(crate) fn change(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut lock(&self.facts));
        self.changed.notify_all();
    }

    /// Waits until the facts give an answer, or until the deadline.
    pub(crate) fn wait<R>(&self, until: Instant, mut answer: impl FnMut(&Facts) -> Option<R>) -> Option<R> {
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
