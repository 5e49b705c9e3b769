//! Decides what is known of records that librdkafka reports as written without an answer of a broker.
//!
//! If a broker refuses a request, and takes the one behind it, librdkafka reports the records of both as written
//! (`rd_kafka_dr_implicit_ack`). That is right as long as the broker compares sequence numbers. It has none to compare for a
//! producer that is new in the partition: it takes any first number, and never the lower one again. With a new topic, whose
//! leader answers 3 for a moment, this happens on a busy machine once in about fifty times. Measured on Kafka 4.3.1; only such
//! reports have no offset.
//!
//! The report of the record behind them comes next, with an offset. At offset 0 nothing can be before it.

use std::sync::Arc;

use kafka_tower_core::Persistence;

use crate::slot::Slot;

/// Records that were reported without an offset, and wait for the report of a record behind them.
#[derive(Debug, Default)]
pub(crate) struct ImpliedReports(Vec<(Arc<Slot>, i32)>);

impl ImpliedReports {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, slot: Arc<Slot>, partition: i32) {
        self.0.push((slot, partition));
    }

    /// A record of this partition was written at the offset: returns those before it, and their persistence.
    pub(crate) fn written_at(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> impl Iterator<Item = (Arc<Slot>, i32, Persistence)> {
        let is_before = |(slot, of): &(Arc<Slot>, i32)| *of == partition && *slot.record().topic == *topic;
        let (before, others) = std::mem::take(&mut self.0).into_iter().partition(is_before);
        self.0 = others;
        let fate = if offset == 0 { Persistence::NotPersisted } else { Persistence::PossiblyPersisted };
        let before: Vec<_> = before;
        before.into_iter().map(move |(slot, partition)| (slot, partition, fate))
    }

    /// Nothing more is learnt about these: returns all.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (Arc<Slot>, i32, Persistence)> {
        std::mem::take(&mut self.0).into_iter().map(|(slot, of)| (slot, of, Persistence::PossiblyPersisted))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use kafka_tower_core::Record;

    use super::*;

    fn known(of: impl Iterator<Item = (Arc<Slot>, i32, Persistence)>) -> Vec<(i32, Persistence)> {
        of.map(|(_, partition, fate)| (partition, fate)).collect()
    }

    #[test]
    fn only_the_first_offset_of_a_partition_proves_that_nothing_is_before_it() {
        let mut implied = ImpliedReports::default();
        for (topic, partition) in [("t", 0), ("t", 1), ("u", 0), ("t", 0)] {
            implied.push(Arc::new(Slot::new(Record::new(topic), Instant::now())), partition);
        }
        assert_eq!(known(implied.written_at("t", 0, 0)), [(0, Persistence::NotPersisted); 2]);
        assert_eq!(known(implied.written_at("t", 0, 0)), []);
        assert_eq!(known(implied.written_at("t", 1, 1)), [(1, Persistence::PossiblyPersisted)]);
        assert!(!implied.is_empty());
        assert_eq!(known(implied.take()), [(0, Persistence::PossiblyPersisted)], "of another topic");
        assert!(implied.is_empty());
    }
}
