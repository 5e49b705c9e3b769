//! Telemetry of a source: what it reads, how the application handles it, and where its group stands.
//!
//! | span | kind | covers |
//! |---|---|---|
//! | `poll {topic}` | CLIENT | a batch of records of one partition, while it is read and decoded; links to their senders. None for an empty batch |
//! | `process {topic}` | CONSUMER | one message, while it is handled; links to its sender |
//! | `commit {topic}` | CLIENT | the commit of a partition's offset, from the request to its answer |
//!
//! The context of the sender is a link and not the parent, as the conventions recommend for messages that are read in batches.
//! [`TelemetryBuilder::parent_from_message`](super::TelemetryBuilder::parent_from_message) makes it the parent.
//!
//! Keys, values and headers are in no span and no metric, unless
//! [`message_key`](super::TelemetryBuilder::message_key) adds the key to spans.

mod commits;
mod gauges;
mod instruments;
mod poll;
mod process;
mod topic;
mod transactions;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use kafka_tower_core::{Headers, TopicPartition};
use opentelemetry::KeyValue;

use self::commits::Commits;
pub(super) use self::gauges::WatchedSources;
pub use self::gauges::{PartitionState, SourceState};
pub(super) use self::instruments::SourceInstruments;
pub use self::poll::PollSpan;
pub use self::process::ProcessSpan;
use self::topic::SourceTopic;
pub use self::transactions::SourceTransaction;
use super::{Telemetry, attributes, semconv};
use crate::topics::SharedTopics;

/// Telemetry of one source. Created by [`Telemetry::source`]. Clones share it.
#[derive(Clone)]
pub struct SourceTelemetry(Arc<Source>);

struct Source {
    telemetry: Telemetry,
    group: Arc<str>,
    /// Attributes of metrics without a topic.
    of_group: Box<[KeyValue]>,
    topics: SharedTopics<Arc<SourceTopic>>,
    /// Of all topics beyond the limit.
    other: Arc<SourceTopic>,
    commits: Commits,
    /// Number of messages until global providers are looked up again.
    until_look: AtomicU32,
}

/// What a span says of a message.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedHead<'a> {
    /// The partition.
    pub at: &'a TopicPartition,
    /// The offset.
    pub offset: i64,
    /// How often the message was delivered, from 1 on.
    pub attempt: u32,
    /// The key.
    pub key: Option<&'a Bytes>,
    /// Whether there is no value.
    pub is_tombstone: bool,
    /// The headers, with the context of the sender.
    pub headers: &'a Headers,
}

/// What a rebalance did with partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebalanceKind {
    /// The source got them.
    Assigned,
    /// The group takes them back.
    Revoked,
    /// They may already belong to others.
    Lost,
}

/// What happened to a message, apart from being handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceCount {
    /// It could not be decoded.
    DecodeError,
    /// It was skipped.
    Skipped,
    /// It was given back, and is delivered again.
    GivenBack,
    /// Its dead letter was delivered.
    DeadLettered,
    /// It was acknowledged too late.
    Stale,
}

impl Telemetry {
    /// Creates the telemetry of a source of this group.
    #[must_use]
    pub fn source(&self, group_id: impl Into<Arc<str>>) -> SourceTelemetry {
        let (inner, group) = (&self.0, group_id.into());
        inner.instruments.look();
        inner.instruments.warn();
        let other = Arc::new(SourceTopic::new(&inner.client, &semconv::OTHER_TOPIC.into(), &group));
        let of_group = inner.client.system().into_iter().chain([attributes::group(&group)]).collect();
        SourceTelemetry(Arc::new(Source {
            of_group,
            telemetry: self.clone(),
            topics: SharedTopics::new(inner.max_topics),
            group,
            other,
            commits: Commits::default(),
            until_look: AtomicU32::new(0),
        }))
    }
}

impl SourceTelemetry {
    /// The telemetry that it reports to.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.0.telemetry
    }

    /// Counts a message that is handed to the application.
    pub fn consumed(&self, topic: &Arc<str>) {
        if let Some(instruments) = self.live() {
            instruments.consumed.add(1, &self.topic(topic).consumed);
        }
    }

    /// Counts what happened to a message.
    pub fn count(&self, what: SourceCount, topic: &Arc<str>) {
        let Some(instruments) = self.live() else { return };
        let counter = match what {
            SourceCount::DecodeError => &instruments.decode_errors,
            SourceCount::Skipped => &instruments.skipped,
            SourceCount::GivenBack => &instruments.given_back,
            SourceCount::DeadLettered => &instruments.dead_lettered,
            SourceCount::Stale => &instruments.stale,
        };
        counter.add(1, &self.topic(topic).own);
    }

    /// Counts the partitions of a rebalance.
    pub fn rebalanced(&self, kind: RebalanceKind, partitions: &[TopicPartition]) {
        let Some(instruments) = self.live() else { return };
        let kind = match kind {
            RebalanceKind::Assigned => "assigned",
            RebalanceKind::Revoked => "revoked",
            RebalanceKind::Lost => "lost",
        };
        for at in partitions {
            let kind = KeyValue::new(semconv::REBALANCE_KIND, kind);
            instruments.rebalances.add(1, &attributes::with(&self.topic(&at.topic).own, [Some(kind)]));
        }
    }

    fn live(&self) -> Option<&SourceInstruments> {
        self.0.telemetry.0.instruments.live().map(|set| &set.source)
    }

    fn topic(&self, topic: &Arc<str>) -> Arc<SourceTopic> {
        let Source { telemetry, topics, group, other, .. } = &*self.0;
        let make = || Arc::new(SourceTopic::new(&telemetry.0.client, topic, group));
        topics.get_or_insert(topic, make).unwrap_or_else(|| Arc::clone(other))
    }

    /// Looks up missing global providers every now and then.
    fn look(&self) {
        let until = &self.0.until_look;
        if until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
            until.store(self.0.telemetry.0.look(), Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for SourceTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceTelemetry").field("group", &self.0.group).finish_non_exhaustive()
    }
}
