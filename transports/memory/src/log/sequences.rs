//! How a partition distinguishes a retried record from a new one: by producer, epoch and sequence.

use std::collections::{BTreeMap, VecDeque};

/// Number of a producer's last batches that are remembered, as in Kafka.
const REMEMBERED: usize = 5;

/// Position of a record in a producer's sequence for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) number: i32,
    /// The batch of the record; the same in each attempt.
    pub(crate) batch: u64,
}

/// A partition's verdict about a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    New,
    /// It was already written, at this offset.
    Duplicate(i64),
    /// Kafka's `DUPLICATE_SEQUENCE_NUMBER`: it was already written, too long ago to know the offset.
    OldDuplicate,
    /// Kafka's `OUT_OF_ORDER_SEQUENCE_NUMBER`: an earlier record is missing.
    OutOfOrder,
    /// Kafka's `INVALID_PRODUCER_EPOCH`.
    OldEpoch,
}

#[derive(Debug, Default)]
pub(crate) struct Sequences(BTreeMap<i64, Producer>);

#[derive(Debug)]
struct Producer {
    epoch: i16,
    next: i32,
    /// Records of the last batches.
    last: VecDeque<Written>,
    /// Number of batches in `last`.
    batches: usize,
}

#[derive(Debug)]
struct Written {
    number: i32,
    offset: i64,
    batch: u64,
}

impl Producer {
    fn new(epoch: i16) -> Self {
        Self { epoch, next: 0, last: VecDeque::new(), batches: 0 }
    }
}

impl Sequences {
    pub(crate) fn look(&self, sequence: Sequence) -> Verdict {
        let Some(known) = self.0.get(&sequence.producer_id) else {
            // An unknown producer may start at any number.
            return Verdict::New;
        };
        if sequence.epoch < known.epoch {
            return Verdict::OldEpoch;
        }
        let next = if sequence.epoch > known.epoch { 0 } else { known.next };
        if sequence.number == next {
            return Verdict::New;
        }
        if sequence.epoch > known.epoch || sequence.number > next {
            return Verdict::OutOfOrder;
        }
        let at = known.last.iter().find(|written| written.number == sequence.number);
        at.map_or(Verdict::OldDuplicate, |written| Verdict::Duplicate(written.offset))
    }

    /// Records a write.
    pub(crate) fn write(&mut self, sequence: Sequence, offset: i64) {
        let Sequence { producer_id, epoch, number, batch } = sequence;
        let known = self.0.entry(producer_id).or_insert_with(|| Producer::new(epoch));
        if known.epoch != epoch {
            *known = Producer::new(epoch);
        }
        known.next = number + 1;
        if known.last.back().is_none_or(|last| last.batch != batch) {
            known.batches += 1;
        }
        known.last.push_back(Written { number, offset, batch });
        while known.batches > REMEMBERED {
            let first = known.last.pop_front();
            if known.last.front().map(|next| next.batch) != first.map(|first| first.batch) {
                known.batches -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Producer, epoch, distance from the next number, and whether a batch begins.
    fn asked() -> impl Strategy<Value = (i64, i16, i32, bool)> {
        let from_next = prop_oneof![6 => Just(0), 4 => -12..0, 1 => 1..3];
        (0..2i64, prop_oneof![20 => Just(1), 1 => Just(2), 1 => Just(0)], from_next, prop::bool::weighted(0.4))
    }

    proptest! {
        /// Compares with the whole history of writes, in batches of one or more records.
        #[test]
        fn the_check_of_sequences_agrees_with_a_naive_model(asked in prop::collection::vec(asked(), 0..200)) {
            let mut sequences = Sequences::default();
            let mut written: Vec<(Sequence, i64)> = Vec::new();
            let mut batch = 0;
            for (producer_id, epoch, from_next, begins) in asked {
                let own: Vec<_> = written.iter().filter(|(s, _)| s.producer_id == producer_id).collect();
                let newest = own.iter().map(|(s, _)| s.epoch).max();
                let of_epoch: Vec<_> = own.iter().filter(|(s, _)| s.epoch == epoch).collect();
                let next = of_epoch.last().map_or(0, |(s, _)| s.number + 1);
                let number = (next + from_next).max(0);
                batch += u64::from(begins && from_next == 0);
                let sequence = Sequence { producer_id, epoch, number, batch };
                let expected = if own.is_empty() {
                    Verdict::New
                } else if newest > Some(epoch) {
                    Verdict::OldEpoch
                } else if number == next {
                    Verdict::New
                } else if number > next {
                    Verdict::OutOfOrder
                } else {
                    let batches: BTreeSet<_> = of_epoch.iter().map(|(s, _)| s.batch).collect();
                    let remembered: Vec<_> = batches.into_iter().rev().take(5).collect();
                    let there = of_epoch.iter().find(|(s, _)| s.number == number && remembered.contains(&s.batch));
                    there.map_or(Verdict::OldDuplicate, |(_, offset)| Verdict::Duplicate(*offset))
                };
                prop_assert_eq!(sequences.look(sequence), expected);
                if expected == Verdict::New {
                    let offset = written.len() as i64;
                    sequences.write(sequence, offset);
                    written.push((sequence, offset));
                }
            }
        }
    }
}
