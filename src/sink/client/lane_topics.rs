//! The topics of a client's sinks, for the producers of its lanes: a sink may be made after them, and a producer that
//! replaces another has to know the topics of all sinks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use kafka_tower_core::sync::lock;
use kafka_tower_core::{ErrorKind, Result};
use kafka_tower_rdkafka::RdkafkaTransport;

#[derive(Default)]
pub(super) struct LaneTopics {
    known: Known,
    /// The present transport of each lane, by its transactional id.
    live: Arc<Live>,
}

/// The topics, and how many records are admitted for each of their partitions.
type Known = Arc<Mutex<BTreeMap<Arc<str>, usize>>>;
type Live = Mutex<Present>;

#[derive(Default)]
struct Present {
    transports: BTreeMap<String, RdkafkaTransport>,
    /// The client was closed: a lane that was being replaced meanwhile is not kept.
    closed: bool,
}

/// Tells the topics to a transport that was connected. It keeps no transport alive.
pub(super) struct Newcomers {
    known: Known,
    live: Weak<Live>,
}

impl LaneTopics {
    pub(super) fn newcomers(&self) -> Newcomers {
        Newcomers { known: Arc::clone(&self.known), live: Arc::downgrade(&self.live) }
    }

    /// Forgets the transports of other ids: those of lanes that are no longer used.
    pub(super) fn keep_only(&self, ids: &[String]) {
        let mut live = lock(&self.live);
        let all = std::mem::take(&mut live.transports);
        let (kept, others): (BTreeMap<_, _>, BTreeMap<_, _>) = all.into_iter().partition(|(id, _)| ids.contains(id));
        live.transports = kept;
        drop(live);
        drop(others); // not under the lock: the last handle of a transport ends it
    }

    /// Keeps no transport any more.
    pub(super) fn close(&self) {
        let mut live = lock(&self.live);
        live.closed = true;
        let all = std::mem::take(&mut live.transports);
        drop(live);
        drop(all);
    }

    /// Looks a topic up within the time, with the first lane that has an answer, and tells it to all.
    ///
    /// # Errors
    ///
    /// As [`RdkafkaTransport::add_topic`].
    pub(super) async fn add(&self, topic: &str, records: usize, within: Option<Duration>) -> Result<()> {
        let all: Vec<_> = lock(&self.live).transports.values().cloned().collect();
        // A lane whose producer has ended has no answer.
        let share = within.map(|within| within / u32::try_from(all.len()).unwrap_or(u32::MAX).max(1));
        let mut found = Ok(());
        for transport in all {
            found = transport.add_topic(topic, records, share).await;
            let refused = [ErrorKind::UnknownTopicOrPartition, ErrorKind::Authorization];
            if found.as_ref().map_or_else(|error| refused.contains(&error.kind()), |()| true) {
                break;
            }
        }
        found?;
        lock(&self.known).insert(topic.into(), records);
        // After the topic is known: a lane that is connected meanwhile finds it there, or is in this list.
        let all: Vec<_> = lock(&self.live).transports.values().cloned().collect();
        for transport in all {
            transport.add_topic(topic, records, None).await?;
        }
        Ok(())
    }
}

impl Newcomers {
    /// A transport with this id was connected: tells it the topics, which it looks up in the background.
    ///
    /// # Errors
    ///
    /// As [`RdkafkaTransport::add_topic`].
    pub(super) async fn connected(&self, id: String, transport: &RdkafkaTransport) -> Result<()> {
        if let Some(live) = self.live.upgrade() {
            let mut live = lock(&live);
            let replaced = if live.closed { None } else { live.transports.insert(id, transport.clone()) };
            drop(live);
            drop(replaced);
        }
        let known: Vec<_> = lock(&self.known).iter().map(|(topic, records)| (Arc::clone(topic), *records)).collect();
        for (topic, records) in known {
            transport.add_topic(topic, records, None).await?;
        }
        Ok(())
    }
}
