//! Partition counts and leaders of topics, and the topics that are to be looked up (by `partition_refresh`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use kafka_tower_core::sync::{lock, read, write};

/// Maximum number of topics that are kept up to date.
const TOPICS: usize = 1_000;
/// Time after a look-up during which a rejection is not looked up again.
const UP_TO_DATE: Duration = Duration::from_millis(100);

/// The known counts, and the topics asked for.
#[derive(Default)]
pub(crate) struct PartitionCounts {
    known: RwLock<BTreeMap<Arc<str>, u32>>,
    /// Broker ids of the leaders of a topic's partitions, as of the last look-up.
    leaders: RwLock<BTreeMap<Arc<str>, Vec<i32>>>,
    wanted: RwLock<BTreeSet<Arc<str>>>,
    rejected: Mutex<RejectedTopics>,
    /// A topic is doubted, or was looked up.
    pub(crate) rejected_changed: AtomicBool,
    /// A thread is looking up the doubted topics.
    pub(crate) looking: AtomicBool,
    /// A thread is looking up wanted or old topics. One thread is enough, because an answer may take long.
    pub(crate) refreshing: AtomicBool,
}

/// Topics of rejected records.
#[derive(Default)]
struct RejectedTopics {
    /// Waiting for a look-up, or being looked up.
    waiting: BTreeSet<Arc<str>>,
    /// Time of their last look-up.
    looked: BTreeMap<Arc<str>, Instant>,
    /// Looked up: their records may be handed over.
    done: Vec<Arc<str>>,
}

impl PartitionCounts {
    pub(crate) fn get(&self, topic: &str) -> Option<u32> {
        let known = read(&self.known).get(topic).copied();
        if known.is_none() {
            let mut wanted = write(&self.wanted);
            if wanted.len() < TOPICS && !wanted.contains(topic) {
                wanted.insert(topic.into());
            }
        }
        known
    }

    pub(crate) fn set(&self, topic: &str, count: u32) {
        write(&self.known).insert(topic.into(), count);
        write(&self.wanted).remove(topic);
    }

    /// Requests a new look-up of a topic. False if it was looked up a moment ago.
    pub(crate) fn request_look_up(&self, topic: &Arc<str>) -> bool {
        let now = Instant::now();
        let mut rejected = lock(&self.rejected);
        rejected.looked.retain(|_, at| now.saturating_duration_since(*at) < UP_TO_DATE);
        if rejected.looked.contains_key(topic) || rejected.waiting.len() >= TOPICS {
            return rejected.waiting.contains(topic);
        }
        rejected.waiting.insert(Arc::clone(topic));
        self.rejected_changed.store(true, Ordering::Release);
        true
    }

    pub(crate) fn force_look_up(&self, topic: Arc<str>) {
        lock(&self.rejected).waiting.insert(topic);
        self.rejected_changed.store(true, Ordering::Release);
    }

    pub(crate) fn first_rejected(&self) -> Option<Arc<str>> {
        lock(&self.rejected).waiting.first().cloned()
    }

    pub(crate) fn looked_up(&self, topic: &Arc<str>) {
        let mut rejected = lock(&self.rejected);
        rejected.waiting.remove(topic);
        rejected.looked.insert(Arc::clone(topic), Instant::now());
        rejected.done.push(Arc::clone(topic));
        self.rejected_changed.store(true, Ordering::Release);
    }

    pub(crate) fn take_done(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut lock(&self.rejected).done)
    }

    /// Returns the broker that leads a partition, if known.
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let leaders = read(&self.leaders);
        leaders.get(topic)?.get(usize::try_from(partition).ok()?).copied().filter(|id| *id >= 0)
    }

    pub(crate) fn set_leaders(&self, topic: &str, leaders: Vec<i32>) {
        write(&self.leaders).insert(topic.into(), leaders);
    }

    pub(crate) fn forget(&self, topic: &str) {
        write(&self.wanted).remove(topic);
    }

    pub(crate) fn missing(&self) -> bool {
        !read(&self.wanted).is_empty()
    }

    pub(crate) fn topics(&self) -> Vec<Arc<str>> {
        let known = read(&self.known);
        let wanted = read(&self.wanted);
        wanted.iter().chain(known.keys()).take(TOPICS).cloned().collect()
    }
}

/// A topic whose partitions determine how many records are admitted.
pub(crate) struct CountedTopic {
    topic: Arc<str>,
    /// Per partition.
    records: usize,
    /// The last known number. An unknown one counts as 1.
    partitions: usize,
}

impl CountedTopic {
    pub(crate) fn new(topic: Arc<str>, records: usize) -> Self {
        Self { topic, records, partitions: 1 }
    }

    pub(crate) fn is(&self, topic: &str) -> bool {
        *self.topic == *topic
    }

    pub(crate) fn update(&mut self, counts: &PartitionCounts) {
        if let Some(partitions) = counts.get(&self.topic) {
            self.partitions = partitions as usize;
        }
    }

    /// How many records are admitted for all topics.
    pub(crate) fn records(topics: &[Self]) -> usize {
        topics.iter().fold(0, |sum: usize, topic| sum.saturating_add(topic.records.saturating_mul(topic.partitions)))
    }
}
