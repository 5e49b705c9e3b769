//! The counts of a gate as one word. No clock, no lock.

use super::Limits;

/// Number of records and of bytes in flight, and whether the lock decides.
///
/// `bit 63: locked | 23 bits: records | 40 bits: bytes`. While nobody waits, parks, flushes or closes, records are admitted and
/// released by a change of this word alone. A thread that waits, parks, flushes or closes takes the lock, and sets the bit before it
/// looks at the counts. While the bit is set, the counts change only under the lock. The bit is cleared when no thread waits, parks or
/// flushes any more; a closed gate keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

/// The lock decides.
pub(super) const LOCKED: u64 = 1 << 63;

const RECORD: u64 = 1 << BYTES;
const BYTES: u32 = 40;
const MAX_BYTES: u64 = RECORD - 1;

/// The largest limits that the word can count: 8,388,607 records and 1 TiB.
pub(super) const MAX: Limits = Limits {
    records: (LOCKED / RECORD) as usize - 1,
    bytes: if MAX_BYTES > usize::MAX as u64 { usize::MAX } else { MAX_BYTES as usize },
};

impl Word {
    pub(super) fn new(records: usize, bytes: usize) -> Self {
        Self((records as u64) << BYTES | bytes as u64)
    }

    /// Limits in the same form.
    pub(super) fn of(limits: Limits) -> Self {
        Self::new(limits.records, limits.bytes)
    }

    pub(super) fn locked(self) -> Self {
        Self(self.0 | LOCKED)
    }

    pub(super) fn is_locked(self) -> bool {
        self.0 & LOCKED != 0
    }

    pub(super) fn records(self) -> usize {
        ((self.0 & !LOCKED) >> BYTES) as usize
    }

    pub(super) fn bytes(self) -> usize {
        self.low() as usize
    }

    /// The records; more than any limit if the lock decides.
    fn high(self) -> u64 {
        self.0 >> BYTES
    }

    fn low(self) -> u64 {
        self.0 & MAX_BYTES
    }

    /// Whether a handle that does not wait is ready. If false, the lock decides.
    pub(super) fn is_ready(self, limits: Self) -> bool {
        self.high() < limits.high() && self.low() < limits.low()
    }

    /// The word with one more record. `None`: the lock decides.
    pub(super) fn admit(self, bytes: usize, limits: Self) -> Option<Self> {
        let bytes = bytes as u64;
        // If nothing is in flight, any record within the limit fits.
        let fits = bytes <= limits.low()
            && (self.high() == 0 || self.high() < limits.high() && self.low() + bytes <= limits.low());
        fits.then(|| Self(self.0 + RECORD + bytes))
    }

    /// The word without these records. `None`: the lock decides.
    pub(super) fn release(self, records: usize, bytes: usize) -> Option<Self> {
        (!self.is_locked()).then(|| Self(self.0 - Self::new(records, bytes).0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::state::{Admission, State};
    use super::*;

    #[test]
    fn the_largest_limits_fit() {
        let full = Word::new(MAX.records, MAX.bytes);
        assert_eq!((full.records(), full.bytes(), full.is_locked()), (MAX.records, MAX.bytes, false));
        assert_eq!(full.locked().release(1, 1), None);
        assert_eq!((full.locked().records(), full.locked().bytes()), (MAX.records, MAX.bytes));
        let last = Word::new(MAX.records - 1, MAX.bytes - 7);
        assert_eq!((last.admit(7, full), last.admit(8, full)), (Some(full), None));
        assert_eq!((full.admit(0, full), full.locked().admit(0, full)), (None, None));
        assert_eq!(Word(0).admit(MAX.bytes + 1, full), None);
        for records in [0, 1] {
            let locked = Word::new(records, 0).locked();
            assert_eq!((locked.is_ready(full), locked.admit(0, full)), (false, None));
        }
        assert_eq!(full.release(MAX.records, MAX.bytes), Some(Word(0)));
    }

    proptest! {
        /// It says what the state under the lock says.
        #[test]
        fn it_decides_as_the_state_does(records in 0..5_usize, held in 0..12_usize, of in 1..5_usize, max in 1..12_usize, bytes in 0..14_usize) {
            prop_assume!(records > 0 || held == 0);
            let limits = Limits { records: of, bytes: max };
            let (word, mut state) = (Word::new(records, held), State::new(limits));
            state.enter(word);
            prop_assert_eq!(word.is_ready(Word::of(limits)), state.room());
            let admitted = matches!(state.call((), bytes), Admission::Admitted(..));
            prop_assert_eq!(word.admit(bytes, Word::of(limits)), admitted.then(|| Word::new(records + 1, held + bytes)));
        }
    }
}
