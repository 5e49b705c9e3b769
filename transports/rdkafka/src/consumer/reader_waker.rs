//! The waker of whoever reads.

use std::sync::Mutex;
use std::task::Waker;

use kafka_tower_core::sync::lock;
use kafka_tower_core::wakers::wake_all;

use crate::ffi::consumer::OnRecords;

#[derive(Default)]
pub(super) struct ReaderWaker(Mutex<Option<Waker>>);

impl ReaderWaker {
    /// Call it before looking for records, so that none is missed.
    pub(super) fn register(&self, waker: &Waker) {
        let mut present = lock(&self.0);
        if !present.as_ref().is_some_and(|present| present.will_wake(waker)) {
            let old = present.replace(waker.clone());
            drop(present);
            drop(old);
        }
    }

    pub(super) fn wake(&self) {
        let waker = lock(&self.0).take();
        wake_all(waker);
    }
}

impl OnRecords for ReaderWaker {
    fn has_records(&self) {
        self.wake();
    }
}
