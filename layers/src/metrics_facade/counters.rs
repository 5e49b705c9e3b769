//! Counters per topic.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use facade::{Counter, Histogram, SharedString};
use kafka_tower_core::{Delivery, Error, Result};

use crate::topics::SharedTopics;

/// Maximum number of topics with a label of their own.
const MAX_TOPICS: usize = 100;
const OTHER: &str = "_other";
const MESSAGES: &str = "kafka_tower_messages_total";
const DURATION: &str = "kafka_tower_send_duration_seconds";

pub(super) struct Counters {
    topics: SharedTopics<Arc<Topic>>,
    other: Arc<Topic>,
}

/// Counters of the services of a layer, whose messages go to `topic` unless they name their own.
#[derive(Clone)]
pub(super) struct SinkCounters {
    pub(super) counters: Arc<Counters>,
    pub(super) topic: Arc<Topic>,
}

/// Counters of a topic. Those of a delivery are fetched once, as soon as a recorder is installed; the others are
/// rare.
pub(super) struct Topic {
    pub(super) name: SharedString,
    delivered: OnceLock<(Counter, Histogram)>,
}

impl Counters {
    fn new() -> Self {
        describe();
        Self { topics: SharedTopics::new(MAX_TOPICS), other: Arc::new(Topic::new(OTHER.into())) }
    }

    pub(super) fn topic(&self, topic: &Arc<str>) -> Arc<Topic> {
        let new = || Arc::new(Topic::new(SharedString::from_shared(Arc::clone(topic))));
        self.topics.get_or_insert(topic, new).unwrap_or_else(|| Arc::clone(&self.other))
    }
}

impl SinkCounters {
    pub(super) fn new(topic: &Arc<str>) -> Self {
        let counters = Arc::new(Counters::new());
        let topic = counters.topic(topic);
        Self { counters, topic }
    }

    pub(super) fn topic_of(&self, topic: Option<&Arc<str>>) -> Arc<Topic> {
        match topic {
            Some(topic) if **topic != *self.topic.name => self.counters.topic(topic),
            _ => Arc::clone(&self.topic),
        }
    }
}

impl fmt::Debug for SinkCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkCounters").field("topic", &self.topic.name).finish_non_exhaustive()
    }
}

fn describe() {
    facade::describe_counter!(MESSAGES, "Messages by outcome.");
    facade::describe_histogram!(DURATION, facade::Unit::Seconds, "Time from the call of a send to its answer.");
}

impl Topic {
    fn new(name: SharedString) -> Self {
        let this = Self { name, delivered: OnceLock::new() };
        drop(this.find());
        this
    }

    /// Fetches the counters of a delivery, and keeps them if a recorder is installed. Without one, the `metrics`
    /// crate returns a no-op recorder of size 0.
    #[cold]
    fn find(&self) -> (Counter, Histogram) {
        let take = || {
            let delivered = facade::counter!(MESSAGES, "topic" => self.name.clone(), "outcome" => "delivered");
            let duration = facade::histogram!(DURATION, "topic" => self.name.clone(), "outcome" => "delivered");
            (delivered, duration)
        };
        if facade::with_recorder(|recorder| std::mem::size_of_val(recorder) == 0) {
            return take();
        }
        let kept = self.delivered.get_or_init(|| {
            describe();
            take()
        });
        kept.clone()
    }

    pub(super) fn answered(&self, answer: &Result<Delivery>, took: Duration) {
        match answer {
            Ok(_) => {
                let count = |(delivered, duration): &(Counter, Histogram)| {
                    delivered.increment(1);
                    duration.record(took);
                };
                match self.delivered.get() {
                    Some(kept) => count(kept),
                    None => count(&self.find()),
                }
            }
            Err(error) => self.failed(error, took),
        }
    }

    fn failed(&self, error: &Error, took: Duration) {
        let (topic, kind) = (&self.name, error.error_type());
        facade::counter!(MESSAGES, "topic" => topic.clone(), "outcome" => "failed", "error_type" => kind).increment(1);
        facade::histogram!(DURATION, "topic" => topic.clone(), "outcome" => "failed", "error_type" => kind)
            .record(took);
    }

    pub(super) fn abandoned(&self, took: Duration) {
        facade::counter!(MESSAGES, "topic" => self.name.clone(), "outcome" => "abandoned").increment(1);
        facade::histogram!(DURATION, "topic" => self.name.clone(), "outcome" => "abandoned").record(took);
    }
}
