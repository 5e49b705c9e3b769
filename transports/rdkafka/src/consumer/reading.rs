//! Decides what of a batch is lent, and which position is true. No clock, no lock.

use super::logs::Sign;
use crate::ffi::consumer::FailedRead;

/// One epoch of a partition.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) epoch: u64,
    /// Behind everything that was lent or passed in this epoch, or where it begins, if that is known.
    next: Option<i64>,
    reported: Option<i64>,
    /// librdkafka has looked up where the epoch begins, maybe twice: it may continue elsewhere behind the first record.
    looked_up: bool,
    /// A position of librdkafka's that may be of an earlier assignment. Believed when it has changed.
    doubted: Option<i64>,
}

/// What to do with a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// The number of records to lend, from the first one. The others are discarded.
    pub(super) lend: usize,
    /// The new position, if there is one.
    pub(super) position: Option<i64>,
    pub(super) then: Then,
}

/// How a partition goes on after a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    /// It was not read completely: with the offset to read again, if it is known.
    ReadAgain(FailedRead, Option<i64>),
    /// librdkafka continues elsewhere: it is to be sought at this offset, which comes next.
    SeekAgain(i64),
    /// This offset, which comes next, is not in the log.
    OutOfRange(i64),
    /// The log begins anew at this offset, which was passed before: it was truncated, or its topic was deleted and created
    /// again. Only a new epoch can read it.
    Restart(i64),
}

impl Reading {
    /// Begins where the group has committed, which is `begin` if it is known. `doubted`: the position before.
    pub(super) fn start(epoch: u64, begin: Option<i64>, doubted: Option<i64>) -> Self {
        Self { epoch, next: begin, reported: begin, looked_up: false, doubted }
    }

    /// Begins at an offset.
    pub(super) fn seek(epoch: u64, to: i64) -> Self {
        Self { epoch, next: Some(to), reported: Some(to), looked_up: false, doubted: None }
    }

    /// librdkafka did not find an offset in the log, whose end is known. If that is before the offset, the epoch began there:
    /// nothing can have been read before it.
    pub(super) fn was_reset(&mut self, offset: i64, end: Option<i64>) {
        if end.is_some_and(|end| end < offset) {
            self.next.get_or_insert(offset);
        }
    }

    /// Takes a batch, as the offsets of its records and the errors among them. `position` is librdkafka's, afterwards. `sign`:
    /// librdkafka continues elsewhere, and nothing is lent from there.
    ///
    /// Nothing behind an error is lent, because records may be missing in between. librdkafka's position is wrong then: an error
    /// moves it like a record.
    pub(super) fn take(
        &mut self,
        batch: impl Iterator<Item = Result<i64, FailedRead>>,
        position: Option<i64>,
        sign: Option<Sign>,
    ) -> Taken {
        let mut batch = batch.peekable();
        let reset = match sign {
            Some(Sign::Reset(offset)) => Some(offset),
            _ => None,
        };
        self.looked_up |= sign == Some(Sign::LookUp);
        if self.looked_up && reset.is_none() {
            // The epoch begins where it is read first.
            let first = batch.peek().and_then(|first| first.as_ref().ok().copied());
            if let Some(next) = self.next.or(first) {
                (self.next, self.looked_up) = (Some(next), false);
                return Taken { lend: 0, position: None, then: Then::SeekAgain(next) };
            }
        }
        let (mut lend, mut then, mut is_empty) = (0, Then::GoOn, true);
        for offset in batch {
            is_empty = false;
            let is_before = |offset: i64| self.next.is_some_and(|next| offset < next);
            match (offset, reset) {
                (Ok(offset), Some(reset)) if offset >= reset || is_before(offset) => then = Then::OutOfRange(reset),
                (Ok(offset), _) if is_before(offset) => then = Then::Restart(offset),
                (Ok(offset), _) => {
                    self.next = Some(offset + 1);
                    lend += 1;
                    continue;
                }
                (Err(failed), _) => {
                    let again = self.next.or((failed.offset >= 0).then_some(failed.offset));
                    then = Then::ReadAgain(failed, again);
                }
            }
            break;
        }
        if let (Then::GoOn, true, Some(reset)) = (&then, is_empty, reset) {
            then = Then::OutOfRange(reset);
        }
        if let Then::OutOfRange(offset) = &mut then {
            // What was read ahead may have been discarded in a rebalance.
            *offset = self.next.unwrap_or(*offset);
        }
        let position = position.filter(|position| reset.is_none_or(|reset| *position <= reset));
        if then == Then::GoOn && position != self.doubted {
            self.doubted = None;
            self.next = self.next.max(position);
        }
        let is_new = self.next != self.reported;
        self.reported = self.next;
        Taken { lend, position: self.next.filter(|_| is_new), then }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(reading: &mut Reading, offsets: &[i64], position: Option<i64>) -> Taken {
        reading.take(offsets.iter().map(|offset| Ok(*offset)), position, None)
    }

    fn failed(offset: i64) -> FailedRead {
        FailedRead { code: -199, text: "bad".to_owned(), offset }
    }

    #[test]
    fn a_position_passes_what_cannot_be_read() {
        let mut reading = Reading::start(1, None, None);
        let nothing = Taken { lend: 0, position: None, then: Then::GoOn };
        assert_eq!(taken(&mut reading, &[], None), nothing);
        assert_eq!(taken(&mut reading, &[3, 4], Some(5)), Taken { lend: 2, position: Some(5), then: Then::GoOn });
        assert_eq!(taken(&mut reading, &[], Some(5)), nothing, "it is known");
        assert_eq!(taken(&mut reading, &[], Some(9)), Taken { lend: 0, position: Some(9), then: Then::GoOn });
    }

    #[test]
    fn a_position_of_an_earlier_assignment_is_not_believed() {
        let mut reading = Reading::start(1, None, Some(100));
        assert_eq!(taken(&mut reading, &[], Some(100)).position, None);
        assert_eq!(taken(&mut reading, &[], None).position, None);
        assert_eq!(taken(&mut reading, &[], Some(7)).position, Some(7));
    }

    #[test]
    fn nothing_behind_an_error_is_lent() {
        let mut reading = Reading::start(1, None, None);
        let batch = [Ok(0), Ok(1), Err(failed(2)), Ok(3)];
        let Taken { lend, position, then } = reading.take(batch.into_iter(), Some(4), None);
        assert_eq!((lend, position), (2, Some(2)), "librdkafka's position counts the error");
        assert_eq!(then, Then::ReadAgain(failed(2), Some(2)));
    }

    #[test]
    fn an_error_before_the_first_record_says_where_to_read_again() {
        for (offset, again) in [(8, Some(8)), (-1001, None)] {
            let taken = Reading::start(1, None, None).take([Err(failed(offset))].into_iter(), Some(offset + 1), None);
            assert_eq!(taken, Taken { lend: 0, position: None, then: Then::ReadAgain(failed(offset), again) });
        }
        let taken = Reading::seek(1, 5).take([Err(failed(9))].into_iter(), Some(10), None);
        assert_eq!(taken.then, Then::ReadAgain(failed(9), Some(5)));
    }

    #[test]
    fn a_log_that_begins_anew_ends_the_epoch() {
        let mut reading = Reading::start(1, None, None);
        taken(&mut reading, &[10, 11], Some(12));
        assert_eq!(
            taken(&mut reading, &[12, 0, 1], Some(12)),
            Taken { lend: 1, position: Some(13), then: Then::Restart(0) }
        );
    }

    #[test]
    fn nothing_from_elsewhere_is_lent() {
        let mut reading = Reading::start(1, None, None);
        let of = |reading: &mut Reading, offsets: &[i64], position| {
            reading.take(offsets.iter().map(|offset| Ok(*offset)), position, Some(Sign::Reset(5)))
        };
        assert_eq!(
            of(&mut reading, &[2, 3], Some(4)),
            Taken { lend: 2, position: Some(4), then: Then::GoOn },
            "they were read before"
        );
        for elsewhere in [&[][..], &[9, 10], &[5], &[0, 1]] {
            let mut reading = Reading::seek(1, 4);
            let taken = of(&mut reading, elsewhere, elsewhere.last().map(|last| last + 1));
            assert_eq!(taken, Taken { lend: 0, position: None, then: Then::OutOfRange(4) }, "{elsewhere:?}");
        }
        for (end, lend) in [(Some(3), 0), (Some(5), 2), (None, 2)] {
            let mut reading = Reading::start(1, None, None);
            reading.was_reset(5, end);
            assert_eq!(of(&mut reading, &[0, 1], Some(2)).lend, lend, "the end is {end:?}");
        }
        let taken = of(&mut reading, &[4, 9], Some(10));
        assert_eq!(taken, Taken { lend: 1, position: Some(5), then: Then::OutOfRange(5) });
    }

    #[test]
    fn a_place_that_is_known_stands_when_librdkafka_looks_one_up() {
        let of = |mut reading: Reading, offsets: &[i64]| {
            reading.take(offsets.iter().map(|offset| Ok(*offset)), Some(12), Some(Sign::LookUp))
        };
        let mut read = Reading::start(1, None, None);
        taken(&mut read, &[0, 1, 2], Some(3));
        for reading in [read, Reading::seek(1, 3), Reading::start(1, Some(3), None)] {
            assert_eq!(of(reading, &[10, 11]), Taken { lend: 0, position: None, then: Then::SeekAgain(3) });
        }
        let begins = of(Reading::start(1, None, None), &[10, 50]);
        assert_eq!(
            begins,
            Taken { lend: 0, position: None, then: Then::SeekAgain(10) },
            "50 may be behind a second look-up"
        );
        let mut reading = Reading::start(1, None, None);
        let nothing = Taken { lend: 0, position: None, then: Then::GoOn };
        assert_eq!(reading.take([].into_iter(), None, Some(Sign::LookUp)), nothing);
        assert_eq!(taken(&mut reading, &[10, 50], Some(51)).then, Then::SeekAgain(10), "also if the sign came before");
        assert_eq!(taken(&mut reading, &[10, 11], Some(12)).lend, 2, "after the seek");
    }

    proptest! {
        /// Whatever comes, offsets grow, and no position is before a record that was lent, or behind the first one that was not.
        #[test]
        fn positions_are_true(
            batches in prop::collection::vec((prop::collection::vec((0_i64..30, prop::bool::weighted(0.9)), 0..6), 0_i64..40), 0..8),
        ) {
            let mut reading = Reading::start(1, None, None);
            let mut last = None;
            for (batch, position) in batches {
                let offsets: Vec<_> =
                    batch.iter().map(|(offset, good)| if *good { Ok(*offset) } else { Err(failed(*offset)) }).collect();
                // librdkafka's position is behind everything that it returned.
                let returned = batch.iter().map(|(offset, _)| offset + 1).max();
                let taken = reading.take(offsets.clone().into_iter(), returned.max(Some(position)), None);
                for offset in &offsets[..taken.lend] {
                    let offset = *offset.as_ref().unwrap();
                    prop_assert!(last.is_none_or(|last| last < offset));
                    last = Some(offset);
                }
                let not_lent = offsets.get(taken.lend).and_then(|next| next.as_ref().ok());
                if let (Some(position), Then::ReadAgain(..)) = (taken.position, &taken.then) {
                    prop_assert!(not_lent.is_none_or(|next| position <= *next));
                }
                prop_assert!(taken.position.is_none_or(|position| last.is_none_or(|last| position > last)));
                if taken.then != Then::GoOn {
                    break;
                }
            }
        }
    }
}
