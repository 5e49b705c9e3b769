//! When `tail` has read enough.

use std::collections::BTreeMap;

use kafka_tower::TopicPartition;
use kafka_tower::source::Checkpoint;

use crate::fixed::has_passed;

/// What is read of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) begin: Option<i64>,
    pub(crate) end: i64,
}

/// Limits of what is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// Number of messages.
    pub(crate) count: Option<u64>,
    /// The logs at the beginning, to be read to their ends, and where each begins, if that is known.
    pub(crate) until: Option<BTreeMap<TopicPartition, Span>>,
}

impl Limits {
    /// Whether no more messages are to be printed.
    pub(crate) fn is_full(&self, printed: u64) -> bool {
        self.count.is_some_and(|count| printed >= count)
    }

    /// Whether a message was written before the beginning.
    pub(crate) fn includes(&self, at: &TopicPartition, offset: i64) -> bool {
        self.until.as_ref().is_none_or(|spans| spans.get(at).is_some_and(|span| offset < span.end))
    }

    /// Whether a message is the last one of its partition that was there at the beginning, or a later one.
    pub(crate) fn is_at_end(&self, at: &TopicPartition, offset: i64) -> bool {
        self.until.as_ref().is_some_and(|spans| spans.get(at).is_none_or(|span| offset >= span.end - 1))
    }

    /// Whether all partitions that are read have reached their ends. Not before any partition is read.
    pub(crate) fn is_reached(&self, reads: &[TopicPartition], next: &Checkpoint) -> bool {
        let Some(spans) = &self.until else { return false };
        let is_read = |at: &TopicPartition| {
            let span = spans.get(at);
            // A source does not know its place in a partition before there was something to read.
            span.is_none_or(|span| has_passed(next, at, span.end) || span.begin.is_some_and(|begin| begin >= span.end))
        };
        !reads.is_empty() && reads.iter().all(is_read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    #[test]
    fn all_partitions_have_to_reach_their_ends() {
        let span = |begin, end| Span { begin, end };
        let spans = [(at(0), span(None, 5)), (at(1), span(Some(7), 7)), (at(2), span(Some(0), 3))];
        let limits = Limits { count: None, until: Some(spans.into()) };
        let next = |offsets: &[(i32, i64)]| offsets.iter().map(|(p, offset)| (at(*p), *offset)).collect::<Checkpoint>();
        let all = [at(0), at(1), at(2)];
        assert!(!limits.is_reached(&all, &next(&[(0, 5), (2, 2)])));
        assert!(limits.is_reached(&all, &next(&[(0, 5), (2, 3)])), "an empty partition is at its end");
        assert!(limits.is_reached(&all[..1], &next(&[(0, 9)])), "others have the rest");
        assert!(!limits.is_reached(&[], &next(&[(0, 5), (2, 3)])), "no partition was assigned yet");
        assert!(limits.includes(&at(0), 4) && !limits.includes(&at(0), 5) && !limits.includes(&at(9), 0));
        assert!(limits.is_at_end(&at(0), 4) && limits.is_at_end(&at(9), 0) && !limits.is_at_end(&at(0), 3));
    }

    #[test]
    fn without_limits_there_is_no_end() {
        let limits = Limits::default();
        assert!(!limits.is_full(u64::MAX) && limits.includes(&at(0), i64::MAX));
        assert!(!limits.is_at_end(&at(0), i64::MAX));
        assert!(!limits.is_reached(&[at(0)], &Checkpoint::new()));
        assert!(Limits { count: Some(2), until: None }.is_full(2));
    }
}
