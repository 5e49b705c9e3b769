//! How many partitions topics have: looked up beside the records, so that asking for the number never waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::log::Source;
use crate::shared::Shared;

/// As librdkafka's own `topic.metadata.refresh.interval.ms`.
const EVERY: Duration = Duration::from_secs(300);
/// Before an unanswered question is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long a question may take at a time: a close waits for it.
const SLICE: Duration = Duration::from_millis(250);
/// The most topics that are kept up to date.
const TOPICS: usize = 1_000;

/// The known numbers, and which are asked for.
#[derive(Default)]
pub(crate) struct Partitions {
    known: RwLock<BTreeMap<Arc<str>, u32>>,
    wanted: RwLock<BTreeSet<Arc<str>>>,
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
    due: Instant,
    again: Instant,
}

impl Refresh {
    pub(crate) fn new(now: Instant) -> Self {
        Self { due: now + EVERY, again: now }
    }

    /// Starts a look-up if one is due: on a thread that ends with it.
    pub(crate) fn run(&mut self, shared: &Arc<Shared>, now: Instant) {
        let missing = shared.partitions.missing() && self.again <= now;
        if !missing && now < self.due {
            return;
        }
        self.due = now + EVERY;
        self.again = now + ASK_AGAIN;
        let its = Arc::clone(shared);
        let look_up = move || {
            let shared = its;
            for topic in shared.partitions.topics() {
                if shared.gate.is_closed() {
                    return;
                }
                match shared.client.metadata(Some(&topic), SLICE) {
                    Ok(found) if found.code == 0 && found.partitions > 0 => {
                        shared.partitions.set(&topic, found.partitions);
                    }
                    // A topic that is not there is asked for again when somebody wants its number again.
                    Ok(_) => shared.partitions.forget(&topic),
                    Err(_) => {}
                }
            }
            shared.partitions_changed();
        };
        if let Err(error) = thread::Builder::new().name("kafka-tower-topics".to_owned()).spawn(look_up) {
            // Once a second while the system is that full.
            shared.log.tell(Source::Warning, &format!("no thread to look up topics: {error}"), now);
        }
    }
}
