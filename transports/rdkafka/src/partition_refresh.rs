//! Partition counts of topics, looked up in the background so that asking for a count never waits.
//!
//! A topic is looked up when its count is asked for and unknown, every `topic.metadata.refresh.interval.ms`, and when
//! librdkafka rejects a record by its cached metadata. The look-up renews librdkafka's metadata too.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use kafka_tower_core::gate::Gated;

use crate::inner::TransportInner;
use crate::log::Source;

/// Interval before an unanswered request is repeated.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Maximum time that rejected records are held for an answer.
const HELD: Duration = Duration::from_secs(10);
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
                if its.gate().is_closed() {
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
            if !its.gate().is_closed() {
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
        inner.log.write(Source::Warning, &format!("no thread could be started to look up topics: {error}"), now);
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
