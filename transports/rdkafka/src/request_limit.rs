//! Refuses records that are larger than the largest request of every broker (`socket.request.max.bytes`).
//!
//! A broker closes the connection on which it receives a larger request, and the other requests on that connection are
//! lost (see `replace`). Therefore a record above the limit of every broker is refused before it is sent. One connected
//! broker is asked for its limit first. If that limit is at least the client's `message.max.bytes`, no record is
//! certainly too large, and no other broker is asked. This is the case with the defaults (Kafka: 100 MiB, this client:
//! 1 MB).
//!
//! With compression, the size of a record on the wire is not known in advance. Then no broker is asked.

mod decide;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use kafka_tower_core::{Error, Record};
use rdkafka::ClientConfig;

use self::decide::{Knowledge, LimitAnswer, SETTING, Schedule};
use crate::classify;
use crate::inner::{TransportInner, lock};
use crate::log::Source;

/// Maximum number of brokers that are asked. In a larger cluster no record is refused.
const BROKERS: usize = 64;
/// Maximum number of rounds over all brokers. A round counts only if no connection was opened or lost during it; the
/// first round opens the missing connections.
const ROUNDS: usize = 3;

pub(crate) struct RequestLimit {
    /// Records up to this size are not refused; read for every record. `usize::MAX` while no limit is known.
    least: AtomicUsize,
    /// The client's own limit; `None` if brokers are never asked.
    ours: Option<usize>,
    schedule: Mutex<Schedule>,
    /// Whether the client has connected.
    begun: AtomicBool,
    /// Whether a thread is asking the brokers.
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

    /// Allows requests to the brokers from now on.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    fn found(&self, known: Knowledge) -> Option<usize> {
        let limit = if let Knowledge::Limit(limit, _) = known { Some(limit) } else { None };
        let mut schedule = lock(&self.schedule);
        let before = schedule.known();
        schedule.found(known);
        self.least.store(limit.unwrap_or(usize::MAX), Ordering::Relaxed);
        limit.filter(|limit| !matches!(before, Some(Knowledge::Limit(before, _)) if before == *limit))
    }
}

/// Returns `message.max.bytes`, or `None` if records are compressed.
fn ours(config: &ClientConfig) -> Option<usize> {
    let compresses = |name| config.get(name).is_some_and(|codec| codec != "none");
    if compresses("compression.codec") || compresses("compression.type") {
        return None;
    }
    Some(bytes(config, "message.max.bytes"))
}

/// Returns a size from the configuration. Default: 1,000,000, as in librdkafka.
fn bytes(config: &ClientConfig, name: &str) -> usize {
    config.get(name).and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(1_000_000)
}

impl TransportInner {
    /// Returns the error for a record that no broker takes. The request is larger than the record in it, so the size of
    /// the record is enough to decide.
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

    /// Starts a thread that asks the brokers for their limit, if that is due.
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
        let Some(inner) = self.arc() else { return };
        let asking = Asking(inner);
        let ask = move || {
            let inner = &asking.0;
            let known = inner.ask_request_limit(ours);
            let new = inner.request_limit.found(known);
            tracing::debug!(?known, "asked the brokers for their {SETTING}");
            if let Some(limit) = new {
                inner.warn_of_batches(limit);
            }
        };
        // If no thread could be started, a later call tries again.
        drop(thread::Builder::new().name("kafka-tower-limits".to_owned()).spawn(ask));
    }

    /// Asks the brokers for their limit. Blocks.
    fn ask_request_limit(&self, ours: usize) -> Knowledge {
        // As long as librdkafka itself waits for an answer; then it closes the connection.
        let within = self.request_timeout();
        let ask = |id: &i32| LimitAnswer::of(&self.client.broker_settings(*id, within));
        let Some(mut connections) = self.client.connections() else { return Knowledge::Never };
        let seen = self.client.broker_ids(Instant::now());
        let Some(first) = seen.first() else { return Knowledge::Unclear(connections) };
        match decide::combine(&[ask(first)], true, ours, connections) {
            Knowledge::Limit(..) => {}
            known => return known,
        }
        for _ in 0..ROUNDS {
            let Some(before) = self.client.connections() else { return Knowledge::Never };
            let Ok(brokers) = self.client.brokers(within) else { return Knowledge::Unclear(before) };
            let brokers: BTreeSet<_> = brokers.into_iter().collect();
            if brokers.len() > BROKERS {
                return Knowledge::Never;
            }
            // A broker that is gone may come back with another limit.
            let all = self.client.broker_ids(Instant::now()).iter().all(|id| brokers.contains(id));
            let mut answers = Vec::new();
            for id in &brokers {
                answers.push(ask(id));
                if !matches!(decide::combine(&answers, true, ours, before), Knowledge::Limit(..)) {
                    break;
                }
            }
            let known = decide::combine(&answers, all, ours, before);
            connections = before;
            if !matches!(known, Knowledge::Limit(..)) || self.client.connections() == Some(before) {
                return known;
            }
        }
        Knowledge::Unclear(connections)
    }

    /// Warns if librdkafka may build a batch of small records that is above the limit: such a batch cannot be refused.
    fn warn_of_batches(&self, limit: usize) {
        let batch = bytes(self.config(), "batch.size").min(bytes(self.config(), "message.max.bytes"));
        if batch > limit {
            let text = format!(
                "batches may be larger than what a broker takes in one request, which closes the connection of such: lower \
                 batch.size ({batch}) below the broker's {SETTING} ({limit})"
            );
            self.guarded("a subscriber", || self.log.write(Source::Warning, &text, Instant::now()));
        }
    }
}

/// Marks that a thread is asking, until it is dropped.
struct Asking(Arc<TransportInner>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.request_limit.asks.store(false, Ordering::Release);
    }
}
