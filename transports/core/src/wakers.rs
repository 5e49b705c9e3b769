//! Calls foreign code, whose panic is caught and logged: it must not keep other wakers from being called, or a delivery
//! report from being read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Runs foreign code, for example a waker. `what` names it in the log.
pub fn guarded(what: &str, f: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(f)).is_err() {
        // A subscriber is foreign code too.
        let _the_log_panics_itself = catch_unwind(|| tracing::error!("a panic in {what} was caught"));
    }
}

/// Calls a waker.
pub fn wake(waker: Waker) {
    guarded("a waker", || waker.wake());
}

/// Calls all wakers, in order.
pub fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(wake);
}

/// Wakers to call together, so that a task which waits for several records is woken once for them. Dropping it calls the
/// rest.
#[derive(Debug, Default)]
pub struct WakeLater(Vec<Waker>);

impl WakeLater {
    /// Adds a waker, unless it is that of the task that was added last.
    #[inline]
    pub fn add(&mut self, waker: Waker) {
        if self.0.last().is_none_or(|last| !last.will_wake(&waker)) {
            self.0.push(waker);
        }
    }

    /// Calls all wakers, in order.
    pub fn wake(&mut self) {
        self.0.drain(..).for_each(wake);
    }
}

impl Drop for WakeLater {
    fn drop(&mut self) {
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    struct Bomb;

    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("planted");
        }
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct BadSubscriber;

    impl tracing::Subscriber for BadSubscriber {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            panic!("planted");
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::Id {
            tracing::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {}
        fn enter(&self, _: &tracing::Id) {}
        fn exit(&self, _: &tracing::Id) {}
    }

    #[test]
    fn a_subscriber_that_panics_too_does_not_keep_it_either() {
        let count = Arc::new(Count::default());
        let wakers = [Waker::from(Arc::new(Bomb)), Waker::from(Arc::clone(&count))];
        tracing::subscriber::with_default(BadSubscriber, || wake_all(wakers));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_task_is_woken_once_for_neighbouring_records() {
        let (one, other) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let mut later = WakeLater::default();
        for count in [&one, &one, &other, &one] {
            later.add(Waker::from(Arc::clone(count)));
        }
        assert_eq!((one.0.load(Ordering::Relaxed), other.0.load(Ordering::Relaxed)), (0, 0));
        drop(later);
        assert_eq!((one.0.load(Ordering::Relaxed), other.0.load(Ordering::Relaxed)), (2, 1));
    }

    #[test]
    fn a_panicking_waker_does_not_keep_the_next_from_being_called() {
        let count = Arc::new(Count::default());
        wake_all([Waker::from(Arc::new(Bomb)), Waker::from(Arc::clone(&count))]);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
