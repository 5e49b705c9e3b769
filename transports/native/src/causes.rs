//! Why records have no answer: what brokers and connections said last.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use kafka_tower_core::Record;
use kafka_tower_core::recent_errors::{ErrorPlace, RecentError, RecentErrors};
use kafka_tower_core::sync::lock;
use kafka_tower_core::text::seconds;

/// The last errors, until they end.
#[derive(Debug, Default)]
pub(crate) struct Causes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    errors: RecentErrors,
    /// Brokers that have a connection.
    connected: usize,
    throttled_until: Option<Instant>,
}

impl Causes {
    /// Notes an error of a partition.
    pub(crate) fn partition(&self, topic: &str, partition: i32, code: i16, text: String, now: Instant) {
        let place = ErrorPlace::Partition { topic: topic.to_owned(), partition };
        lock(&self.0).errors.push(RecentError::new(place, code.into(), text, now));
    }

    /// Notes that a broker could not be reached, or a connection ended.
    pub(crate) fn broker(&self, peer: &str, text: String, now: Instant) {
        let place = ErrorPlace::Broker(peer.to_owned());
        lock(&self.0).errors.push(RecentError::new(place, 0, text, now));
    }

    /// Notes that a partition took records.
    pub(crate) fn delivered(&self, topic: &str, partition: i32) {
        lock(&self.0).errors.delivered(topic, partition);
    }

    /// Whether a delivery could end an error.
    pub(crate) fn has_partition_errors(&self) -> bool {
        lock(&self.0).errors.has_partition_errors()
    }

    /// Notes how many brokers have a connection.
    pub(crate) fn connected(&self, brokers: usize) {
        lock(&self.0).connected = brokers;
    }

    /// Notes that a broker asked the client to send nothing until then.
    pub(crate) fn throttled(&self, until: Instant) {
        let mut state = lock(&self.0);
        state.throttled_until = state.throttled_until.max(Some(until));
    }

    /// Whether a broker throttles the client.
    pub(crate) fn is_throttled(&self, now: Instant) -> bool {
        lock(&self.0).throttled_until.is_some_and(|until| until > now)
    }

    /// Why a record has no answer, if it is known: an error of its partition, else throttling, else the last error of a broker
    /// while none has a connection.
    pub(crate) fn why(&self, record: &Record, now: Instant) -> Option<String> {
        let state = lock(&self.0);
        let its = |error: &&RecentError| match &error.place {
            ErrorPlace::Partition { topic, partition } => {
                **topic == *record.topic && record.partition.is_none_or(|chosen| chosen == *partition)
            }
            _ => false,
        };
        if let Some(error) = state.errors.iter().find(its) {
            return Some(told("last error of the partition", error, now));
        }
        if let Some(left) = state.throttled_until.filter(|until| *until > now) {
            return Some(format!("a broker throttles the client for {} more", seconds(left - now)));
        }
        let of_broker = |error: &&RecentError| matches!(error.place, ErrorPlace::Broker(_));
        let error = state.errors.iter().filter(|_| state.connected == 0).find(of_broker)?;
        Some(told("last broker error", error, now))
    }

    /// The last error that has not ended.
    pub(crate) fn last(&self, now: Instant) -> Option<String> {
        let state = lock(&self.0);
        let current = |error: &&RecentError| match error.place {
            ErrorPlace::Partition { .. } => true,
            _ => state.connected == 0,
        };
        state.errors.iter().find(current).map(|error| told("last error", error, now))
    }
}

fn told(what: &str, error: &RecentError, now: Instant) -> String {
    let age = now.saturating_duration_since(error.last);
    let age = Duration::from_millis(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    format!("{what} {} ago: {}", seconds(age), error.text)
}
