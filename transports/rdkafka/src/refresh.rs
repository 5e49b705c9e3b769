//! How many partitions topics have: looked up beside the records, so that asking for the number never waits.
//!
//! A topic is looked up when its number is asked for and not known, each `topic.metadata.refresh.interval.ms`, and when
//! librdkafka refuses a record by what it knows of the topic. The look-up renews what librdkafka knows, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::log::Source;
use crate::shared::{Shared, lock};

/// Before an unanswered question is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// The longest that refused records are held for an answer.
const HELD: Duration = Duration::from_secs(10);
/// The most topics that are kept up to date.
const TOPICS: usize = 1_000;
/// For how long a look-up is believed where records are refused.
const BELIEVED: Duration = Duration::from_millis(100);

/// The known numbers, and which are asked for.
#[derive(Default)]
pub(crate) struct Partitions {
    known: RwLock<BTreeMap<Arc<str>, u32>>,
    /// The numbers of the brokers that lead a topic's partitions, as of the last look-up.
    leaders: RwLock<BTreeMap<Arc<str>, Vec<i32>>>,
    wanted: RwLock<BTreeSet<Arc<str>>>,
    doubted: Mutex<Doubted>,
    /// Something is doubted, or was looked up.
    stirred: AtomicBool,
    /// A thread looks up what is doubted.
    looking: AtomicBool,
    /// A thread looks up what is wanted or old: an answer may take long, and one thread is enough.
    refreshing: AtomicBool,
}

/// Topics of refused records.
#[derive(Default)]
struct Doubted {
    /// Looked up as soon as can be, or at this moment.
    waiting: BTreeSet<Arc<str>>,
    /// When they were looked up last.
    looked: BTreeMap<Arc<str>, Instant>,
    /// Looked up: their records may go on.
    done: Vec<Arc<str>>,
}

impl Partitions {
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

    /// Wants a topic looked up again at once. False if that was done a moment ago.
    pub(crate) fn doubt(&self, topic: &Arc<str>) -> bool {
        let now = Instant::now();
        let mut doubted = lock(&self.doubted);
        doubted.looked.retain(|_, at| now.saturating_duration_since(*at) < BELIEVED);
        if doubted.looked.contains_key(topic) || doubted.waiting.len() >= TOPICS {
            return doubted.waiting.contains(topic);
        }
        doubted.waiting.insert(Arc::clone(topic));
        self.stirred.store(true, Ordering::Release);
        true
    }

    pub(crate) fn look_at(&self, topic: Arc<str>) {
        lock(&self.doubted).waiting.insert(topic);
        self.stirred.store(true, Ordering::Release);
    }

    fn first_doubted(&self) -> Option<Arc<str>> {
        lock(&self.doubted).waiting.first().cloned()
    }

    fn looked_up(&self, topic: &Arc<str>) {
        let mut doubted = lock(&self.doubted);
        doubted.waiting.remove(topic);
        doubted.looked.insert(Arc::clone(topic), Instant::now());
        doubted.done.push(Arc::clone(topic));
        self.stirred.store(true, Ordering::Release);
    }

    fn take_done(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut lock(&self.doubted).done)
    }

    /// The broker that leads a partition, if that is known.
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

/// When the next look-up is due. Owned by the event loop.
pub(crate) struct Refresh {
    every: Option<Duration>,
    due: Option<Instant>,
    again: Instant,
}

impl Refresh {
    /// `every`: how often known topics are looked up again; none for never.
    pub(crate) fn new(every: Option<Duration>, now: Instant) -> Self {
        Self { every, due: every.map(|every| now + every), again: now }
    }

    /// The next look-up that comes by itself.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Starts a look-up if one is due: on a thread that ends with it.
    pub(crate) fn run(&mut self, shared: &Arc<Shared>, now: Instant) {
        if shared.partitions.stirred.swap(false, Ordering::AcqRel) {
            look_at_doubted(shared, now);
            for topic in shared.partitions.take_done() {
                shared.let_go(&topic);
            }
        }
        let missing = shared.partitions.missing() && self.again <= now;
        if !missing && self.due.is_none_or(|due| now < due) {
            return;
        }
        self.due = self.every.map(|every| now + every);
        self.again = now + ASK_AGAIN;
        if shared.partitions.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let refreshing = Refreshing(Arc::clone(shared));
        spawn(shared, now, move || {
            let its = &refreshing.0;
            for topic in its.partitions.topics() {
                if its.gate.is_closed() {
                    return;
                }
                look_up(its, &topic, its.question_time());
            }
            its.partitions_changed();
        });
    }
}

fn look_up(shared: &Shared, topic: &str, within: Duration) {
    match shared.client.metadata(Some(topic), within) {
        Ok(found) if found.code == 0 && found.partitions > 0 => {
            shared.partitions.set(topic, found.partitions);
            shared.partitions.set_leaders(topic, found.leaders);
        }
        // A topic that is not there is asked for again when somebody wants its number again.
        Ok(_) => shared.partitions.forget(topic),
        Err(_) => {}
    }
}

fn look_at_doubted(shared: &Arc<Shared>, now: Instant) {
    let partitions = &shared.partitions;
    if partitions.first_doubted().is_none() || partitions.looking.swap(true, Ordering::AcqRel) {
        return;
    }
    let its = Arc::clone(shared);
    let spawned = spawn(shared, now, move || {
        while let Some(topic) = its.partitions.first_doubted() {
            if !its.gate.is_closed() {
                look_up(&its, &topic, its.question_time().min(HELD));
                its.partitions_changed();
            }
            its.partitions.looked_up(&topic);
            its.client.wake();
        }
        its.partitions.looking.store(false, Ordering::Release);
        // One that was doubted just now found a thread that was at its end.
        its.partitions.stirred.store(true, Ordering::Release);
        its.client.wake();
    });
    if !spawned {
        // The records must not wait for ever.
        while let Some(topic) = partitions.first_doubted() {
            partitions.looked_up(&topic);
        }
        partitions.looking.store(false, Ordering::Release);
    }
}

fn spawn(shared: &Shared, now: Instant, look_up: impl FnOnce() + Send + 'static) -> bool {
    let spawned = thread::Builder::new().name("kafka-tower-topics".to_owned()).spawn(look_up);
    if let Err(error) = &spawned {
        // Once a second while the system is that full.
        shared.log.tell(Source::Warning, &format!("no thread to look up topics: {error}"), now);
    }
    spawned.is_ok()
}

/// A refresh that is on its way, or was not given a thread.
struct Refreshing(Arc<Shared>);

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.partitions.refreshing.store(false, Ordering::Release);
    }
}
