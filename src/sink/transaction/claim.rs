//! Transactional ids in use in this process: two sinks with one id would fence each other.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use kafka_tower_core::sync::lock;
use kafka_tower_core::{Error, ErrorKind, Result, TransactionControl};

/// Keys of the producers that sinks of this process use.
static IN_USE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The right of a sink to its transactional id in this process, until it is released or dropped.
#[derive(Debug)]
pub(in crate::sink) struct Claim {
    key: String,
    released: AtomicBool,
}

impl Claim {
    /// Claims the transactional id of a transport. `None` if the transport has no key.
    ///
    /// # Errors
    ///
    /// `Config` if another sink uses it.
    pub(in crate::sink) fn of(transactions: &dyn TransactionControl, id: &str) -> Result<Option<Self>> {
        let Some(key) = transactions.producer_key() else { return Ok(None) };
        if !in_use().insert(key.clone()) {
            return Err(already_used(id));
        }
        Ok(Some(Self { key, released: AtomicBool::new(false) }))
    }

    /// Releases the id, because its producer was closed.
    pub(in crate::sink) fn release(&self) {
        if !self.released.swap(true, Ordering::AcqRel) {
            in_use().remove(&self.key);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}

fn in_use() -> MutexGuard<'static, BTreeSet<String>> {
    lock(&IN_USE)
}

fn already_used(id: &str) -> Error {
    Error::new(ErrorKind::Config, format!("another sink of this process uses the transactional id {id:?}"))
        .with_help("clone that sink, or close it first; otherwise give each sink its own `transactional_id`")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_text_matches_its_error() {
        kafka_tower_test_texts::assert_consistent(&super::already_used("orders-1"));
    }
}
