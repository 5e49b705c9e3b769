//! Decides which of the records that an ended client gives up were certainly not appended. Pure: times are arguments.
//!
//! librdkafka reports them from its queue (`_PURGE_QUEUE`), with its own status. The status "not persisted" is not enough,
//! because a record that waits for a retry has it, too, after two kinds of attempts that may have been appended:
//!
//! - The broker answered 3, 6 or 56, or another code that makes librdkafka look for the partition's leader. A leader that
//!   steps down answers so after it has appended the batch. librdkafka logs each such answer before it queues the records
//!   again (`debug=topic`), and its log lines overtake its reports.
//! - The connection ended while the request was on it. librdkafka then calls it "possibly persisted", but not if it ended
//!   the connection itself, because the request behind it was written in part and given up.
//!
//! Any other attempt that leaves the status "not persisted" was refused before the append (2, 19, 45, 59), or was not
//! written to the socket completely, which no broker executes. So a record is certain if neither happened since its call.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::codes;
use crate::stuck_partitions::{self, Partition};

/// `RD_KAFKA_MSG_STATUS_NOT_PERSISTED`.
const NOT_PERSISTED: i32 = 0;
/// Maximum number of partitions that are remembered one by one.
const PARTITIONS: usize = 10_000;

/// When a batch of a partition was last refused so that it may have been appended.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    partitions: BTreeMap<Partition, Instant>,
    /// The same for all partitions that are not remembered.
    others: Option<Instant>,
}

impl Refusals {
    /// Reads a line of librdkafka's log.
    pub(crate) fn read(&mut self, facility: &str, text: &str, now: Instant) {
        if facility != "BROKERUA" {
            return;
        }
        match stuck_partitions::partition_of(text) {
            Some(partition) if self.partitions.len() < PARTITIONS || self.partitions.contains_key(&partition) => {
                self.partitions.insert(partition, now);
            }
            _ => self.others = Some(now),
        }
    }

    fn last(&self, topic: &str, partition: i32) -> Option<Instant> {
        let own = self.partitions.get(&(topic.to_owned(), partition)).copied();
        own.max(self.others)
    }
}

/// A record that is reported from librdkafka's queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queued<'a> {
    pub(crate) code: i32,
    pub(crate) status: i32,
    pub(crate) topic: &'a str,
    /// Negative if it never got one.
    pub(crate) partition: i32,
    pub(crate) called_at: Instant,
}

/// Returns whether the record was certainly not appended. `disconnected`: when a connection was last lost.
pub(crate) fn is_certain(record: &Queued<'_>, refusals: &Refusals, disconnected: Option<Instant>) -> bool {
    if record.code != codes::LOCAL_PURGE_QUEUE {
        return false;
    }
    if record.partition < 0 {
        return true;
    }
    let last = refusals.last(record.topic, record.partition).max(disconnected);
    record.status == NOT_PERSISTED && last.is_none_or(|at| at < record.called_at)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn queued(called_at: Instant) -> Queued<'static> {
        Queued { code: codes::LOCAL_PURGE_QUEUE, status: NOT_PERSISTED, topic: "t", partition: 0, called_at }
    }

    fn refused(partition: i32, at: Instant) -> Refusals {
        let mut refusals = Refusals::default();
        let line = format!("t [{partition}]: broker unavailable: produce: Broker: Not leader for partition");
        refusals.read("BROKERUA", &line, at);
        refusals
    }

    #[test]
    fn a_record_that_was_never_tried_is_certain() {
        let now = Instant::now();
        assert!(is_certain(&queued(now), &Refusals::default(), None));
        assert!(!is_certain(&Queued { status: 1, ..queued(now) }, &Refusals::default(), None));
        for code in [codes::LOCAL_PURGE_INFLIGHT, 0, 45, 59] {
            assert!(!is_certain(&Queued { code, ..queued(now) }, &Refusals::default(), None), "{code}");
        }
    }

    #[test]
    fn a_refusal_leaves_the_earlier_records_of_its_partition_in_doubt() {
        let now = Instant::now();
        let refusals = refused(0, now);
        assert!(!is_certain(&queued(now - SECOND), &refusals, None));
        assert!(!is_certain(&queued(now), &refusals, None), "it may have been called before the line was read");
        assert!(is_certain(&queued(now + SECOND), &refusals, None));
        assert!(is_certain(&queued(now - SECOND), &refused(1, now), None), "another partition");
    }

    #[test]
    fn a_lost_connection_leaves_all_earlier_records_in_doubt() {
        let now = Instant::now();
        assert!(!is_certain(&queued(now - SECOND), &Refusals::default(), Some(now)));
        assert!(is_certain(&queued(now + SECOND), &Refusals::default(), Some(now)));
    }

    #[test]
    fn a_record_without_a_partition_was_never_sent() {
        let (now, refusals) = (Instant::now(), refused(-1, Instant::now()));
        let record = Queued { partition: -1, status: 1, ..queued(now - SECOND) };
        assert!(is_certain(&record, &refusals, Some(now)));
    }

    #[test]
    fn a_line_that_is_not_understood_leaves_all_in_doubt() {
        let now = Instant::now();
        let mut refusals = Refusals::default();
        refusals.read("BROKERUA", "t(0): not available", now);
        assert!(!is_certain(&queued(now - SECOND), &refusals, None));
        // As are further partitions than can be remembered.
        let mut refusals = Refusals::default();
        for partition in 0..=10_000 {
            refusals.read("BROKERUA", &format!("many [{partition}]: broker unavailable: produce: x"), now);
        }
        assert!(!is_certain(&queued(now - SECOND), &refusals, None));
        // Lines about other things change nothing.
        let mut refusals = Refusals::default();
        refusals.read("BROKER", "t [0]: leader 1 epoch 1 -> leader 2 epoch 2", now);
        assert!(is_certain(&queued(now - SECOND), &refusals, None));
    }

    #[test]
    fn every_reason_counts() {
        let now = Instant::now();
        for reason in
            ["Broker: Not leader for partition", "Broker: Unknown topic or partition", "Local: Broker handle destroyed"]
        {
            let mut refusals = Refusals::default();
            refusals.read("BROKERUA", &format!("[thrd:b:1/1]: t [0]: broker unavailable: produce: {reason}"), now);
            assert!(!is_certain(&queued(now - SECOND), &refusals, None), "{reason}");
            assert!(refusals.others.is_none(), "only this partition");
        }
    }
}
