//! What a partition's leader remembers of producers: their epoch and their last five batches, as Kafka does.

use std::collections::{BTreeMap, VecDeque};

/// Batches of a producer that a leader remembers.
const REMEMBERED: usize = 5;

/// The producer of a batch, and its sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The producer.
    pub(crate) id: i64,
    /// Its epoch.
    pub(crate) epoch: i16,
    /// Sequence number of the first record.
    pub(crate) first: i32,
    /// Number of records.
    pub(crate) count: i32,
}

impl Stamp {
    /// Sequence number of the last record: they wrap from the largest to 0.
    pub(crate) fn last(self) -> i32 {
        after(self.first, self.count - 1)
    }
}

/// The sequence number `by` behind another one.
pub(crate) fn after(sequence: i32, by: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(by);
    i32::try_from(sum % (i64::from(i32::MAX) + 1)).expect("it is below 2^31")
}

/// What a leader does with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// It is the next one, or the producer is not known.
    Append,
    /// It is in the log, at this offset.
    Duplicate(i64),
    /// 45 `OUT_OF_ORDER_SEQUENCE_NUMBER`.
    OutOfOrder,
    /// 47 `INVALID_PRODUCER_EPOCH`.
    Fenced,
}

/// The producers that a leader knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers(BTreeMap<i64, Producer>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// Sequence numbers of the first and the last record, and the offset of the first. Never empty.
    batches: VecDeque<(i32, i32, i64)>,
}

impl Producers {
    /// Looks at a batch before it is appended.
    pub(crate) fn check(&self, stamp: Stamp) -> Check {
        let Some(known) = self.0.get(&stamp.id) else { return Check::Append };
        if stamp.epoch < known.epoch {
            return Check::Fenced;
        }
        if stamp.epoch > known.epoch {
            return if stamp.first == 0 { Check::Append } else { Check::OutOfOrder };
        }
        let same = known.batches.iter().find(|(first, last, _)| (*first, *last) == (stamp.first, stamp.last()));
        match (same, known.batches.back()) {
            (Some((_, _, offset)), _) => Check::Duplicate(*offset),
            (None, Some((_, last, _))) if after(*last, 1) == stamp.first => Check::Append,
            _ => Check::OutOfOrder,
        }
    }

    /// Remembers a batch that was appended.
    pub(crate) fn appended(&mut self, stamp: Stamp, offset: i64) {
        let new = || Producer { epoch: stamp.epoch, batches: VecDeque::new() };
        let producer = self.0.entry(stamp.id).or_insert_with(new);
        if producer.epoch != stamp.epoch {
            *producer = new();
        }
        producer.batches.push_back((stamp.first, stamp.last(), offset));
        if producer.batches.len() > REMEMBERED {
            producer.batches.pop_front();
        }
    }

    /// Forgets what is not in a snapshot: all but the last batch of each producer.
    pub(crate) fn restart(&mut self) {
        for producer in self.0.values_mut() {
            let last = producer.batches.len().saturating_sub(1);
            producer.batches.drain(..last);
        }
    }
}
