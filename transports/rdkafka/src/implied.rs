//! Decides what is known of records that librdkafka reports as written without an answer of a broker. Pure: times are
//! arguments.
//!
//! If a request has no good answer, and the one behind it has, librdkafka reports the records of both as written
//! (`rd_kafka_dr_implicit_ack`): the broker compares sequence numbers, and takes none behind a gap. That is right where the broker
//! knows the producer. In a partition that is new to the producer it takes any first number, and never the lower one again. A
//! record of a new topic, whose leader answers 3 for a moment, was lost in this way about once in fifty times on a busy machine.
//! Measured on Kafka 4.3.1; only such reports have no offset.
//!
//! The report of the record behind them comes next, with an offset. At offset 0 nothing can be before it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::Persistence;

use crate::slot::Slot;

/// How long a broker is taken to know a producer that sends nothing. Kafka's default is a day
/// (`producer.id.expiration.ms`).
const KNOWN: Duration = Duration::from_secs(3_600);

/// A record that was reported without an offset.
#[derive(Debug)]
pub(crate) struct Implied {
    pub(crate) slot: Arc<Slot>,
    pub(crate) partition: i32,
    /// In milliseconds since the epoch; negative if unknown.
    pub(crate) timestamp: i64,
}

/// The last record that a broker has acknowledged in a partition.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    offset: i64,
    called_at: Instant,
}

/// The reports of one instance of librdkafka.
#[derive(Debug, Default)]
pub(crate) struct ImpliedReports {
    waiting: Vec<Implied>,
    acknowledged: HashMap<(Arc<str>, i32), Acknowledged>,
    /// That of the partition of the last report, which is newer than the one in the map.
    last: Option<((Arc<str>, i32), Acknowledged)>,
}

impl ImpliedReports {
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn push(&mut self, implied: Implied) {
        self.waiting.push(implied);
    }

    /// The producer is another one, which no partition knows.
    pub(crate) fn forget_partitions(&mut self) {
        self.acknowledged.clear();
        self.last = None;
    }

    /// A broker acknowledged this record at the offset. Returns those before it that waited for that.
    pub(crate) fn acknowledged(&mut self, slot: &Slot, partition: i32, offset: i64) -> Vec<(Implied, Persistence)> {
        let before = self.before(&slot.record().topic, partition, offset);
        self.note(slot, partition, offset);
        before
    }

    /// As [`acknowledged`](Self::acknowledged), if none [is waiting](Self::is_waiting).
    #[inline]
    pub(crate) fn note(&mut self, slot: &Slot, partition: i32, offset: i64) {
        let topic = &slot.record().topic;
        let now = Acknowledged { offset, called_at: slot.called_at() };
        match &mut self.last {
            Some(((last, of), state)) if *of == partition && (Arc::ptr_eq(last, topic) || last == topic) => {
                *state = now
            }
            _ => self.enter((Arc::clone(topic), partition), now),
        }
    }

    #[cold]
    fn enter(&mut self, at: (Arc<str>, i32), now: Acknowledged) {
        self.acknowledged.extend(self.last.replace((at, now)));
    }

    fn before(&mut self, topic: &Arc<str>, partition: i32, offset: i64) -> Vec<(Implied, Persistence)> {
        self.acknowledged.extend(self.last.take());
        let known = self.acknowledged.get(&(Arc::clone(topic), partition)).copied();
        let is_before = |of: &Implied| of.partition == partition && of.slot.record().topic == *topic;
        let (before, others): (Vec<_>, _) = std::mem::take(&mut self.waiting).into_iter().partition(is_before);
        self.waiting = others;
        let with_fate = |of: Implied| {
            let fate = match known {
                // A lower offset is of a topic that was created again.
                Some(known) if known.offset < offset && of.slot.called_at() < known.called_at + KNOWN => {
                    Persistence::Persisted
                }
                _ if offset == 0 => Persistence::NotPersisted,
                _ => Persistence::PossiblyPersisted,
            };
            (of, fate)
        };
        before.into_iter().map(with_fate).collect()
    }

    /// Nothing more is learnt about these: returns all.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (Implied, Persistence)> {
        std::mem::take(&mut self.waiting).into_iter().map(|of| (of, Persistence::PossiblyPersisted))
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_core::Record;

    use super::*;

    fn slot(topic: &str, at: Instant) -> Arc<Slot> {
        Arc::new(Slot::new(Record::new(topic), at))
    }

    fn implied(topic: &str, partition: i32, at: Instant) -> Implied {
        Implied { slot: slot(topic, at), partition, timestamp: -1 }
    }

    fn fates(of: impl IntoIterator<Item = (Implied, Persistence)>) -> Vec<Persistence> {
        of.into_iter().map(|(_, fate)| fate).collect()
    }

    #[test]
    fn in_a_new_partition_only_the_first_offset_proves_anything() {
        let (mut reports, now) = (ImpliedReports::default(), Instant::now());
        for (topic, partition) in [("t", 0), ("t", 1), ("u", 0), ("t", 0)] {
            reports.push(implied(topic, partition, now));
        }
        let t = slot("t", now);
        assert_eq!(fates(reports.acknowledged(&t, 0, 0)), [Persistence::NotPersisted; 2]);
        assert_eq!(fates(reports.acknowledged(&t, 0, 1)), []);
        assert_eq!(fates(reports.acknowledged(&t, 1, 1)), [Persistence::PossiblyPersisted]);
        assert!(reports.is_waiting());
        assert_eq!(fates(reports.take()), [Persistence::PossiblyPersisted], "of another topic");
        assert!(!reports.is_waiting());
    }

    #[test]
    fn a_broker_that_knows_the_producer_leaves_no_gap() {
        let (mut reports, now) = (ImpliedReports::default(), Instant::now());
        let acknowledged = |reports: &mut ImpliedReports, partition, offset, called_at| {
            fates(reports.acknowledged(&slot("t", called_at), partition, offset))
        };
        assert_eq!(acknowledged(&mut reports, 0, 5, now), []);
        assert_eq!(acknowledged(&mut reports, 1, 9, now), [], "of another partition, in between");
        let cases = [(now, 7, Persistence::Persisted), (now + KNOWN, 9, Persistence::PossiblyPersisted)];
        for (called_at, offset, fate) in cases {
            reports.push(implied("t", 0, called_at));
            assert_eq!(acknowledged(&mut reports, 0, offset, now), [fate]);
        }
        reports.push(implied("t", 0, now));
        assert_eq!(acknowledged(&mut reports, 0, 0, now), [Persistence::NotPersisted], "the topic was created again");
        reports.forget_partitions();
        reports.push(implied("t", 0, now));
        assert_eq!(acknowledged(&mut reports, 0, 12, now), [Persistence::PossiblyPersisted], "another producer");
    }
}
