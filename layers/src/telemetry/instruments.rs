//! The instruments: made once, as the API asks.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use kafka_tower_core::{Control, InFlight};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

use super::semconv::metric;

#[derive(Debug)]
pub(super) struct Instruments {
    /// Whether anybody gets what is recorded.
    pub(super) live: bool,
    duration: Histogram<f64>,
    pub(super) sent: Counter<u64>,
    pub(super) retries: Counter<u64>,
    queue: Histogram<f64>,
    pub(super) batch: Histogram<u64>,
    pub(super) transitions: Counter<u64>,
    pub(super) rejections: Counter<u64>,
    pub(super) transactions: Counter<u64>,
    transaction: Histogram<f64>,
    pub(super) watched: Arc<Watched>,
}

/// What is asked when metrics are collected. Weak, so that it keeps no transport open.
#[derive(Debug, Default)]
pub(super) struct Watched {
    controls: Mutex<Vec<(Attributes, Weak<dyn Control>)>>,
    breakers: Mutex<Vec<(Attributes, Weak<AtomicU8>)>>,
}

/// What a point is told under: those of a client, or of a topic.
type Attributes = Vec<KeyValue>;

impl Instruments {
    pub(super) fn new(meter: &Meter, live: bool) -> Self {
        let seconds = |name: &'static str, what: &'static str| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(what);
            histogram.with_boundaries(metric::DURATION_BUCKETS.to_vec()).build()
        };
        let count = |name: &'static str, unit: &'static str, what: &'static str| {
            meter.u64_counter(name).with_unit(unit).with_description(what).build()
        };
        let watched = Arc::<Watched>::default();
        watched.observe(meter);
        Self {
            live,
            duration: seconds(
                metric::OPERATION_DURATION,
                "Duration of messaging operation initiated by a producer or consumer client.",
            ),
            sent: count(
                metric::SENT_MESSAGES,
                "{message}",
                "Number of messages producer attempted to send to the broker.",
            ),
            retries: count(metric::RETRIES, "{retry}", "Attempts after the first."),
            queue: seconds(metric::QUEUE_DURATION, "How long sends that found no room waited for it."),
            batch: meter
                .u64_histogram(metric::BATCH_MESSAGES)
                .with_unit("{message}")
                .with_description("Messages of a batch that was sent with one call.")
                .with_boundaries(metric::MESSAGE_BUCKETS.to_vec())
                .build(),
            transitions: count(metric::BREAKER_TRANSITIONS, "{transition}", "Changes of the circuit breaker's state."),
            rejections: count(metric::BREAKER_REJECTIONS, "{message}", "Sends that the circuit breaker refused."),
            transactions: count(metric::TRANSACTIONS, "{transaction}", "Transactions that ended, by outcome."),
            transaction: seconds(metric::TRANSACTION_DURATION, "From the begin of a transaction to its end."),
            watched,
        }
    }

    pub(super) fn duration(&self, took: Duration, attributes: &[KeyValue]) {
        self.duration.record(took.as_secs_f64(), attributes);
    }

    pub(super) fn queued(&self, waited: Duration, attributes: &[KeyValue]) {
        self.queue.record(waited.as_secs_f64(), attributes);
    }

    pub(super) fn transaction(&self, took: Duration, attributes: &[KeyValue]) {
        self.transaction.record(took.as_secs_f64(), attributes);
    }
}

impl Watched {
    /// What is in flight by client, of all transports that are still there. Those of one client together: what is told last
    /// under the same attributes would hide the others.
    fn in_flight(&self) -> Vec<(Attributes, InFlight)> {
        let controls: Vec<_> = {
            let mut controls = lock(&self.controls);
            controls.retain(|(_, control)| control.strong_count() > 0);
            let there =
                |(client, control): &(Attributes, Weak<dyn Control>)| Some((client.clone(), control.upgrade()?));
            controls.iter().filter_map(there).collect()
        };
        // Outside the lock: dropping one may close a transport.
        let mut sums: Vec<(Attributes, InFlight)> = Vec::new();
        for (client, control) in controls {
            let more = control.in_flight();
            match sums.iter_mut().find(|(known, _)| *known == client) {
                Some((_, sum)) => {
                    sum.records += more.records;
                    sum.bytes += more.bytes;
                    sum.parked += more.parked;
                }
                None => sums.push((client, more)),
            }
        }
        sums
    }

    pub(super) fn watch(&self, client: Attributes, control: &Arc<dyn Control>) {
        let mut controls = lock(&self.controls);
        controls.retain(|(_, known)| known.strong_count() > 0);
        let control = Arc::downgrade(control);
        if !controls.iter().any(|(_, known)| Weak::ptr_eq(known, &control)) {
            controls.push((client, control));
        }
    }

    /// By topic, of all breakers that are still there. Of several to one topic the worst: what is told last under the same
    /// attributes would hide the others.
    fn breaker_states(&self) -> Vec<(Attributes, u64)> {
        let mut worst: Vec<(Attributes, u64)> = Vec::new();
        lock(&self.breakers).retain(|(attributes, state)| {
            let Some(state) = state.upgrade() else { return false };
            let state = u64::from(state.load(Ordering::Relaxed));
            match worst.iter_mut().find(|(known, _)| known == attributes) {
                Some((_, known)) => *known = (*known).max(state),
                None => worst.push((attributes.clone(), state)),
            }
            true
        });
        worst
    }

    pub(super) fn watch_breaker(&self, attributes: Attributes, state: &Arc<AtomicU8>) {
        lock(&self.breakers).push((attributes, Arc::downgrade(state)));
    }

    fn observe(self: &Arc<Self>, meter: &Meter) {
        let in_flight = |name: &'static str, unit: &'static str, what: &'static str, of: fn(&InFlight) -> usize| {
            let watched = Arc::clone(self);
            meter
                .i64_observable_up_down_counter(name)
                .with_unit(unit)
                .with_description(what)
                .with_callback(move |observer| {
                    for (client, now) in watched.in_flight() {
                        observer.observe(i64::try_from(of(&now)).unwrap_or(i64::MAX), &client);
                    }
                })
                .build();
        };
        in_flight(metric::IN_FLIGHT_RECORDS, "{record}", "Records that are admitted and not settled.", |now| {
            now.records
        });
        in_flight(metric::IN_FLIGHT_BYTES, "By", "Bytes of the records in flight.", |now| now.bytes);
        in_flight(metric::PARKED_RECORDS, "{record}", "Records that were called and wait for room.", |now| now.parked);
        let watched = Arc::clone(self);
        meter
            .u64_observable_gauge(metric::BREAKER_STATE)
            .with_description("State of the circuit breaker: 0 closed, 1 half-open, 2 open.")
            .with_callback(move |observer| {
                for (attributes, state) in watched.breaker_states() {
                    observer.observe(state, &attributes);
                }
            })
            .build();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
