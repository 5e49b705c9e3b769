//! State of the transactional calls: what failed since `begin`, and why.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kafka_tower_core::sync::lock;

use super::previous::PreviousTransaction;
use crate::open_transaction::OpenTransaction;

/// State shared by the transactional calls.
#[derive(Debug, Default)]
pub(crate) struct TransactionState {
    /// Records that librdkafka reported as failed, and offsets, since the client was made: it refuses to commit without
    /// asking the coordinator. A record that only its caller was told of, such as one whose deadline passed, does not count.
    failed: AtomicU64,
    /// The number at `begin`.
    failed_before: AtomicU64,
    /// Records that were parked and never reached librdkafka, which would commit without them.
    lost: AtomicU64,
    lost_before: AtomicU64,
    pub(crate) open: OpenTransaction,
    pub(crate) previous: PreviousTransaction,
    /// Records that librdkafka gives up now belong to a transaction that is being aborted.
    pub(crate) aborting: AtomicBool,
    /// Why the transaction failed by itself: librdkafka then gives up what waits to be sent.
    error: Mutex<Option<String>>,
}

impl TransactionState {
    pub(crate) fn record_failed(&self) {
        self.failed.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn record_lost(&self) {
        self.lost.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the numbers of failed and lost records so far.
    pub(super) fn counts(&self) -> [u64; 2] {
        [&self.failed, &self.lost].map(|count| count.load(Ordering::Acquire))
    }

    /// Reads from a log line why the transaction failed: "Current transaction failed in state …: …".
    pub(crate) fn fails(&self, text: &str) {
        let why = text.split_once(" failed in state ").and_then(|(_, rest)| rest.split_once(": "));
        if let Some((_, why)) = why {
            lock(&self.error).get_or_insert_with(|| why.to_owned());
        }
    }

    pub(crate) fn error(&self) -> Option<String> {
        lock(&self.error).clone()
    }

    pub(super) fn begun(&self, [failed, lost]: [u64; 2]) {
        *lock(&self.error) = None;
        self.failed_before.store(failed, Ordering::Release);
        self.lost_before.store(lost, Ordering::Release);
    }

    pub(super) fn any_record_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire) != self.failed_before.load(Ordering::Acquire)
    }

    pub(super) fn any_record_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire) != self.lost_before.load(Ordering::Acquire)
    }
}
