//! What a consumer reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::TopicPartition;
use crate::TopicPattern;

/// Where a group begins to read a partition for which it has committed no offset (`auto.offset.reset`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffsetReset {
    /// At the first record in the log. The default, because the other choice skips records silently.
    #[default]
    Earliest,
    /// At the end of the log. Until the group has committed an offset, each restart begins at the end again.
    Latest,
}

/// Which records a consumer gets (`isolation.level`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Isolation {
    /// Records of committed transactions, and records without a transaction; none behind the first open transaction.
    #[default]
    ReadCommitted,
    /// All records, also those of open and aborted transactions.
    ReadUncommitted,
}

/// What a consumer reads, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subscription {
    /// `group.id`.
    pub group_id: Arc<str>,
    /// The topics.
    pub topics: Vec<Arc<str>>,
    /// All topics with such a name, in place of `topics`; also those that are created later.
    pub pattern: Option<TopicPattern>,
    /// These partitions of the topics, and no others: the consumer does not join the group, which only keeps its offsets.
    /// They are [assigned](super::GroupEvent::Assigned) at once, and never revoked. Empty: the group assigns partitions.
    pub partitions: Vec<TopicPartition>,
    /// Where a partition begins for which the group has committed no offset.
    pub start: OffsetReset,
    /// Which records are read.
    pub isolation: Isolation,
    /// Whether records are lent with their headers. If not, a transport need not look for them. Default: true.
    pub headers: bool,
}

impl Subscription {
    /// Subscribes a group to topics, with the defaults of [`OffsetReset`] and [`Isolation`].
    #[must_use]
    pub fn new(group_id: impl Into<Arc<str>>, topics: Vec<Arc<str>>) -> Self {
        let (start, isolation) = (OffsetReset::default(), Isolation::default());
        Self {
            group_id: group_id.into(),
            topics,
            pattern: None,
            partitions: Vec::new(),
            start,
            isolation,
            headers: true,
        }
    }

    /// Subscribes a group to all topics with such a name, with the defaults of [`OffsetReset`] and [`Isolation`].
    #[must_use]
    pub fn matching(group_id: impl Into<Arc<str>>, pattern: TopicPattern) -> Self {
        Self { pattern: Some(pattern), ..Self::new(group_id, Vec::new()) }
    }

    /// Reads fixed [`partitions`](Self::partitions), with the defaults of [`OffsetReset`] and [`Isolation`].
    #[must_use]
    pub fn fixed(group_id: impl Into<Arc<str>>, partitions: Vec<TopicPartition>) -> Self {
        let topics: BTreeSet<_> = partitions.iter().map(|at| Arc::clone(&at.topic)).collect();
        Self { partitions, ..Self::new(group_id, topics.into_iter().collect()) }
    }
}
