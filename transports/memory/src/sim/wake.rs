//! A waker that records wake-ups, to distinguish a lost wake-up from a future that is not ready.

use kafka_tower_core::sync::lock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

#[derive(Debug)]
pub(crate) struct Flag {
    woken: AtomicBool,
    /// Waker of the driver's task.
    driver: Arc<Mutex<Waker>>,
}

impl Flag {
    /// Starts woken, so that a new future is polled.
    pub(crate) fn new(driver: &Arc<Mutex<Waker>>) -> Arc<Self> {
        Arc::new(Self { woken: AtomicBool::new(true), driver: Arc::clone(driver) })
    }

    /// Takes the wake-up, if there is one.
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
        let driver = lock(&self.driver).clone();
        driver.wake();
    }
}
