//! Set of open operations, grouped in epochs: a flush waits for those of earlier epochs and not for later ones.
//!
//! A successful record is never entered: it only reads the current [epoch](Outstanding::epoch).

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use crate::sync::lock;
use crate::wakers::wake_all;

/// Set of operations that have begun and not ended, each with a value.
pub struct Outstanding<T> {
    epoch: AtomicU64,
    state: Mutex<State<T>>,
}

/// Identifier of an open operation, ordered by epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    epoch: u64,
    number: u64,
}

struct State<T> {
    next: u64,
    open: BTreeMap<Place, T>,
    waiting: BTreeMap<Place, Waker>,
}

impl<T> Outstanding<T> {
    /// Creates an empty set.
    #[must_use]
    pub fn new() -> Self {
        let state = State { next: 0, open: BTreeMap::new(), waiting: BTreeMap::new() };
        Self { epoch: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// The current epoch, to which operations that start now belong.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Begins a new epoch and returns it. Operations called before belong to a lower one.
    pub fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Enters an operation that was called in `epoch`.
    pub fn begin(&self, epoch: u64, value: T) -> Place {
        let mut state = self.state();
        let place = state.place(epoch);
        state.open.insert(place, value);
        place
    }

    /// Removes an operation that has ended. Ending it again does nothing.
    pub fn end(&self, place: Place) {
        let mut wake = Vec::new();
        let mut state = self.state();
        let ended = state.open.remove(&place);
        let first = state.open.first_key_value().map(|(place, _)| place.epoch);
        while let Some(waiting) = state.waiting.first_entry() {
            if first.is_some_and(|first| first < waiting.key().epoch) {
                break;
            }
            wake.push(waiting.remove());
        }
        drop(state);
        drop(ended);
        wake_all(wake);
    }

    /// Changes the value of an open operation.
    pub fn change(&self, place: Place, change: impl FnOnce(&mut T)) {
        if let Some(value) = self.state().open.get_mut(&place) {
            change(value);
        }
    }

    /// Calls `look` for each open operation. `look` runs under a lock and must not use this set.
    pub fn each<R>(&self, look: impl FnMut(&mut T) -> R) -> Vec<R> {
        self.state().open.values_mut().map(look).collect()
    }

    /// Number of open operations.
    pub fn count(&self) -> usize {
        self.state().open.len()
    }

    /// Number of open operations that were called before this epoch and whose value `is_counted`, which runs under a lock.
    pub fn count_before(&self, epoch: u64, is_counted: impl Fn(&T) -> bool) -> usize {
        self.state().open.range(..Place { epoch, number: 0 }).filter(|(_, value)| is_counted(value)).count()
    }

    /// Whether all operations called before this epoch have ended.
    pub fn is_settled(&self, epoch: u64) -> bool {
        self.state().is_settled(epoch)
    }

    /// Resolves when all operations called before this epoch have ended. Dropping the future stops the waiting.
    pub fn settled(&self, epoch: u64) -> Settled<'_, T> {
        Settled { of: self, epoch, place: None }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }
}

impl<T> State<T> {
    fn place(&mut self, epoch: u64) -> Place {
        self.next += 1;
        Place { epoch, number: self.next }
    }

    fn is_settled(&self, epoch: u64) -> bool {
        self.open.first_key_value().is_none_or(|(first, _)| first.epoch >= epoch)
    }
}

impl<T> Default for Outstanding<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Outstanding<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outstanding").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// The future of [`Outstanding::settled`].
#[must_use = "futures do nothing unless polled"]
pub struct Settled<'a, T> {
    of: &'a Outstanding<T>,
    epoch: u64,
    /// Key of the registered waker.
    place: Option<Place>,
}

impl<T> Future for Settled<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.of.state();
        if state.is_settled(self.epoch) {
            return Poll::Ready(());
        }
        let place = self.place.unwrap_or_else(|| state.place(self.epoch));
        let old = state.waiting.insert(place, cx.waker().clone());
        drop(state);
        drop(old);
        self.place = Some(place);
        Poll::Pending
    }
}

impl<T> Drop for Settled<'_, T> {
    fn drop(&mut self) {
        // A separate statement: the waker must be dropped after the lock is released.
        let waker = self.place.and_then(|place| self.of.state().waiting.remove(&place));
        drop(waker);
    }
}

impl<T> fmt::Debug for Settled<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settled").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn earlier_epochs_are_waited_for_and_later_ones_are_not() {
        let sends = Outstanding::new();
        let [first, second] = ["a", "b"].map(|name| sends.begin(sends.epoch(), name));
        let epoch = sends.next_epoch();
        let later = sends.begin(sends.epoch(), "later");
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let mut settled = pin!(sends.settled(epoch));
        assert!(settled.as_mut().poll(&mut cx).is_pending());
        sends.end(second);
        sends.end(second);
        assert!(settled.as_mut().poll(&mut cx).is_pending());
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        sends.end(first);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(settled.as_mut().poll(&mut cx).is_ready());
        assert_eq!((sends.count(), sends.is_settled(epoch), sends.is_settled(epoch + 1)), (1, true, false));
        sends.end(later);
    }

    #[test]
    fn a_send_counted_late_keeps_the_epoch_of_its_call() {
        let sends = Outstanding::new();
        let called = sends.epoch();
        let epoch = sends.next_epoch();
        let place = sends.begin(called, ());
        assert!(!sends.is_settled(epoch));
        sends.end(place);
        assert!(sends.is_settled(epoch));
    }
}
