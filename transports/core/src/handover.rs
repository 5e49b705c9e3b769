//! Whether the transport has the record of a send: said by the transport, asked by a sink.
//!
//! A transport answers for what it has taken: its flush waits for it, its close reports it, and if it fails, the commit of its transaction
//! does too. It never hears of what is above it: in a serializer, in a layer's queue, between two attempts. A sink
//! asks with [`observe`] around each call and each poll, waits for such a send in `flush` and `close`, and refuses to commit
//! without one whose caller went away.
//!
//! ```
//! use kafka_tower_core::handover;
//!
//! let ((), taken) = handover::watch(handover::taken);
//! assert!(taken);
//! let (inner, taken) = handover::watch(|| handover::watch(handover::taken).1);
//! assert_eq!((inner, taken), (true, false), "the one who is nearest is told, and nobody else");
//! ```

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::{Record, UnansweredSend};

thread_local! {
    /// A hand-over happens inside of the `call` or the `poll` of the send that it belongs to, so that a cell of the thread finds the way
    /// through layers of whatever type.
    static SEEN: Cell<u8> = const { Cell::new(0) };
    static KEPT: RefCell<Option<UnansweredSend>> = const { RefCell::new(None) };
}

/// The transport took a record.
const TAKEN: u8 = 1;
/// The last that the transport said is that it has answered.
const RETURNED: u8 = 2;
/// It has answered at least once.
const ANSWERED: u8 = 4;
/// A layer keeps the record.
const KEPT_BIT: u8 = 8;

// Not `LocalKey::set`, which is a call of its own.
#[inline]
fn say(change: impl FnOnce(u8) -> u8) {
    SEEN.with(|seen| seen.set(change(seen.get())));
}

/// Says that the transport has taken the record of this call, parked or not, and answers for it from now on.
///
/// For a transport, in `call`. A sink waits in its flush for the answer of a send whose record no transport took, and refuses a commit
/// when its caller drops the future.
#[inline]
pub fn taken() {
    say(|seen| (seen & !RETURNED) | TAKEN);
}

/// Says that the transport's future has answered: what happens to the record from now on is the affair of the layers above it.
///
/// For a transport that says [`taken`], in the `poll` that is ready.
#[inline]
pub fn returned() {
    say(|seen| seen | RETURNED | ANSWERED);
}

/// Says that a layer keeps the record for the time being, so that a close report can name it: one that backs off, or whose serializer
/// waits.
#[cold]
pub fn kept(record: &Record) {
    let kept = UnansweredSend::new(Some(Arc::clone(&record.topic)), record.key.clone());
    KEPT.with_borrow_mut(|place| *place = Some(kept));
    say(|seen| seen | KEPT_BIT);
}

/// What was said in a call or a poll of a send.
#[derive(Clone, Copy, Debug)]
pub struct Seen(u8);

impl Seen {
    /// Whether the transport took a record.
    #[must_use]
    #[inline]
    pub fn was_taken(self) -> bool {
        self.0 & TAKEN != 0
    }

    /// Whether the transport has the record now. None if nothing was said of it.
    #[must_use]
    #[inline]
    pub fn has_record(self) -> Option<bool> {
        match self.0 & (TAKEN | RETURNED) {
            0 => None,
            TAKEN => Some(true),
            _ => Some(false),
        }
    }

    /// Whether nothing was said.
    #[must_use]
    #[inline]
    pub fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// Whether the transport has answered, even if it has the record again.
    #[must_use]
    #[inline]
    pub fn was_answered(self) -> bool {
        self.0 & ANSWERED != 0
    }

    /// What a layer has said of the record that it keeps.
    #[must_use]
    pub fn kept(self) -> Option<UnansweredSend> {
        if self.0 & KEPT_BIT == 0 {
            return None;
        }
        KEPT.with_borrow_mut(Option::take)
    }
}

/// Listens to what is said on this thread until it is dropped.
#[derive(Debug)]
#[must_use = "it listens only while it is there"]
pub struct Observing {
    /// What was known before, also after a panic: this send may have been made inside of another one's.
    outer: u8,
}

impl Observing {
    /// Begins to listen.
    #[inline]
    pub fn begin() -> Self {
        Self { outer: SEEN.replace(0) }
    }

    /// What was said since.
    #[inline]
    pub fn end(self) -> Seen {
        Seen(SEEN.get())
    }
}

impl Drop for Observing {
    #[inline]
    fn drop(&mut self) {
        say(|_| self.outer);
    }
}

/// Runs `f`, and tells what was said in it. [`Observing`] is the same without moving what `f` answers.
#[inline]
pub fn observe<R>(f: impl FnOnce() -> R) -> (R, Seen) {
    let observing = Observing::begin();
    let output = f();
    (output, observing.end())
}

/// Runs `f`, and tells whether a transport took a record in it.
pub fn watch<R>(f: impl FnOnce() -> R) -> (R, bool) {
    let (output, seen) = observe(f);
    (output, seen.was_taken())
}

/// As [`watch`], of something inside of a send that is observed itself: it is told as well.
pub fn watch_inside<R>(f: impl FnOnce() -> R) -> (R, bool) {
    let (output, seen) = observe(f);
    if seen.0 != 0 {
        say(|known| (known & !RETURNED) | seen.0);
    }
    (output, seen.was_taken())
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
    fn the_last_that_was_said_tells_where_the_record_is() {
        type Said = &'static [fn()];
        let places: [(Said, Option<bool>, bool); 5] = [
            (&[], None, false),
            (&[taken], Some(true), false),
            (&[taken, returned], Some(false), true),
            (&[returned], Some(false), true),
            (&[returned, taken], Some(true), true),
        ];
        for (said, has_record, answered) in places {
            let ((), seen) = observe(|| said.iter().for_each(|say| say()));
            assert_eq!((seen.has_record(), seen.was_answered()), (has_record, answered));
            let (inner, seen) = observe(|| watch_inside(|| said.iter().for_each(|say| say())).1);
            assert_eq!((seen.has_record(), seen.was_answered(), seen.was_taken()), (has_record, answered, inner));
        }
        let ((), seen) = observe(|| kept(&Record::new("orders").with_key("k")));
        assert_eq!(seen.kept().unwrap().key.as_deref(), Some(&b"k"[..]));
        assert!(observe(|| ()).1.kept().is_none());
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
