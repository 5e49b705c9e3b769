use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::sync::lock;
use crate::wakers::wake_all;
use crate::{CloseReport, Record, Result, Tenant, TransactionEnd};

/// State of the [close](crate::Control::close) of a transport: its deadline, its report, and who waits for it.
#[derive(Debug, Default)]
pub struct Closing {
    /// Read for each record, without the lock.
    begun: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    deadline: Option<Instant>,
    report: CloseReport,
    /// The calls of `close` that wait for the end, in call order.
    waiting: BTreeMap<u64, Option<Waker>>,
    next: u64,
    /// The transaction that was open is being ended.
    ends_transaction: bool,
    done: bool,
}

/// A call of `close` that waits for the end. A future that resolves when the close is [done](Closing::done).
///
/// The oldest one gets the report, whatever the order of polls.
#[derive(Debug)]
pub struct CloseWaiter {
    closing: Arc<Closing>,
    place: u64,
}

impl Closing {
    /// Begins the close, or joins one that has begun. Records in flight have until the deadline, or that of an earlier
    /// close.
    #[must_use]
    pub fn begin(self: &Arc<Self>, deadline: Option<Instant>) -> CloseWaiter {
        let mut state = self.state();
        state.deadline = match (state.deadline, deadline) {
            (Some(earlier), Some(later)) => Some(earlier.min(later)),
            (earlier, later) => earlier.or(later),
        };
        self.begun.store(true, Ordering::Release);
        let place = state.next;
        state.next += 1;
        state.waiting.insert(place, None);
        CloseWaiter { closing: Arc::clone(self), place }
    }

    /// Whether the close has begun.
    #[inline]
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// The time at which the close gives up the remaining records, once it has begun.
    pub fn deadline(&self) -> Option<Instant> {
        if !self.has_begun() {
            return None;
        }
        self.state().deadline
    }

    /// Called before the open transaction is ended: until that is done, the close waits for more than records.
    pub fn ends_transaction(&self) {
        self.state().ends_transaction = true;
    }

    /// Records how the transaction ended. Has no effect once the close is done.
    pub fn transaction_ended(&self, end: Option<TransactionEnd>) {
        // Dropped after the lock: its error may have a source of the application.
        let _before;
        let mut state = self.state();
        state.ends_transaction = false;
        if !state.done && end.is_some() {
            _before = std::mem::replace(&mut state.report.transaction, end);
        }
    }

    /// Whether the transaction is still being ended.
    pub fn awaits_transaction(&self) -> bool {
        self.state().ends_transaction
    }

    /// Adds the outcome of a record to the report of a close that has begun.
    #[inline]
    pub fn count<A>(&self, record: &Record, outcome: &Result<A>) {
        if self.has_begun() {
            // The number means nothing outside this transport, whose next sinks may have it.
            let record = record.clone().with_tenant(Tenant::default());
            self.state().report.count(record, outcome);
        }
    }

    /// Adds records for which no delivery report arrived.
    pub fn count_lost(&self, records: u64) {
        self.state().report.unknown += records;
    }

    /// Called when all records are settled: wakes the waiters. `unanswered` is the end of a transaction that is still
    /// being ended.
    pub fn done(&self, unanswered: impl FnOnce() -> TransactionEnd) {
        let mut state = self.state();
        state.done = true;
        if state.ends_transaction {
            state.report.transaction = Some(unanswered());
        }
        let wakers: Vec<_> = state.waiting.values_mut().filter_map(Option::take).collect();
        drop(state);
        wake_all(wakers);
    }

    /// Whether the close is done.
    pub fn is_done(&self) -> bool {
        self.state().done
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl CloseWaiter {
    /// Takes the report. It is empty for all calls but the oldest that waits.
    pub fn report(self) -> CloseReport {
        let mut state = self.closing.state();
        match state.waiting.first_key_value() {
            Some((first, _)) if *first == self.place => std::mem::take(&mut state.report),
            _ => CloseReport::default(),
        }
    }
}

impl Future for CloseWaiter {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.closing.state();
        if state.done {
            return Poll::Ready(());
        }
        let old = state.waiting.insert(self.place, Some(cx.waker().clone()));
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Drop for CloseWaiter {
    fn drop(&mut self) {
        let waker = self.closing.state().waiting.remove(&self.place);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::{Error, ErrorKind};

    fn count(closing: &Closing, outcomes: [bool; 2]) {
        for delivered in outcomes {
            let outcome = if delivered { Ok(()) } else { Err(Error::new(ErrorKind::Closed, "given up")) };
            closing.count(&Record::new("orders"), &outcome);
        }
    }

    #[test]
    fn the_oldest_call_gets_the_report_of_what_ended_since_the_first() {
        let closing = Arc::new(Closing::default());
        count(&closing, [true, false]);
        let dropped = closing.begin(None);
        let (first, second) = (closing.begin(None), closing.begin(None));
        drop(dropped);
        count(&closing, [true, false]);
        let mut second = pin!(second);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        closing.done(|| unreachable!("no transaction"));
        assert!(second.as_mut().poll(&mut cx).is_ready());
        let report = first.report();
        assert_eq!((report.delivered, report.failed), (1, 1));
        assert!(closing.begin(None).report().is_complete());
    }

    #[test]
    fn the_earliest_deadline_counts() {
        let closing = Arc::new(Closing::default());
        assert_eq!(closing.deadline(), None);
        let now = Instant::now();
        let late = now + std::time::Duration::from_secs(1);
        let _calls =
            [closing.begin(None), closing.begin(Some(late)), closing.begin(Some(now)), closing.begin(Some(late))];
        assert_eq!(closing.deadline(), Some(now));
    }

    #[test]
    fn a_transaction_without_an_end_is_unknown() {
        let closing = Arc::new(Closing::default());
        let call = closing.begin(None);
        closing.ends_transaction();
        closing.done(|| TransactionEnd::Unknown(Error::new(ErrorKind::Timeout, "no answer")));
        closing.transaction_ended(Some(TransactionEnd::Aborted));
        assert!(matches!(call.report().transaction, Some(TransactionEnd::Unknown(_))));
    }
}
