//! Shows a sink whether the transport has accepted the record of a send.
//!
//! A transport answers for the records that it has accepted: its flush waits for them, its close reports them, and
//! the commit of their transaction fails if they fail. It does not know of sends above it: in a serializer, in a
//! layer's queue, between two attempts. The sink observes these events around each call and each poll, so that `flush`
//! and `close` wait for such sends.
//!
//! Transactions use the [ticket](crate::ticket) of the record instead, which also passes through tasks of a layer. Flush and
//! close do not, because a ticket for each send would be an allocation in sinks without transactions. A send behind a
//! layer's task counts as open until its answer, which only makes a flush wait longer.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::{Record, UnansweredSend};

thread_local! {
    /// Thread-local, because a hand-over happens inside the `call` or `poll` of its send: this passes through layers
    /// of any type.
    static SEEN: Cell<u8> = const { Cell::new(0) };
    static KEPT: RefCell<Option<UnansweredSend>> = const { RefCell::new(None) };
}

/// The transport accepted a record.
const TAKEN: u8 = 1;
/// The last event is that the transport's future has resolved.
const RETURNED: u8 = 2;
/// The transport's future has resolved at least once.
const ANSWERED: u8 = 4;
/// A layer holds the record.
const KEPT_BIT: u8 = 8;

// `with` and not `LocalKey::set`, which is a separate function call.
#[inline]
fn say(change: impl FnOnce(u8) -> u8) {
    SEEN.with(|seen| seen.set(change(seen.get())));
}

/// Reports that the transport has accepted the record of this call, parked or not, and answers for it from now on.
///
/// A transport calls it in `call`. If no transport has accepted the record of a send, the sink's flush waits for the
/// send's outcome, and a commit is refused if the caller drops the future.
#[inline]
pub fn taken() {
    say(|seen| (seen & !RETURNED) | TAKEN);
}

/// Reports that the transport's future has resolved: from now on the layers above answer for the record.
///
/// A transport that calls [`taken`] calls this in the `poll` that returns `Ready`.
#[inline]
pub fn returned() {
    say(|seen| seen | RETURNED | ANSWERED);
}

/// Reports that a layer holds the record for now (during back-off, or while its serializer waits), so that a close
/// report can name it.
#[cold]
pub fn kept(record: &Record) {
    let kept = UnansweredSend::new(Some(Arc::clone(&record.topic)), record.key.clone());
    KEPT.with_borrow_mut(|place| *place = Some(kept));
    say(|seen| seen | KEPT_BIT);
}

/// Events reported during one call or poll of a send.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)] // only a sink uses it
pub struct Seen(u8);

impl Seen {
    /// Whether the transport accepted a record.
    #[must_use]
    #[inline]
    pub fn was_taken(self) -> bool {
        self.0 & TAKEN != 0
    }

    /// Whether the transport has the record now. `None` if nothing was reported.
    #[must_use]
    #[inline]
    pub fn has_record(self) -> Option<bool> {
        match self.0 & (TAKEN | RETURNED) {
            0 => None,
            TAKEN => Some(true),
            _ => Some(false),
        }
    }

    /// Whether nothing was reported.
    #[must_use]
    #[inline]
    pub fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// Whether the transport's future has resolved, even if the transport has the record again.
    #[must_use]
    #[inline]
    pub fn was_answered(self) -> bool {
        self.0 & ANSWERED != 0
    }

    /// Topic and key of the record that a layer holds. The first call takes it.
    #[must_use]
    pub fn kept(self) -> Option<UnansweredSend> {
        if self.0 & KEPT_BIT == 0 {
            return None;
        }
        KEPT.with_borrow_mut(Option::take)
    }
}

/// Records the events of this thread until it is dropped.
#[derive(Debug)]
#[must_use = "it listens only while it is there"]
#[doc(hidden)] // only a sink uses it
pub struct Observing {
    /// Events recorded before. Restored on drop, also after a panic: this send may be nested in another send's call
    /// or poll.
    outer: u8,
}

impl Observing {
    /// Starts recording.
    #[inline]
    pub fn begin() -> Self {
        Self { outer: SEEN.replace(0) }
    }

    /// Returns the events since `begin`.
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

/// Whether anything was reported since the sink began to observe, on this thread. Outside of a sink: whether anything ever was.
#[inline]
#[doc(hidden)] // only a layer calls it
#[must_use]
pub fn was_told() -> bool {
    SEEN.get() != 0
}

/// Runs `f` and returns the events reported inside it. [`Observing`] does the same without moving the result of `f`.
#[inline]
#[doc(hidden)] // only a sink calls it
pub fn observe<R>(f: impl FnOnce() -> R) -> (R, Seen) {
    let observing = Observing::begin();
    let output = f();
    (output, observing.end())
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_nested_send_reports_only_its_own_events() {
        let taken_by = |(inner, outer): (Seen, Seen)| (inner.was_taken(), outer.was_taken());
        assert_eq!(taken_by(observe(|| observe(taken).1)), (true, false));
        let outer = || {
            taken();
            observe(|| ()).1
        };
        assert_eq!(taken_by(observe(outer)), (false, true));
        assert!(observe(|| ()).1.is_nothing(), "nothing is left behind");
    }

    #[test]
    fn the_last_event_decides_who_has_the_record() {
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
        }
        let ((), seen) = observe(|| kept(&Record::new("orders").with_key("k")));
        assert_eq!(seen.kept().unwrap().key.as_deref(), Some(&b"k"[..]));
        assert!(observe(|| ()).1.kept().is_none());
    }

    #[test]
    fn a_panic_leaves_nothing_behind() {
        let ((), outer) = observe(|| {
            let inner = || {
                observe(|| -> () {
                    taken();
                    panic!("planted")
                })
            };
            assert!(catch_unwind(AssertUnwindSafe(inner)).is_err());
        });
        assert!(outer.is_nothing());
    }
}
