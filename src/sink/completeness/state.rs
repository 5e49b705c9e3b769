//! State of the sends of a transaction, as a pure decision. No clock, no lock, no async.
//!
//! ```text
//! Closed --begin--> Open --commit--> Committing --answer--> Closed
//!                    |  ^               |
//!                    |  +---refused-----+
//!                    +--abort--> Closed
//! ```

#[derive(Debug, Default)]
pub(super) struct State {
    /// Number of the transaction.
    transaction: u64,
    phase: Phase,
    /// Who may send in it and end it. Meaningful while it is not closed.
    owner: Owner,
    /// Sends of this transaction that are neither accepted by the transport nor answered.
    waiting: usize,
    left_out: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Closed,
    Open,
    /// The transport was asked to commit, and decides how it ends.
    Committing,
}

/// Who may send in a transaction and end it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sink) enum Owner {
    /// The sink and all its clones.
    #[default]
    Sink,
    /// A [`Transaction`](super::super::Transaction).
    Guard,
    /// Its guard was dropped. No send joins it, and it must be aborted.
    Dropped,
}

/// Who sends, or ends a transaction: the guard of this transaction, or the sink.
pub(in crate::sink) type Caller = Option<u64>;

/// Why a caller may not use the open transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sink) enum Denied {
    /// It belongs to a guard.
    Guarded,
    /// Its guard was dropped, and it is not aborted yet.
    Dropped,
    /// The transaction of this guard has ended.
    Ended,
}

/// What becomes of a transaction whose guard is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sink) enum Released {
    /// It has ended.
    Ended,
    /// It must be aborted.
    Abort,
    /// Its commit was requested and goes on.
    Committing,
}

/// Next step of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    /// Ask the transport.
    Go,
    /// Wait: this many sends may still be accepted.
    Wait(usize),
    /// Refuse: this many sends are missing.
    LeftOut(usize),
}

impl State {
    /// A send begins. Returns the number of its transaction.
    pub(super) fn join(&mut self, caller: Caller) -> Result<u64, Denied> {
        self.allows(caller)?;
        self.waiting += 1;
        Ok(self.transaction)
    }

    /// Whether the caller may send in the present transaction, and end it. Without an open transaction the transport
    /// answers.
    pub(super) fn allows(&self, caller: Caller) -> Result<(), Denied> {
        match (caller, self.owner) {
            (None, _) if self.phase == Phase::Closed => Ok(()),
            (None, Owner::Sink) => Ok(()),
            (None, Owner::Guard) => Err(Denied::Guarded),
            (None, Owner::Dropped) => Err(Denied::Dropped),
            (Some(guard), Owner::Guard) if guard == self.transaction && self.phase != Phase::Closed => Ok(()),
            (Some(_), _) => Err(Denied::Ended),
        }
    }

    /// Whether the guard of the present transaction was dropped, and it must still be aborted.
    pub(super) fn dropped(&self) -> Option<u64> {
        (self.phase != Phase::Closed && self.owner == Owner::Dropped).then_some(self.transaction)
    }

    /// Whether this transaction of a guard is open and its commit was not requested.
    pub(super) fn is_open(&self, guard: u64) -> bool {
        self.phase == Phase::Open && self.allows(Some(guard)).is_ok()
    }

    /// The guard of this transaction is gone.
    pub(super) fn release(&mut self, guard: u64) -> Released {
        match self.phase {
            Phase::Open if self.allows(Some(guard)).is_ok() => {
                self.owner = Owner::Dropped;
                Released::Abort
            }
            Phase::Committing if self.allows(Some(guard)).is_ok() => {
                self.owner = Owner::Sink;
                Released::Committing
            }
            _ => Released::Ended,
        }
    }

    pub(super) fn present(&self) -> u64 {
        self.transaction
    }

    pub(super) fn is_present(&self, transaction: u64) -> bool {
        self.transaction == transaction
    }

    /// A send was accepted, answered or dropped. Returns whether a waiting commit must be notified.
    pub(super) fn leave(&mut self, transaction: u64, left_out: bool) -> bool {
        // Its transaction has ended: the abort already covers its sends.
        if transaction != self.transaction {
            return false;
        }
        self.waiting -= 1;
        self.left_out += usize::from(left_out);
        self.phase == Phase::Open && (left_out || self.waiting == 0)
    }

    /// Called before the transport begins, so that no send falls between two transactions. Returns whether one seems
    /// open.
    pub(super) fn beginning(&mut self, owner: Owner) -> bool {
        let was_open = self.phase != Phase::Closed;
        if !was_open {
            self.next(owner);
        }
        was_open
    }

    pub(super) fn begun(&mut self, owner: Owner, was_open: bool, ok: bool) {
        match (was_open, ok) {
            // No transaction was open after all.
            (true, true) => self.next(owner),
            (false, false) => self.phase = Phase::Closed,
            _ => {}
        }
    }

    fn next(&mut self, owner: Owner) {
        *self = Self { transaction: self.transaction + 1, phase: Phase::Open, owner, waiting: 0, left_out: 0 };
    }

    /// The transport was closed, and has ended the transaction.
    pub(super) fn closed(&mut self) {
        self.phase = Phase::Closed;
    }

    /// Decides whether the transport may be asked to commit. Once asked, the transport decides how the commit ends.
    pub(super) fn commit(&mut self) -> Commit {
        match self.phase {
            Phase::Closed | Phase::Committing => Commit::Go,
            Phase::Open if self.left_out > 0 => Commit::LeftOut(self.left_out),
            Phase::Open if self.waiting > 0 => Commit::Wait(self.waiting),
            Phase::Open => {
                self.phase = Phase::Committing;
                Commit::Go
            }
        }
    }

    /// Decides again for a commit that has waited. None if the transaction was ended meanwhile.
    pub(super) fn commit_of(&mut self, transaction: u64) -> Option<Commit> {
        (self.is_present(transaction) && self.phase != Phase::Closed).then(|| self.commit())
    }

    /// Called with the transport's answer. Another call may already have begun the next transaction.
    pub(super) fn committed(&mut self, transaction: u64, ok: bool, surely_not: bool) {
        match self.phase {
            _ if !self.is_present(transaction) => {}
            Phase::Committing if ok => self.phase = Phase::Closed,
            Phase::Committing if surely_not => self.phase = Phase::Open,
            _ => {}
        }
    }

    /// Like [`committed`](Self::committed), for an abort.
    pub(super) fn aborted(&mut self, transaction: u64) {
        if self.is_present(transaction) {
            self.phase = Phase::Closed;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open() -> State {
        let mut state = State::default();
        assert!(!state.beginning(Owner::Sink));
        state.begun(Owner::Sink, false, true);
        state
    }

    #[test]
    fn a_missing_send_blocks_the_commit_until_the_abort() {
        let mut state = open();
        let sends = [state.join(None).unwrap(), state.join(None).unwrap(), state.join(None).unwrap()];
        assert_eq!(state.commit(), Commit::Wait(3));
        assert!(!state.leave(sends[0], false), "two are left");
        assert!(state.leave(sends[1], true));
        assert_eq!(state.commit(), Commit::LeftOut(1));
        // A call in the wrong order changes nothing.
        let was_open = state.beginning(Owner::Sink);
        state.begun(Owner::Sink, was_open, false);
        assert!(state.leave(sends[2], true));
        assert_eq!(state.commit(), Commit::LeftOut(2));
        state.aborted(state.present());
        let was_open = state.beginning(Owner::Sink);
        state.begun(Owner::Sink, was_open, true);
        assert_eq!(state.commit(), Commit::Go);
    }

    #[test]
    fn a_send_of_an_aborted_transaction_does_not_join_the_next() {
        let mut state = open();
        let old = state.join(None).unwrap();
        state.aborted(state.present());
        let was_open = state.beginning(Owner::Sink);
        state.begun(Owner::Sink, was_open, true);
        assert!(!state.is_present(old));
        let new = state.join(None).unwrap();
        assert!(!state.leave(old, true));
        assert_eq!(state.commit(), Commit::Wait(1));
        assert!(state.leave(new, false));
        assert_eq!(state.commit(), Commit::Go);
    }

    #[test]
    fn once_asked_the_transport_decides_how_the_commit_ends() {
        let mut state = open();
        assert_eq!(state.commit(), Commit::Go);
        let late = state.join(None).unwrap();
        state.leave(late, true);
        state.committed(1, false, false);
        assert_eq!(state.commit(), Commit::Go, "the transport continues the commit, or its outcome is unknown");
        state.committed(1, false, true);
        assert_eq!(state.commit(), Commit::LeftOut(1));
        state.aborted(state.present());
        assert_eq!(state.commit(), Commit::Go, "no transaction is open: the transport returns that error");
        state.committed(1, false, true);
        assert_eq!(state.phase, Phase::Closed);
    }

    /// The task of a commit may run long after the transport has answered, and another task may begin the next
    /// transaction before that.
    #[test]
    fn a_late_answer_affects_only_its_own_transaction() {
        for aborts in [false, true] {
            let mut state = open();
            if !aborts {
                assert_eq!(state.commit(), Commit::Go);
            }
            let was_open = state.beginning(Owner::Sink);
            state.begun(Owner::Sink, was_open, true);
            let send = state.join(None).unwrap();
            match aborts {
                true => state.aborted(1),
                false => state.committed(1, true, false),
            }
            assert!(state.leave(send, true));
            assert_eq!(state.commit(), Commit::LeftOut(1));
            assert_eq!((state.commit_of(1), state.commit_of(2)), (None, Some(Commit::LeftOut(1))));
        }
    }

    #[test]
    fn only_its_guard_sends_in_a_transaction_and_ends_it() {
        let mut state = State::default();
        assert!(!state.beginning(Owner::Guard));
        assert_eq!((state.join(None), state.allows(None)), (Err(Denied::Guarded), Err(Denied::Guarded)));
        state.begun(Owner::Guard, false, true);
        assert_eq!((state.join(None), state.join(Some(1))), (Err(Denied::Guarded), Ok(1)));
        assert_eq!(state.join(Some(2)), Err(Denied::Ended));
        assert_eq!(state.commit(), Commit::Wait(1));
        state.aborted(1);
        assert_eq!(state.release(1), Released::Ended);
        assert_eq!((state.join(None), state.join(Some(1))), (Ok(1), Err(Denied::Ended)));
        let mut manual = open();
        assert_eq!((manual.join(Some(1)), manual.release(1)), (Err(Denied::Ended), Released::Ended));
    }

    #[test]
    fn a_dropped_transaction_takes_no_send_until_it_is_aborted() {
        let mut state = State::default();
        state.beginning(Owner::Guard);
        state.begun(Owner::Guard, false, true);
        let send = state.join(Some(1)).unwrap();
        assert_eq!((state.dropped(), state.release(1), state.dropped()), (None, Released::Abort, Some(1)));
        assert_eq!((state.join(None), state.join(Some(1))), (Err(Denied::Dropped), Err(Denied::Ended)));
        assert_eq!(state.release(1), Released::Ended, "once");
        assert!(state.leave(send, true));
        state.aborted(1);
        assert_eq!((state.dropped(), state.join(None)), (None, Ok(1)));
    }

    #[test]
    fn a_commit_without_its_guard_belongs_to_the_sink() {
        let mut state = State::default();
        state.beginning(Owner::Guard);
        state.begun(Owner::Guard, false, true);
        assert_eq!(state.commit(), Commit::Go);
        assert_eq!(state.release(1), Released::Committing);
        assert_eq!((state.dropped(), state.allows(None)), (None, Ok(())));
    }

    #[test]
    fn a_begin_that_failed_opens_nothing() {
        let mut state = State::default();
        let was_open = state.beginning(Owner::Sink);
        state.begun(Owner::Sink, was_open, false);
        state.leave(0, true);
        assert_eq!(state.commit(), Commit::Go);
    }

    proptest! {
        /// For any order of events: a commit goes ahead if and only if every send of its transaction is accounted for.
        #[test]
        fn a_commit_goes_ahead_if_no_send_is_missing(
            steps in prop::collection::vec((0..6_u8, any::<prop::sample::Index>()), 0..60),
        ) {
            let mut state = open();
            // Sends of the current transaction and of earlier ones.
            let (mut present, mut old, mut left_out) = (Vec::new(), Vec::new(), 0);
            for (what, which) in steps {
                match what {
                    0 | 1 => present.push(state.join(None).unwrap()),
                    2 | 3 if !present.is_empty() => {
                        let send = present.swap_remove(which.index(present.len()));
                        state.leave(send, what == 3);
                        left_out += usize::from(what == 3);
                    }
                    4 if !old.is_empty() => {
                        let send: u64 = old.swap_remove(which.index(old.len()));
                        prop_assert!(!state.leave(send, true));
                    }
                    5 => {
                        state.aborted(state.present());
                        let was_open = state.beginning(Owner::Sink);
                        state.begun(Owner::Sink, was_open, true);
                        old.append(&mut present);
                        left_out = 0;
                    }
                    _ => {}
                }
            }
            let expected = match (left_out, present.len()) {
                (0, 0) => Commit::Go,
                (0, waiting) => Commit::Wait(waiting),
                (left_out, _) => Commit::LeftOut(left_out),
            };
            prop_assert_eq!(state.commit(), expected);
        }
    }
}
