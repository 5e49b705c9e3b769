//! Whether a record got to a transactional transport: said by the transport, asked by whoever answers for the whole transaction.
//!
//! What a transport has taken it answers for: if it fails, the commit does too. What failed above it, in a serializer or a layer,
//! it never heard of, and if the caller went away nobody else did. A sink asks with [`watch`] around each call and each poll,
//! and refuses to commit without such a send.
//!
//! ```
//! use kafka_tower_core::handover;
//!
//! let ((), taken) = handover::watch(handover::taken);
//! assert!(taken);
//! let (inner, taken) = handover::watch(|| handover::watch(handover::taken).1);
//! assert_eq!((inner, taken), (true, false), "the one who is nearest is told, and nobody else");
//! ```

use std::cell::Cell;

thread_local! {
    /// A hand-over happens inside of the `call` or the `poll` of the send that it belongs to, so that a cell of the thread finds the way
    /// through layers of whatever type.
    static TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// Says that the transport has taken the record of this call, parked or not, and answers for it from now on.
///
/// For a transport with transactions, in `call`. One that does not say it has commits refused when callers drop their futures.
pub fn taken() {
    TAKEN.set(true);
}

/// Runs `f`, and tells whether a transport took a record in it.
pub fn watch<R>(f: impl FnOnce() -> R) -> (R, bool) {
    /// What was known before, also after a panic: this send may have been made inside of another one's.
    struct Outer(bool);
    impl Drop for Outer {
        fn drop(&mut self) {
            TAKEN.set(self.0);
        }
    }
    let _outer = Outer(TAKEN.replace(false));
    let output = f();
    (output, TAKEN.get())
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_send_inside_of_another_one_speaks_for_itself_alone() {
        let (inner, outer) = watch(|| watch(taken).1);
        assert!(inner && !outer);
        let (inner, outer) = watch(|| {
            taken();
            watch(|| ()).1
        });
        assert!(!inner && outer);
        assert!(!watch(|| ()).1, "nothing is left behind");
    }

    #[test]
    fn a_panic_leaves_nothing_behind() {
        let ((), outer) = watch(|| {
            let inner = || {
                watch(|| -> () {
                    taken();
                    panic!("planted")
                })
            };
            assert!(catch_unwind(AssertUnwindSafe(inner)).is_err());
        });
        assert!(!outer);
    }
}
