//! How a partition tells a record that was sent again from a new one: by producer, epoch and sequence.

use std::collections::{BTreeMap, VecDeque};

/// So many of a producer's last batches are remembered, as in Kafka.
const REMEMBERED: usize = 5;

/// A place in a producer's row of records for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) number: i32,
}

/// What a partition makes of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    New,
    /// It is there already, at this offset.
    Duplicate(i64),
    /// Kafka's `DUPLICATE_SEQUENCE_NUMBER`: it is there already, too long ago to know where.
    OldDuplicate,
    /// Kafka's `OUT_OF_ORDER_SEQUENCE_NUMBER`: one before it is missing.
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
    last: VecDeque<(i32, i64)>,
}

impl Sequences {
    pub(crate) fn look(&self, sequence: Sequence) -> Verdict {
        let Some(known) = self.0.get(&sequence.producer_id) else {
            // Whoever is forgotten or new may begin anywhere.
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
        let at = known.last.iter().find(|(number, _)| *number == sequence.number);
        at.map_or(Verdict::OldDuplicate, |(_, offset)| Verdict::Duplicate(*offset))
    }

    /// A new one was written.
    pub(crate) fn write(&mut self, sequence: Sequence, offset: i64) {
        let Sequence { producer_id, epoch, number } = sequence;
        let known = self.0.entry(producer_id).or_insert(Producer { epoch, next: number, last: VecDeque::new() });
        if known.epoch != epoch {
            *known = Producer { epoch, next: number, last: VecDeque::new() };
        }
        known.next = number + 1;
        known.last.push_back((number, offset));
        if known.last.len() > REMEMBERED {
            known.last.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the whole history of what was written.
        #[test]
        fn a_partition_judges_as_a_naive_model(asked in prop::collection::vec((0..2i64, 0..3i16, 0..12i32), 0..150)) {
            let mut sequences = Sequences::default();
            let mut written: Vec<(Sequence, i64)> = Vec::new();
            for (producer_id, epoch, number) in asked {
                let sequence = Sequence { producer_id, epoch, number };
                let own: Vec<_> = written.iter().filter(|(s, _)| s.producer_id == producer_id).collect();
                let newest = own.iter().map(|(s, _)| s.epoch).max();
                let of_epoch: Vec<_> = own.iter().filter(|(s, _)| s.epoch == epoch).collect();
                let next = of_epoch.last().map_or(0, |(s, _)| s.number + 1);
                let expected = if own.is_empty() {
                    Verdict::New
                } else if newest > Some(epoch) {
                    Verdict::OldEpoch
                } else if number == next {
                    Verdict::New
                } else if number > next {
                    Verdict::OutOfOrder
                } else {
                    let last = of_epoch.iter().rev().take(5).find(|(s, _)| s.number == number);
                    last.map_or(Verdict::OldDuplicate, |(_, offset)| Verdict::Duplicate(*offset))
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
