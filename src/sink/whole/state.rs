//! What became of the sends of a transaction. No clock, no lock, no async.
//!
//! ```text
//! Closed --begin--> Open --commit--> Committing --answer--> Closed
//!                    |  ^               |
//!                    |  +---refused-----+
//!                    +--abort--> Closed
//! ```

#[derive(Debug, Default)]
pub(super) struct State {
    /// Each transaction has its own.
    transaction: u64,
    phase: Phase,
    /// Sends of this transaction that the transport does not have and nobody was told of.
    waiting: usize,
    left_out: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Closed,
    Open,
    /// The transport was asked: how it ends is its to say.
    Committing,
}

/// What a commit has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    /// Ask the transport.
    Go,
    /// So many sends may still come.
    Wait(usize),
    /// So many sends are missing.
    LeftOut(usize),
}

impl State {
    /// A send begins. Answers its transaction.
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

    /// A send has gone its way. Says whether a commit may want to know.
    pub(super) fn leave(&mut self, transaction: u64, left_out: bool) -> bool {
        // The transaction of one from before was aborted, and that is what its sends wanted.
        if transaction != self.transaction {
            return false;
        }
        self.waiting -= 1;
        self.left_out += usize::from(left_out);
        self.phase == Phase::Open && (left_out || self.waiting == 0)
    }

    /// A transaction is about to begin, so that nobody's send falls between. Answers whether one seems to be open.
    pub(super) fn beginning(&mut self) -> bool {
        let was_open = self.phase != Phase::Closed;
        if !was_open {
            self.next();
        }
        was_open
    }

    pub(super) fn begun(&mut self, was_open: bool, ok: bool) {
        match (was_open, ok) {
            // The one that seemed to be open was not.
            (true, true) => self.next(),
            (false, false) => self.phase = Phase::Closed,
            _ => {}
        }
    }

    fn next(&mut self) {
        *self = Self { transaction: self.transaction + 1, phase: Phase::Open, waiting: 0, left_out: 0 };
    }

    /// Whether the transport may be asked to commit; from then on it is the one to say.
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

    /// The same, of one who has waited. None if the transaction was ended meanwhile.
    pub(super) fn commit_of(&mut self, transaction: u64) -> Option<Commit> {
        (self.is_present(transaction) && self.phase != Phase::Closed).then(|| self.commit())
    }

    /// The transport has answered. Another call may have begun the next transaction before this is told.
    pub(super) fn committed(&mut self, transaction: u64, ok: bool, surely_not: bool) {
        match self.phase {
            _ if !self.is_present(transaction) => {}
            Phase::Committing if ok => self.phase = Phase::Closed,
            Phase::Committing if surely_not => self.phase = Phase::Open,
            _ => {}
        }
    }

    /// As [`committed`](Self::committed).
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
    fn who_was_left_out_keeps_the_commit_from_going_until_the_abort() {
        let mut state = open();
        let sends = [state.join(), state.join(), state.join()];
        assert_eq!(state.commit(), Commit::Wait(3));
        assert!(!state.leave(sends[0], false), "two are left");
        assert!(state.leave(sends[1], true));
        assert_eq!(state.commit(), Commit::LeftOut(1));
        // A call out of place changes nothing.
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
    fn a_send_of_an_aborted_transaction_is_no_part_of_the_next() {
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
    fn once_asked_the_transport_says_how_it_ends() {
        let mut state = open();
        assert_eq!(state.commit(), Commit::Go);
        let late = state.join();
        state.leave(late, true);
        state.committed(1, false, false);
        assert_eq!(state.commit(), Commit::Go, "it goes on with it, or nobody knows");
        state.committed(1, false, true);
        assert_eq!(state.commit(), Commit::LeftOut(1));
        state.aborted(state.present());
        assert_eq!(state.commit(), Commit::Go, "nothing is open: the transport says so");
        state.committed(1, false, true);
        assert_eq!(state.phase, Phase::Closed);
    }

    /// Its task may have its turn long after the transport has answered, and another one begin the next transaction before.
    #[test]
    fn an_answer_that_is_heard_late_is_of_its_own_transaction() {
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
        /// Whatever happens in whatever order: a commit goes if and only if each send of its transaction was done.
        #[test]
        fn a_commit_goes_if_nothing_is_missing(
            steps in prop::collection::vec((0..6_u8, any::<prop::sample::Index>()), 0..60),
        ) {
            let mut state = open();
            // Of the present transaction and of those before.
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
