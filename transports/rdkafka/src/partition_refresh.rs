//! Partition counts of topics, looked up in the background so that asking for a count never waits.
//!
//! A topic is looked up when its count is asked for and unknown, every `topic.metadata.refresh.interval.ms`, and when
//! librdkafka rejects a record by its cached metadata. The look-up renews librdkafka's metadata too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::inner::{TransportInner, lock};
use crate::log::Source;

/// Interval before an unanswered request is repeated.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Maximum time that rejected records are held for an answer.
const HELD: Duration = Duration::from_secs(10);
/// Maximum number of topics that are kept up to date.
const TOPICS: usize = 1_000;
/// Time after a look-up during which a rejection is not looked up again.
const BELIEVED: Duration = Duration::from_millis(100);

/// The known counts, and the topics asked for.
#[derive(Default)]
pub(crate) struct PartitionCounts {
    known: RwLock<BTreeMap<Arc<str>, u32>>,
    /// Broker ids of the leaders of a topic's partitions, as of the last look-up.
    leaders: RwLock<BTreeMap<Arc<str>, Vec<i32>>>,
    wanted: RwLock<BTreeSet<Arc<str>>>,
    rejected: Mutex<RejectedTopics>,
    /// A topic is doubted, or was looked up.
    rejected_changed: AtomicBool,
    /// A thread is looking up the doubted topics.
    looking: AtomicBool,
    /// A thread is looking up wanted or old topics. One thread is enough, because an answer may take long.
    refreshing: AtomicBool,
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
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(topic).copied();
        if known.is_none() {
            let mut wanted = self.wanted.write().unwrap_or_else(PoisonError::into_inner);
            if wanted.len() < TOPICS && !wanted.contains(topic) {
                wanted.insert(topic.into());
            }
        }
        known
    }

    pub(crate) fn set(&self, topic: &str, count: u32) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(topic.into(), count);
        self.wanted.write().unwrap_or_else(PoisonError::into_inner).remove(topic);
    }

    /// Requests a new look-up of a topic. False if it was looked up a moment ago.
    pub(crate) fn request_look_up(&self, topic: &Arc<str>) -> bool {
        let now = Instant::now();
        let mut rejected = lock(&self.rejected);
        rejected.looked.retain(|_, at| now.saturating_duration_since(*at) < BELIEVED);
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

    fn first_rejected(&self) -> Option<Arc<str>> {
        lock(&self.rejected).waiting.first().cloned()
    }

    fn looked_up(&self, topic: &Arc<str>) {
        let mut rejected = lock(&self.rejected);
        rejected.waiting.remove(topic);
        rejected.looked.insert(Arc::clone(topic), Instant::now());
        rejected.done.push(Arc::clone(topic));
        self.rejected_changed.store(true, Ordering::Release);
    }

    fn take_done(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut lock(&self.rejected).done)
    }

    /// Returns the broker that leads a partition, if known.
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let leaders = self.leaders.read().unwrap_or_else(PoisonError::into_inner);
        leaders.get(topic)?.get(usize::try_from(partition).ok()?).copied().filter(|id| *id >= 0)
    }

    pub(crate) fn set_leaders(&self, topic: &str, leaders: Vec<i32>) {
        self.leaders.write().unwrap_or_else(PoisonError::into_inner).insert(topic.into(), leaders);
    }

    fn forget(&self, topic: &str) {
        self.wanted.write().unwrap_or_else(PoisonError::into_inner).remove(topic);
    }

    fn missing(&self) -> bool {
        !self.wanted.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn topics(&self) -> Vec<Arc<str>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = self.wanted.read().unwrap_or_else(PoisonError::into_inner);
        wanted.iter().chain(known.keys()).take(TOPICS).cloned().collect()
    }
}

/// Schedule of the look-ups. Owned by the event loop.
pub(crate) struct PartitionRefresh {
    every: Option<Duration>,
    due: Option<Instant>,
    again: Instant,
}

impl PartitionRefresh {
    /// `every`: the interval at which known topics are looked up again. None: never.
    pub(crate) fn new(every: Option<Duration>, now: Instant) -> Self {
        Self { every, due: every.map(|every| now + every), again: now }
    }

    /// Returns when the next periodic look-up is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Starts a look-up if one is due, on a thread that ends with it.
    pub(crate) fn run(&mut self, inner: &Arc<TransportInner>, now: Instant) {
        if inner.partitions.rejected_changed.swap(false, Ordering::AcqRel) {
            look_up_rejected(inner, now);
            for topic in inner.partitions.take_done() {
                inner.hand_over_held_of(&topic);
            }
        }
        let missing = inner.partitions.missing() && self.again <= now;
        if !missing && self.due.is_none_or(|due| now < due) {
            return;
        }
        self.due = self.every.map(|every| now + every);
        self.again = now + ASK_AGAIN;
        if inner.partitions.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let refreshing = Refreshing(Arc::clone(inner));
        spawn(inner, now, move || {
            let its = &refreshing.0;
            for topic in its.partitions.topics() {
                if its.gate.is_closed() {
                    return;
                }
                look_up(its, &topic, its.request_timeout());
            }
            its.partitions_changed();
        });
    }
}

fn look_up(inner: &TransportInner, topic: &str, within: Duration) {
    match inner.client.metadata(Some(topic), within) {
        Ok(found) if found.code == 0 && found.partitions > 0 => {
            inner.partitions.set(topic, found.partitions);
            inner.partitions.set_leaders(topic, found.leaders);
        }
        // A missing topic is looked up again when its count is asked for again.
        Ok(_) => inner.partitions.forget(topic),
        Err(_) => {}
    }
}

fn look_up_rejected(inner: &Arc<TransportInner>, now: Instant) {
    let partitions = &inner.partitions;
    if partitions.first_rejected().is_none() || partitions.looking.swap(true, Ordering::AcqRel) {
        return;
    }
    let its = Arc::clone(inner);
    let spawned = spawn(inner, now, move || {
        while let Some(topic) = its.partitions.first_rejected() {
            if !its.gate.is_closed() {
                look_up(&its, &topic, its.request_timeout().min(HELD));
                its.partitions_changed();
            }
            its.partitions.looked_up(&topic);
            its.client.wake();
        }
        its.partitions.looking.store(false, Ordering::Release);
        // A topic doubted just now may have seen this thread as still looking.
        its.partitions.rejected_changed.store(true, Ordering::Release);
        its.client.wake();
    });
    if !spawned {
        // The records must not wait for ever.
        while let Some(topic) = partitions.first_rejected() {
            partitions.looked_up(&topic);
        }
        partitions.looking.store(false, Ordering::Release);
    }
}

fn spawn(inner: &TransportInner, now: Instant, look_up: impl FnOnce() + Send + 'static) -> bool {
    let spawned = thread::Builder::new().name("kafka-tower-topics".to_owned()).spawn(look_up);
    if let Err(error) = &spawned {
        // Logged once a second while the system has no threads.
        inner.log.write(Source::Warning, &format!("no thread to look up topics: {error}"), now);
    }
    spawned.is_ok()
}

/// A refresh in progress, or one that got no thread.
struct Refreshing(Arc<TransportInner>);

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.partitions.refreshing.store(false, Ordering::Release);
    }
}
