//! The gate of kafka-tower-core, built of loom's locks and atomics in place of the standard library's.
//!
//! It is the same source. loom runs a test with every order in which its threads can take locks and see each other's writes.

pub mod sync {
    //! What the gate is built of.

    pub use loom::sync::atomic::{AtomicU64, AtomicUsize};
    pub use loom::sync::{Mutex, MutexGuard};

    /// Locks a mutex.
    ///
    /// # Panics
    ///
    /// If a thread has panicked while it held the lock: a test has failed.
    pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().expect("no thread panics")
    }
}

pub use kafka_tower_core::wakers;

/// What the gate counts: kafka-tower-core's cannot be made here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Records that are admitted.
    pub records: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Records that wait for room.
    pub parked: usize,
}

// The gate's own tests are for the standard library's locks, and run in kafka-tower-core.
#[cfg(not(test))]
#[path = "../../../transports/core/src/gate/mod.rs"]
pub mod gate;
