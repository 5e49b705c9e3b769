//! Describes records whose caller dropped the future, or got a time-out, before the outcome was known.
//!
//! A transport describes such a record with an [`Unanswered`]: in the time-out error
//! ([`Error::with_unanswered`](crate::Error::with_unanswered)) or, if the future is dropped, with [`tell`]. A layer
//! that judges Kafka's health, as the circuit breaker does, reads the error and drops futures inside [`listen`]. It
//! may [subscribe](Unanswered::subscribe) to the report that arrives later.
//!
//! ```
//! use std::time::Duration;
//! use kafka_tower_core::unanswered::{self, Unanswered};
//!
//! /// The future of a transport that handed its record over 10 s ago.
//! struct Delivery;
//! impl Drop for Delivery {
//!     fn drop(&mut self) {
//!         unanswered::tell(|| Some(Unanswered::new(Some(Duration::from_secs(10)))));
//!     }
//! }
//!
//! let unanswered = unanswered::listen(|| drop(Delivery)).unwrap();
//! assert_eq!(unanswered.handed_over_for(), Some(Duration::from_secs(10)));
//! ```

use crate::sync::lock;
use crate::wakers::guarded;
use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A record whose caller did not learn its outcome. Clones describe the same record.
#[derive(Clone, Debug)]
pub struct Unanswered {
    handed_over_for: Option<Duration>,
    budget: Option<Duration>,
    throttled: bool,
    report: LateReport,
}

impl Unanswered {
    /// Creates the description of a record that Kafka's client has had for `handed_over_for`; `None` if it was never
    /// handed over.
    #[must_use]
    pub fn new(handed_over_for: Option<Duration>) -> Self {
        Self { handed_over_for, budget: None, throttled: false, report: LateReport::default() }
    }

    /// Sets the time between the call and the record's deadline.
    #[must_use]
    pub fn with_budget(mut self, budget: Option<Duration>) -> Self {
        self.budget = budget;
        self
    }

    /// Sets whether a broker delayed the record because of a quota.
    #[must_use]
    pub fn with_throttled(mut self, throttled: bool) -> Self {
        self.throttled = throttled;
        self
    }

    /// How long Kafka's client had the record; `None` if it was never handed over.
    #[must_use]
    pub fn handed_over_for(&self) -> Option<Duration> {
        self.handed_over_for
    }

    /// The time between the call and the record's deadline, if it has one.
    #[must_use]
    pub fn budget(&self) -> Option<Duration> {
        self.budget
    }

    /// Whether a broker delayed the record because of a quota.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        self.throttled
    }

    /// Handle to the late report, which the transport completes when the report arrives.
    #[must_use]
    pub fn report(&self) -> LateReport {
        self.report.clone()
    }

    /// Calls `observer` when the record's report arrives, or at once if it has arrived.
    pub fn subscribe(&self, observer: Arc<dyn LateObserver>) {
        self.report.subscribe(observer);
    }
}

/// Observer of reports that arrive after the caller dropped the future or got a time-out.
pub trait LateObserver: Send + Sync {
    /// Called when the report arrives: the record was delivered, or it failed. Runs on the transport's thread and
    /// must not block.
    fn late_report(&self, delivered: bool);
}

/// The report of an [`Unanswered`] record, which may arrive later. Clones share the same report.
#[derive(Clone, Default)]
pub struct LateReport(Arc<Mutex<State>>);

enum State {
    Awaited(Vec<Arc<dyn LateObserver>>),
    Arrived { delivered: bool },
}

impl Default for State {
    fn default() -> Self {
        Self::Awaited(Vec::new())
    }
}

impl LateReport {
    /// Records the arrival of the report. Only the first call counts.
    pub fn arrive(&self, delivered: bool) {
        let mut state = self.lock();
        let observers = match &mut *state {
            State::Awaited(observers) => std::mem::take(observers),
            State::Arrived { .. } => return,
        };
        *state = State::Arrived { delivered };
        drop(state);
        for observer in observers {
            guarded("an observer of late reports", || observer.late_report(delivered));
        }
    }

    fn subscribe(&self, observer: Arc<dyn LateObserver>) {
        let delivered = match &mut *self.lock() {
            State::Awaited(observers) => return observers.push(observer),
            State::Arrived { delivered } => *delivered,
        };
        observer.late_report(delivered);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl fmt::Debug for LateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.lock() {
            State::Awaited(observers) => write!(f, "LateReport(awaited by {})", observers.len()),
            State::Arrived { delivered } => write!(f, "LateReport(delivered: {delivered})"),
        }
    }
}

enum Listening {
    No,
    Yes(Option<Unanswered>),
}

thread_local! {
    /// Thread-local, because a future is dropped on the thread that drops its owner: this passes through layers of
    /// any type.
    static LISTENING: RefCell<Listening> = const { RefCell::new(Listening::No) };
}

/// Describes a record whose future is dropped before its outcome was known. `describe` runs only if a layer listens.
pub fn tell(describe: impl FnOnce() -> Option<Unanswered>) {
    let is_heard = LISTENING.try_with(|cell| cell.try_borrow().is_ok_and(|cell| matches!(*cell, Listening::Yes(_))));
    if !is_heard.unwrap_or(false) {
        return;
    }
    if let Some(told) = describe() {
        hear(told);
    }
}

fn hear(told: Unanswered) {
    let _ended_thread = LISTENING.try_with(|cell| {
        if let Listening::Yes(known) = &mut *cell.borrow_mut() {
            // Of several records, keep the one that was handed over longest ago.
            if known.as_ref().is_none_or(|known| known.handed_over_for < told.handed_over_for) {
                *known = Some(told);
            }
        }
    });
}

/// Runs `f`, which drops a future, and returns the description that a transport gave meanwhile. An enclosing `listen`
/// gets it too. A layer that moves the send to a task of its own hides the drop: nothing is returned then.
pub fn listen(f: impl FnOnce()) -> Option<Unanswered> {
    /// Restores the outer state, also after a panic.
    struct Scope(Listening);
    impl Drop for Scope {
        fn drop(&mut self) {
            let outer = std::mem::replace(&mut self.0, Listening::No);
            let _ended_thread = LISTENING.try_with(|cell| cell.replace(outer));
        }
    }
    let scope = Scope(LISTENING.try_with(|cell| cell.replace(Listening::Yes(None))).unwrap_or(Listening::No));
    f();
    let told = LISTENING.try_with(|cell| match &mut *cell.borrow_mut() {
        Listening::Yes(told) => told.take(),
        Listening::No => None,
    });
    drop(scope);
    let told = told.ok().flatten();
    if let Some(told) = &told {
        tell(|| Some(told.clone()));
    }
    told
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn unanswered(seconds: u64) -> Unanswered {
        Unanswered::new(Some(Duration::from_secs(seconds)))
    }

    #[test]
    fn all_enclosing_listeners_get_the_description_and_no_later_one() {
        tell(|| panic!("described without a listener"));
        let outer = listen(|| {
            let inner = listen(|| tell(|| Some(unanswered(3))));
            assert_eq!(inner.unwrap().handed_over_for(), Some(Duration::from_secs(3)));
            assert!(listen(|| ()).is_none());
        });
        assert_eq!(outer.unwrap().handed_over_for(), Some(Duration::from_secs(3)));
        assert!(listen(|| ()).is_none());
    }

    #[test]
    fn the_longest_hand_over_counts() {
        let told = listen(|| [2, 5, 3].into_iter().for_each(|seconds| tell(|| Some(unanswered(seconds)))));
        assert_eq!(told.unwrap().handed_over_for(), Some(Duration::from_secs(5)));
        let told = listen(|| tell(|| Some(Unanswered::new(None))));
        assert_eq!(told.unwrap().handed_over_for(), None);
    }

    #[test]
    fn a_panic_ends_the_listening() {
        let panicked = catch_unwind(AssertUnwindSafe(|| listen(|| panic!("planted"))));
        assert!(panicked.is_err());
        tell(|| panic!("described without a listener"));
    }

    #[derive(Default)]
    struct Count(AtomicUsize, AtomicUsize);

    impl LateObserver for Count {
        fn late_report(&self, delivered: bool) {
            let count = if delivered { &self.0 } else { &self.1 };
            count.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn each_observer_gets_the_report_once_before_or_after_it_arrives() {
        for delivered in [true, false] {
            let (count, unanswered) = (Arc::new(Count::default()), unanswered(1));
            unanswered.clone().subscribe(count.clone());
            unanswered.report().arrive(delivered);
            unanswered.report().arrive(!delivered);
            unanswered.subscribe(count.clone());
            let expected = if delivered { (2, 0) } else { (0, 2) };
            assert_eq!((count.0.load(Ordering::SeqCst), count.1.load(Ordering::SeqCst)), expected);
        }
    }
}
