//! The largest request that the brokers take, where they tell it: their `socket.request.max.bytes`.
//!
//! A broker closes the connection of a larger request, and all that is on it is lost with it (see `replace`). A record above the
//! limit of each broker is refused instead, before it is sent. The question goes to one broker first, which is connected
//! already: if it takes all that the client's `message.max.bytes` lets through, no record is certainly too large, and nobody
//! else is asked. So it is with Kafka's defaults (100 MiB, and 1 MB here).
//!
//! With compression a record's size on the wire is not known before it is sent: then nothing is asked.

mod decide;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use kafka_tower_core::{Error, Record};
use rdkafka::ClientConfig;

use self::decide::{Answer, Known, SETTING, Schedule};
use crate::classify;
use crate::log::Source;
use crate::shared::{Shared, lock};

/// The most brokers that are asked. In a larger cluster nothing is certain.
const BROKERS: usize = 64;
/// How often all brokers are asked until no connection was made or lost meanwhile. The first round makes those that are missing.
const ROUNDS: usize = 3;

pub(crate) struct RequestLimit {
    /// A record that is not larger is not refused: read for each. The largest number while no limit is known.
    least: AtomicUsize,
    /// The client's own limit; none if no limit of the brokers would be certain to matter.
    ours: Option<usize>,
    schedule: Mutex<Schedule>,
    /// The client has connected.
    begun: AtomicBool,
    /// A thread asks.
    asks: AtomicBool,
}

impl RequestLimit {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        Self {
            least: AtomicUsize::new(usize::MAX),
            ours: ours(config),
            schedule: Mutex::default(),
            begun: AtomicBool::new(false),
            asks: AtomicBool::new(false),
        }
    }

    /// From now on the brokers may be asked.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    fn found(&self, known: Known) -> Option<usize> {
        let limit = if let Known::Limit(limit, _) = known { Some(limit) } else { None };
        let mut schedule = lock(&self.schedule);
        let before = schedule.known();
        schedule.found(known);
        self.least.store(limit.unwrap_or(usize::MAX), Ordering::Relaxed);
        limit.filter(|limit| !matches!(before, Some(Known::Limit(before, _)) if before == *limit))
    }
}

/// `message.max.bytes`, unless records are compressed.
fn ours(config: &ClientConfig) -> Option<usize> {
    let compresses = |name| config.get(name).is_some_and(|codec| codec != "none");
    if compresses("compression.codec") || compresses("compression.type") {
        return None;
    }
    Some(bytes(config, "message.max.bytes"))
}

/// A size that librdkafka has 1,000,000 for if it is not set.
fn bytes(config: &ClientConfig, name: &str) -> usize {
    config.get(name).and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(1_000_000)
}

impl Shared {
    /// Error of a record that no broker takes: a request is larger than what is in it.
    #[inline]
    pub(crate) fn above_request_limit(&self, record: &Record, size: usize) -> Option<Error> {
        if size <= self.request_limit.least.load(Ordering::Relaxed) {
            return None;
        }
        self.refusal(&record.topic, size)
    }

    #[cold]
    fn refusal(&self, topic: &str, size: usize) -> Option<Error> {
        let connections = self.client.connections()?;
        let limit = lock(&self.request_limit.schedule).limit(connections)?;
        (size > limit).then(|| classify::larger_than_a_request(topic, size, limit))
    }

    /// Asks the brokers for their limit if that is due, on a thread of its own.
    pub(crate) fn learn_request_limit(&self, now: Instant) {
        let its = &self.request_limit;
        let (Some(ours), true) = (its.ours, its.begun.load(Ordering::Acquire)) else { return };
        let Some(connections) = self.client.connections() else { return };
        let mut schedule = lock(&its.schedule);
        if !schedule.is_due(connections, self.refresh_interval(), now) || its.asks.swap(true, Ordering::AcqRel) {
            return;
        }
        schedule.asking(now);
        drop(schedule);
        let Some(shared) = self.arc() else { return };
        let asking = Asking(shared);
        let ask = move || {
            let shared = &asking.0;
            let known = shared.ask_request_limit(ours);
            let new = shared.request_limit.found(known);
            tracing::debug!(?known, "asked the brokers for their {SETTING}");
            if let Some(limit) = new {
                shared.warn_of_batches(limit);
            }
        };
        // Without a thread it is asked again in a moment.
        drop(thread::Builder::new().name("kafka-tower-limits".to_owned()).spawn(ask));
    }

    /// Blocks.
    fn ask_request_limit(&self, ours: usize) -> Known {
        // As long as librdkafka itself waits for an answer: it ends the connection of a request that has none in its time.
        let within = self.question_time();
        let ask = |id: &i32| Answer::of(&self.client.broker_settings(*id, within));
        let Some(mut connections) = self.client.connections() else { return Known::Never };
        let seen = self.client.broker_ids(Instant::now());
        let Some(first) = seen.first() else { return Known::Unclear(connections) };
        match decide::together(&[ask(first)], true, ours, connections) {
            Known::Limit(..) => {}
            known => return known,
        }
        for _ in 0..ROUNDS {
            let Some(before) = self.client.connections() else { return Known::Never };
            let Ok(brokers) = self.client.brokers(within) else { return Known::Unclear(before) };
            let brokers: BTreeSet<_> = brokers.into_iter().collect();
            if brokers.len() > BROKERS {
                return Known::Never;
            }
            // One that is gone may come back with another limit.
            let all = self.client.broker_ids(Instant::now()).iter().all(|id| brokers.contains(id));
            let mut answers = Vec::new();
            for id in &brokers {
                answers.push(ask(id));
                if !matches!(decide::together(&answers, true, ours, before), Known::Limit(..)) {
                    break;
                }
            }
            let known = decide::together(&answers, all, ours, before);
            connections = before;
            if !matches!(known, Known::Limit(..)) || self.client.connections() == Some(before) {
                return known;
            }
        }
        Known::Unclear(connections)
    }

    /// One batch of small records may be too large, too, and nobody can refuse that.
    fn warn_of_batches(&self, limit: usize) {
        let batch = bytes(self.config(), "batch.size").min(bytes(self.config(), "message.max.bytes"));
        if batch > limit {
            let text = format!(
                "batches may be larger than what a broker takes in one request, which closes the connection of such: lower \
                 batch.size ({batch}) below the broker's {SETTING} ({limit})"
            );
            self.guarded("a subscriber", || self.log.tell(Source::Warning, &text, Instant::now()));
        }
    }
}

/// A question on its way.
struct Asking(Arc<Shared>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.request_limit.asks.store(false, Ordering::Release);
    }
}
