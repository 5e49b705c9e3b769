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
mod learn;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kafka_tower_core::sync::lock;
use kafka_tower_core::{Error, Record};
use rdkafka::ClientConfig;

use self::decide::{Knowledge, Schedule};
use crate::classify;
use crate::ffi::Client;

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

    /// Returns the error for a record that no broker takes. The request is larger than the record in it, so the size of
    /// the record is enough to decide.
    #[inline]
    pub(crate) fn refusal(&self, client: &Client, record: &Record, size: usize) -> Option<Error> {
        if size <= self.least.load(Ordering::Relaxed) { None } else { self.refusal_above_least(client, record, size) }
    }

    #[cold]
    fn refusal_above_least(&self, client: &Client, record: &Record, size: usize) -> Option<Error> {
        let connections = client.connections()?;
        let limit = lock(&self.schedule).limit(connections)?;
        (size > limit).then(|| classify::larger_than_request(&record.topic, size, limit))
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
