//! Calls wakers. A waker is foreign code: its panic must not keep other wakers from being called, or a delivery report
//! from being read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Calls a waker. Its panic is caught and logged.
pub fn wake(waker: Waker) {
    if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
        tracing::error!("a panic in a waker was caught");
    }
}

/// Calls all wakers, in order.
pub fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(wake);
}
