//! A waker that remembers whether somebody used it, so that a lost wake-up can be told from a future that is not ready.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

#[derive(Debug)]
pub(crate) struct Flag {
    woken: AtomicBool,
    /// Who polls.
    driver: Arc<Mutex<Waker>>,
}

impl Flag {
    /// A future that nobody has polled yet is to be polled.
    pub(crate) fn new(driver: &Arc<Mutex<Waker>>) -> Arc<Self> {
        Arc::new(Self { woken: AtomicBool::new(true), driver: Arc::clone(driver) })
    }

    /// Whether it is to be polled.
    pub(crate) fn take(&self) -> bool {
        self.woken.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn set(&self) {
        self.woken.store(true, Ordering::SeqCst);
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set();
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).clone();
        driver.wake();
    }
}
