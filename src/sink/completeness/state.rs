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
    pub(super) fn join(&mut self) -> u64 {
        self.waiting += 1;
        self.transaction
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
    pub(super) fn beginning(&mut self) -> bool {
        let was_open = self.phase != Phase::Closed;
        if !was_open {
            self.next();
        }
        was_open
    }

    pub(super) fn begun(&mut self, was_open: bool, ok: bool) {
        match (was_open, ok) {
            // No transaction was open after all.
            (true, true) => self.next(),
            (false, false) => self.phase = Phase::Closed,
            _ => {}
        }
    }

    fn next(&mut self) {
        *self = Self { transaction: self.transaction + 1, phase: Phase::Open, waiting: 0, left_out: 0 };
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
        assert!(!state.beginning());
        state.begun(false, true);
        state
    }

    #[test]
    fn a_missing_send_blocks_the_commit_until_the_abort() {
        let mut state = open();
        let sends = [state.join(), state.join(), state.join()];
        assert_eq!(state.commit(), Commit::Wait(3));
        assert!(!state.leave(sends[0], false), "two are left");
        assert!(state.leave(sends[1], true));
        assert_eq!(state.commit(), Commit::LeftOut(1));
        // A call in the wrong order changes nothing.
        let was_open = state.beginning();
        state.begun(was_open, false);
        assert!(state.leave(sends[2], true));
        assert_eq!(state.commit(), Commit::LeftOut(2));
        state.aborted(state.present());
        let was_open = state.beginning();
        state.begun(was_open, true);
        assert_eq!(state.commit(), Commit::Go);
    }

    #[test]
    fn a_send_of_an_aborted_transaction_does_not_join_the_next() {
        let mut state = open();
        let old = state.join();
        state.aborted(state.present());
        let was_open = state.beginning();
        state.begun(was_open, true);
        assert!(!state.is_present(old));
        let new = state.join();
        assert!(!state.leave(old, true));
        assert_eq!(state.commit(), Commit::Wait(1));
        assert!(state.leave(new, false));
        assert_eq!(state.commit(), Commit::Go);
    }

    #[test]
    fn once_asked_the_transport_decides_how_the_commit_ends() {
        let mut state = open();
        assert_eq!(state.commit(), Commit::Go);
        let late = state.join();
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
            let was_open = state.beginning();
            state.begun(was_open, true);
            let send = state.join();
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
    fn a_begin_that_failed_opens_nothing() {
        let mut state = State::default();
        let was_open = state.beginning();
        state.begun(was_open, false);
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
                    0 | 1 => present.push(state.join()),
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
                        let was_open = state.beginning();
                        state.begun(was_open, true);
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
