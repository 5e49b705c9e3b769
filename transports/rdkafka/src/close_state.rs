//! State of the close: its deadline, its waiters, and its report.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kafka_tower_core::clock::later;
use kafka_tower_core::{CloseReport, Record, Result, TransactionEnd};
use tokio::sync::oneshot;

use crate::slot::Acknowledged;
use crate::sync::lock;
use crate::transactions::errors::unanswered;

#[derive(Default)]
pub(crate) struct CloseState {
    /// Read for each record, without the lock.
    begun: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    deadline: Option<Instant>,
    report: CloseReport,
    waiting: Vec<oneshot::Sender<()>>,
    /// A thread is ending the transaction that was open.
    ends_transaction: bool,
    done: bool,
}

impl CloseState {
    /// Begins the close. Records in flight have until the deadline, or that of an earlier close. None if it is done
    /// already.
    pub(crate) fn begin(&self, within: Duration) -> Option<oneshot::Receiver<()>> {
        let deadline = later(Instant::now(), within);
        let mut state = lock(&self.state);
        state.deadline = Some(state.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        self.begun.store(true, Ordering::Release);
        if state.done {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.push(sender);
        Some(receiver)
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        if !self.has_begun() {
            return None;
        }
        lock(&self.state).deadline
    }

    /// Called before the open transaction is ended: until that is done, the close waits for more than records.
    pub(crate) fn ends_transaction(&self) {
        lock(&self.state).ends_transaction = true;
    }

    /// Records how the transaction ended. Has no effect once the close is done.
    pub(crate) fn transaction_ended(&self, end: Option<TransactionEnd>) {
        let mut state = lock(&self.state);
        state.ends_transaction = false;
        if !state.done {
            state.report.transaction = end;
        }
    }

    pub(crate) fn awaits_transaction(&self) -> bool {
        lock(&self.state).ends_transaction
    }

    /// Adds the outcome of a record to the report of a close that has begun.
    pub(crate) fn count(&self, record: &Record, outcome: &Result<Acknowledged>) {
        if self.has_begun() {
            lock(&self.state).report.count(record.clone(), outcome);
        }
    }

    /// Adds records for which librdkafka delivered no report.
    pub(crate) fn count_lost(&self, records: u64) {
        lock(&self.state).report.unknown += records;
    }

    /// Called when all records are settled: wakes the waiters.
    pub(crate) fn done(&self) {
        let mut state = lock(&self.state);
        state.done = true;
        if state.ends_transaction {
            state.report.transaction = Some(TransactionEnd::Unknown(unanswered()));
        }
        for waiting in state.waiting.drain(..) {
            let _nobody_waits_any_more = waiting.send(());
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        lock(&self.state).done
    }

    pub(crate) fn take_report(&self) -> CloseReport {
        std::mem::take(&mut lock(&self.state).report)
    }
}
