//! State of the open transaction: whether there is one, which calls are ending it, and what a close must do about it.
//!
//! ```text
//! Closed --begin--> Open --the coordinator is asked to commit--> Committing --answer--> Closed
//!                    |  ^                                            |
//!                    |  +--------------- refused --------------------+
//!                    +--abort--> Closed
//! ```

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Instant;

use kafka_tower_core::sync::lock;
use kafka_tower_core::{Result, TransactionEnd};

/// Shared by the transactional calls, each on a thread of its own, and the close.
#[derive(Debug, Default)]
pub(crate) struct OpenTransaction {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Number of commits and aborts in progress.
    calls: usize,
    /// No call may begin any more.
    closing: bool,
    /// How the close ended the open transaction.
    end: Option<TransactionEnd>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Closed,
    Open {
        /// A commit was refused after the coordinator had been asked: it may have been carried out.
        asked: bool,
    },
    /// The coordinator was asked to commit and has not answered.
    Committing,
}

impl Phase {
    fn was_asked(self) -> bool {
        matches!(self, Self::Committing | Self::Open { asked: true })
    }
}

/// What a close must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtClose {
    Nothing,
    /// If the abort is fenced, the coordinator has aborted the transaction, unless it was `asked` to commit before.
    Abort {
        asked: bool,
    },
    /// An abort could contradict what the coordinator has carried out: only the commit may be continued.
    Commit,
    /// A call had no answer in time.
    Busy,
}

impl State {
    fn at_close(&self) -> AtClose {
        match self.phase {
            _ if self.calls > 0 => AtClose::Busy,
            Phase::Closed => AtClose::Nothing,
            Phase::Open { asked } => AtClose::Abort { asked },
            Phase::Committing => AtClose::Commit,
        }
    }
}

impl OpenTransaction {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Runs `begin`, which contacts no broker. None if the transport is closing.
    pub(crate) fn begin<E>(&self, begin: impl FnOnce() -> Result<(), E>) -> Option<Result<(), E>> {
        let mut state = self.state();
        if state.closing {
            return None;
        }
        let begun = begin();
        if begun.is_ok() {
            state.phase = Phase::Open { asked: false };
        }
        Some(begun)
    }

    /// Begins a commit or an abort. If the transport is closing, waits until the close has ended the transaction: `Err`
    /// has that end, or None if there was no transaction or no answer until `end`.
    pub(crate) fn enter(&self, end: Instant) -> Result<Call<'_>, Option<TransactionEnd>> {
        let mut state = self.state();
        if !state.closing {
            state.calls += 1;
            return Ok(Call(self));
        }
        while state.end.is_none() && state.at_close() != AtClose::Nothing {
            let Some(woken) = self.wait(state, end) else { return Err(None) };
            state = woken;
        }
        Err(state.end.clone())
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, end: Instant) -> Option<MutexGuard<'a, State>> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        let woken = self.changed.wait_timeout(state, left);
        Some(woken.unwrap_or_else(std::sync::PoisonError::into_inner).0)
    }

    /// Whether the coordinator was asked to commit the open transaction.
    pub(crate) fn was_asked(&self) -> bool {
        self.state().phase.was_asked()
    }

    /// Called before the coordinator is asked to commit. Returns whether it was asked before.
    pub(crate) fn committing(&self) -> bool {
        let mut state = self.state();
        let asked = state.phase.was_asked();
        // A call in the wrong order opens nothing.
        if matches!(state.phase, Phase::Open { .. }) {
            state.phase = Phase::Committing;
        }
        asked
    }

    /// The commit was refused for good; only an abort may follow.
    pub(crate) fn refused(&self, asked: bool) {
        let mut state = self.state();
        if state.phase == Phase::Committing {
            state.phase = Phase::Open { asked };
        }
    }

    /// The transaction has ended. Returns whether the coordinator was asked to commit it.
    pub(crate) fn ended(&self) -> bool {
        std::mem::take(&mut self.state().phase).was_asked()
    }

    /// Lets no further call begin. Returns whether this is the first close, and whether there is a transaction to end.
    pub(crate) fn close(&self) -> (bool, bool) {
        let mut state = self.state();
        let first = !std::mem::replace(&mut state.closing, true);
        (first, state.at_close() != AtClose::Nothing)
    }

    /// Returns whether a transaction is open.
    pub(crate) fn is_open(&self) -> bool {
        self.state().phase != Phase::Closed
    }

    /// Waits for the calls in progress until `end`, and returns what the close must do.
    pub(crate) fn at_close(&self, end: Instant) -> AtClose {
        let mut state = self.state();
        while state.calls > 0 {
            let Some(woken) = self.wait(state, end) else { return AtClose::Busy };
            state = woken;
        }
        state.at_close()
    }

    /// Records how the close ended the transaction.
    pub(crate) fn closed(&self, end: Option<TransactionEnd>) {
        self.state().end = end;
        self.changed.notify_all();
    }
}

/// A commit or an abort in progress.
pub(crate) struct Call<'a>(&'a OpenTransaction);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.state().calls -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn open() -> OpenTransaction {
        let open = OpenTransaction::default();
        open.begin(|| Ok::<_, ()>(())).unwrap().unwrap();
        open
    }

    #[test]
    fn each_state_has_its_action_at_close() {
        let now = Instant::now();
        assert_eq!(OpenTransaction::default().at_close(now), AtClose::Nothing);
        assert_eq!(open().at_close(now), AtClose::Abort { asked: false });

        let committing = open();
        assert!(!committing.committing());
        assert_eq!(committing.at_close(now), AtClose::Commit, "its outcome is unknown");
        assert!(committing.committing(), "asked before");
        committing.refused(true);
        assert_eq!(committing.at_close(now), AtClose::Abort { asked: true });
        assert!(committing.committing(), "asked before, also after the refusal");
        assert!(committing.ended());
        assert!(!open().ended());
        assert_eq!(committing.at_close(now), AtClose::Nothing);

        let failed = OpenTransaction::default();
        assert_eq!(failed.begin(|| Err(())), Some(Err(())));
        failed.committing(); // in the wrong order
        assert_eq!(failed.at_close(now), AtClose::Nothing);
    }

    #[test]
    fn a_close_waits_for_the_call_under_way_and_lets_no_other_begin() {
        let open = open();
        let call = open.enter(Instant::now()).ok().unwrap();
        assert_eq!(open.close(), (true, true));
        assert_eq!(open.at_close(Instant::now()), AtClose::Busy);
        assert!(open.begin(|| Ok::<_, ()>(())).is_none());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| open.at_close(Instant::now() + Duration::from_secs(60)));
            open.ended();
            drop(call);
            assert_eq!(waits.join().unwrap(), AtClose::Nothing);
        });
    }

    #[test]
    fn a_call_after_the_close_returns_the_result_of_the_close() {
        let open = open();
        assert_eq!(open.close(), (true, true));
        assert!(matches!(open.enter(Instant::now()), Err(None)), "no answer in time");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| open.enter(Instant::now() + Duration::from_secs(60)).err().unwrap());
            open.ended();
            open.closed(Some(TransactionEnd::Aborted));
            assert!(matches!(waits.join().unwrap(), Some(TransactionEnd::Aborted)));
        });
    }
}
