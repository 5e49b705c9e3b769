//! Records whose offsets are committed in a transaction of a sink.

use std::time::Instant;

use super::Engine;
use crate::source::DeliveryId;
use crate::{Assignment, TopicOffset, TopicPartition};

/// Records of a partition that belong to one transaction: from its first record that is not settled to the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The partition.
    pub at: TopicPartition,
    /// The first record.
    pub first: DeliveryId,
    /// The last record.
    pub last: DeliveryId,
    /// Number of records. Between them, others may be settled.
    pub records: usize,
    /// How many of them were not handled, and have a dead letter in the transaction.
    pub dead_letters: usize,
}

impl Engine {
    /// The offsets after these records, to be committed in a transaction. `None` if one of the partitions was given back,
    /// lost or read again since, or has another record that is not settled: the transaction has to be aborted.
    ///
    /// From now on until [`settle_span`](Self::settle_span) or [`rewind`](Self::rewind), or at most for
    /// the time of a drain, a revocation of the partitions waits, because the records are in the user's hands. Take the
    /// group's metadata before anything else can change: Kafka does not check which member owns a partition.
    #[must_use]
    pub fn offsets_after(&self, spans: &[Span]) -> Option<Vec<TopicOffset>> {
        let offset = |Span { at, first, last, records, .. }: &Span| {
            let offset = self.partitions.get(at)?.watermark.end_of(*first, *last, *records)?;
            Some(TopicOffset { topic: at.topic.clone(), partition: at.partition, offset })
        };
        spans.iter().map(offset).collect()
    }

    /// The transaction with the records up to the last one of this span was committed, with this offset after it. Nothing
    /// happens, and the result is false, if the partition was given back, lost or read again since. Then its next reader begins
    /// there.
    pub fn settle_span(&mut self, span: &Span, offset: i64) -> bool {
        let Some(partition) = self.partitions.get_mut(&span.at) else { return false };
        let settled = partition.watermark.settle_through(span.last);
        if settled > 0 {
            let dead_letters = settled.min(span.dead_letters as u64);
            self.closed.settled += settled - dead_letters;
            self.closed.dead_lettered += dead_letters;
            partition.watermark.committed(offset);
            partition.attempts = partition.attempts.split_off(&offset);
        }
        settled > 0
    }

    /// The partitions whose records are all settled and whose position is greater than the committed offset, with that
    /// position: behind transaction markers, records of aborted transactions, or records that were skipped. Also those of
    /// which it is not known what is committed.
    #[must_use]
    pub fn passed(&self) -> Vec<(Assignment, i64)> {
        let passed = |at: &Assignment| {
            let partition = self.partitions.get(&at.at).filter(|partition| partition.is_open())?;
            partition.watermark.due().filter(|_| partition.watermark.len() == 0)
        };
        self.member.active().filter_map(|at| passed(&at).map(|position| (at, position))).collect()
    }

    /// A transaction has committed the position of a partition that [`passed`](Self::passed) has named. Nothing happens if
    /// the partition was given back, lost or read again since.
    pub fn committed_position(&mut self, at: &Assignment, position: i64) {
        if let Some(partition) = self.current(at) {
            partition.watermark.committed(position);
        }
    }

    /// The user could not handle a record of a transaction that has not begun: it is delivered again as the next attempt, and
    /// what follows it as well, not before `due`. Nothing happens if it is stale.
    pub fn retry(&mut self, at: &TopicPartition, id: DeliveryId, due: Instant) {
        let Some(partition) = self.partitions.get_mut(at) else { return };
        let Some(offset) = partition.watermark.offset(id).filter(|_| partition.watermark.hold_from(id)) else { return };
        *partition.attempts.entry(offset).or_default() += 1;
        partition.seek_at = partition.seek_at.max(Some(due));
    }

    /// The transaction with these records was aborted, or none was begun: they are delivered again, and what follows them as
    /// well, not before `at`. False, and nothing happens, if the partition was given back, lost or read again since.
    pub fn rewind(&mut self, span: &Span, at: Instant) -> bool {
        let Some(partition) = self.partitions.get_mut(&span.at) else { return false };
        let is_held = partition.watermark.hold_from(span.first);
        if is_held {
            partition.seek_at = partition.seek_at.max(Some(at));
        }
        is_held
    }

    /// Whether a record can still become part of a transaction.
    #[must_use]
    pub fn is_current(&self, at: &TopicPartition, id: DeliveryId) -> bool {
        self.partitions.get(at).is_some_and(|partition| partition.watermark.is_open(id))
    }

    /// Whether a partition is being given back, and waits for the records in the user's hands.
    #[must_use]
    pub fn is_draining(&self, at: &TopicPartition) -> bool {
        self.partitions.contains_key(at) && !self.member.is_active(at)
    }
}

#[cfg(test)]
mod tests;
