//! A value for each thread, or for a few threads together, so that threads on several cores do not contend for one.
//!
//! A processor changes a word in its own cache, and has to fetch it if another one changed it last. One such word
//! cost 65 ns where it was measured (`cores` in benches/README.md), be it a reference count, a counter or a lock.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::thread::available_parallelism;

/// Number of shards for each core: threads that run at the same time rarely share one.
const FOR_EACH_CORE: usize = 4;
const MAX: usize = 64;

/// A power of two.
static SHARDS: LazyLock<usize> = LazyLock::new(|| {
    let cores = available_parallelism().map_or(1, usize::from);
    (cores * FOR_EACH_CORE).next_power_of_two().min(MAX)
});

/// Values of one kind, which are made when a thread first asks for its own.
pub struct Sharded<T>(Box<[OnceLock<Arc<T>>]>);

impl<T> Sharded<T> {
    /// The value of this thread. `make` makes it for the first thread that asks.
    #[inline]
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &Arc<T> {
        let shard = &self.0[thread_number() & (self.0.len() - 1)];
        shard.get_or_init(|| Arc::new(make()))
    }

    /// The values that were made.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.0.iter().filter_map(OnceLock::get)
    }
}

impl<T> Default for Sharded<T> {
    fn default() -> Self {
        Self((0..*SHARDS).map(|_| OnceLock::new()).collect())
    }
}

/// Threads have numbers in the order in which they first ask.
#[inline]
fn thread_number() -> usize {
    const NONE: usize = usize::MAX;
    thread_local!(static NUMBER: Cell<usize> = const { Cell::new(NONE) });

    #[cold]
    fn next() -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        NUMBER.set(number);
        number
    }

    match NUMBER.get() {
        NONE => next(),
        number => number,
    }
}

impl<T: fmt::Debug> fmt::Debug for Sharded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_keeps_its_value_and_neighbours_have_others() {
        let sharded = Sharded::default();
        let made = AtomicUsize::new(0);
        let make = || made.fetch_add(1, Ordering::Relaxed);
        let mine = sharded.get_or_init(make);
        assert!(Arc::ptr_eq(mine, sharded.get_or_init(make)));
        thread::scope(|scope| {
            let others = [(); 2].map(|()| {
                scope.spawn(|| {
                    sharded.get_or_init(make);
                    thread_number()
                })
            });
            let [one, other] = others.map(|other| other.join().unwrap());
            assert!(one != other && ![one, other].contains(&thread_number()));
        });
        assert_eq!(sharded.iter().count(), made.into_inner());
        assert!(sharded.0.len().is_power_of_two() && sharded.iter().count() <= sharded.0.len());
    }
}
