//! Why a client is replaced, and the errors of the records that it gives up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Error, ErrorKind, Persistence, Recovery, Scope};

use crate::broker_activity::ActivitySnapshot;
use crate::classify;
use crate::explain::Explanation;
use crate::slot::Slot;
use crate::stuck_partitions::{Partition, StuckReason};

/// Smaller records are not reported as too large, in bytes.
const LARGE: usize = 16 * 1_024;

/// Why a client is replaced, for the errors of the records that it gives up.
pub(crate) struct ReplaceReason {
    pub(crate) partitions: BTreeMap<Partition, StuckReason>,
    /// Topics of records that had no answer within the bound.
    pub(crate) overdue: Vec<Arc<str>>,
    /// Size of the largest record in flight to one of the partitions, in bytes.
    pub(crate) largest: usize,
    /// The brokers' activity before the client was replaced.
    pub(crate) activity_snapshot: Option<ActivitySnapshot>,
}

impl ReplaceReason {
    pub(crate) fn concerns(&self, slot: &Slot) -> bool {
        let record = slot.record();
        let in_trouble = |(topic, partition): &Partition| {
            **topic == *record.topic && record.partition.is_none_or(|own| own == *partition)
        };
        self.partitions.keys().any(in_trouble) || self.overdue.contains(&record.topic)
    }

    pub(crate) fn text(&self) -> String {
        match self.partitions.iter().next() {
            Some(((topic, partition), StuckReason::LostConnections(losses))) => {
                format!("the broker closed the connection {losses} times in a row on requests to {topic}[{partition}]")
            }
            Some(((topic, partition), StuckReason::StaleMetadata)) => {
                format!("librdkafka does not follow {topic}[{partition}] to its new leader: the topic was recreated")
            }
            None => "records had no answer for too long, though brokers answer".to_owned(),
        }
    }

    /// Error of a record that the old instance gives up.
    pub(crate) fn error(
        &self,
        slot: &Slot,
        partition: i32,
        persistence: Persistence,
        bound: Duration,
        cause: Option<&Explanation>,
    ) -> Error {
        let topic = &slot.record().topic;
        let what = classify::outcome(topic, persistence);
        let placed = classify::outcome(&format!("{topic}[{partition}]"), persistence);
        let error = match self.partitions.get(&(topic.to_string(), partition)) {
            Some(StuckReason::LostConnections(losses)) => {
                let size = slot.record().size();
                if size >= LARGE && size >= self.largest {
                    let text = format!(
                        "{placed}: the broker closed the connection each of the {losses} times that \
                         it was sent; its {size} bytes are probably more than the broker takes in one request"
                    );
                    Error::new(ErrorKind::RecordTooLarge, text)
                        .with_help("send a smaller record, or raise socket.request.max.bytes of the broker")
                } else {
                    let mut text = format!(
                        "{placed}: the broker closed the connection on {losses} requests to this partition in a \
                         row, and what was in flight to it is given up"
                    );
                    if self.largest >= LARGE {
                        let largest = self.largest;
                        text.push_str(&format!(
                            "; among it was a record of {largest} bytes, probably more than the broker takes in one request"
                        ));
                    }
                    // If one of the records is probably too large, another record of the batch may be the cause.
                    let scope = if self.largest >= LARGE { Scope::Batch } else { Scope::Broker };
                    Error::new(ErrorKind::Connection, text)
                        .with_scope(scope)
                        .with_recovery(Recovery::Retry)
                        .with_help("find requests above the broker's socket.request.max.bytes; a lower batch.size makes requests smaller")
                }
            }
            Some(StuckReason::StaleMetadata) => {
                let text = format!("{placed}: the topic was recreated, and the client had to be replaced to follow it");
                Error::new(ErrorKind::Broker, text).with_scope(Scope::Topic).with_recovery(Recovery::Retry)
            }
            None if self.overdue.contains(topic) => classify::overdue(topic, bound, persistence, cause),
            None => classify::replaced(&what, &self.text(), persistence, cause),
        };
        error.with_persistence(persistence)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use kafka_tower_core::Record;
    use kafka_tower_test_texts::faults;

    use super::*;

    fn slot(topic: &str, partition: Option<u32>, bytes: usize) -> Slot {
        let mut record = Record::new(topic).with_value(vec![0; bytes]);
        record.partition = partition.map(|partition| i32::try_from(partition).unwrap());
        Slot::new(record, Instant::now())
    }

    #[test]
    fn errors_of_records_that_are_given_up_agree_with_their_facts() {
        let partitions = [
            (("lost".to_owned(), 0), StuckReason::LostConnections(4)),
            (("anew".to_owned(), 0), StuckReason::StaleMetadata),
        ];
        let why = ReplaceReason {
            partitions: partitions.into(),
            overdue: vec!["late".into()],
            largest: 2 * LARGE,
            activity_snapshot: None,
        };
        let text = "last broker error 0.1 s ago: b:1/1: late[0]: refused".to_owned();
        let seen = Explanation::new(Some(19), text);
        for topic in ["lost", "anew", "late", "other"] {
            for bytes in [1, LARGE, 2 * LARGE] {
                let slot = slot(topic, None, bytes);
                for fate in [Persistence::NotPersisted, Persistence::PossiblyPersisted, Persistence::Persisted] {
                    let error = why.error(&slot, 0, fate, Duration::from_secs(300), Some(&seen));
                    let cause = error.to_string().contains(&seen.text);
                    assert_eq!(cause, matches!(topic, "late" | "other"), "{error}");
                    assert_eq!(error.persistence(), fate);
                    let too_large = topic == "lost" && bytes == 2 * LARGE;
                    assert_eq!(error.kind() == ErrorKind::RecordTooLarge, too_large, "{error}");
                    assert!(faults(&error).is_empty(), "{:?}", faults(&error));
                }
            }
        }
    }

    #[test]
    fn only_records_of_partitions_in_trouble_are_concerned() {
        let why = ReplaceReason {
            partitions: [(("t".to_owned(), 0), StuckReason::StaleMetadata)].into(),
            overdue: Vec::new(),
            largest: 0,
            activity_snapshot: None,
        };
        assert!(why.concerns(&slot("t", Some(0), 1)) && why.concerns(&slot("t", None, 1)));
        assert!(!why.concerns(&slot("t", Some(1), 1)) && !why.concerns(&slot("u", None, 1)));
    }
}
