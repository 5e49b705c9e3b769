//! Instruments, created once per meter as the OpenTelemetry API asks.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use kafka_tower_core::sync::lock;
use kafka_tower_core::{Control, InFlight};
use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::{InstrumentationScope, KeyValue, global};

use super::semconv::metric;
use super::source::{SourceInstruments, WatchedSources};

/// Instruments, available as soon as there is a meter whose measurements are recorded.
#[derive(Debug)]
pub(super) struct Instruments {
    live: OnceLock<Set>,
    /// Scope of the global provider's meter, if that one is to be used: it may be set later.
    global: Option<InstrumentationScope>,
    warned: AtomicBool,
    pub(super) watched: Arc<Watched>,
    pub(super) sources: Arc<WatchedSources>,
}

/// Instruments of one meter.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) meter: Meter,
    duration: Histogram<f64>,
    pub(super) sent: Counter<u64>,
    pub(super) retries: Counter<u64>,
    queue: Histogram<f64>,
    pub(super) batch: Histogram<u64>,
    pub(super) transitions: Counter<u64>,
    pub(super) rejections: Counter<u64>,
    pub(super) transactions: Counter<u64>,
    transaction: Histogram<f64>,
    pub(super) shared: Shared,
    pub(super) source: SourceInstruments,
}

/// Instruments of shared transactions.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) messages: Histogram<u64>,
    pub(super) size: Histogram<u64>,
    pub(super) age: Histogram<f64>,
    pub(super) replays: Counter<u64>,
    pub(super) refusals: Counter<u64>,
}

/// Sources that are read when metrics are collected. Weak references: they keep no transport alive.
#[derive(Debug, Default)]
pub(super) struct Watched {
    controls: Mutex<Vec<(Attributes, Weak<dyn Control>)>>,
    breakers: Mutex<Vec<(Attributes, Weak<AtomicU8>)>>,
}

/// Attributes of a data point: those of a client, or of a topic.
type Attributes = Vec<KeyValue>;

impl Instruments {
    /// Instruments without a meter, for ever.
    pub(super) fn none() -> Self {
        let (warned, watched, sources) = (AtomicBool::new(true), Arc::default(), Arc::default());
        Self { live: OnceLock::new(), global: None, warned, watched, sources }
    }

    /// Instruments of a given meter.
    pub(super) fn of(meter: &Meter) -> Self {
        let this = Self::none();
        this.live.get_or_init(|| this.set(meter));
        this
    }

    /// Instruments of the global provider's meter, which may be set later.
    pub(super) fn global(scope: InstrumentationScope) -> Self {
        let this = Self { global: Some(scope), warned: AtomicBool::new(false), ..Self::none() };
        this.look();
        this
    }

    /// The instruments, if measurements are recorded.
    #[inline]
    pub(super) fn live(&self) -> Option<&Set> {
        self.live.get()
    }

    /// Whether there are no instruments and a provider may still be set.
    pub(super) fn may_come(&self) -> bool {
        self.global.is_some() && self.live.get().is_none()
    }

    /// Looks up the global provider again, if it was missing.
    pub(super) fn look(&self) {
        let Some(scope) = self.global.as_ref().filter(|_| self.live.get().is_none()) else { return };
        let provider = global::meter_provider();
        // The API's no-op provider has size 0; nothing else distinguishes it.
        if std::mem::size_of_val(&*provider) > 0 {
            self.live.get_or_init(|| self.set(&provider.meter_with_scope(scope.clone())));
        }
    }

    fn set(&self, meter: &Meter) -> Set {
        self.watched.observe(meter);
        self.sources.observe(meter);
        Set::new(meter)
    }

    /// Logs once that nothing is recorded because no provider is set.
    pub(super) fn warn(&self) {
        if self.may_come() && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "no global OpenTelemetry meter provider is set: sends are not measured until one is set; set it \
                 before the sink is made, or choose Telemetry::builder().metrics(false)"
            );
        }
    }
}

impl Set {
    fn new(meter: &Meter) -> Self {
        let seconds = |name: &'static str, what: &'static str| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(what);
            histogram.with_boundaries(metric::DURATION_BUCKETS.to_vec()).build()
        };
        let count = |name: &'static str, unit: &'static str, what: &'static str| {
            meter.u64_counter(name).with_unit(unit).with_description(what).build()
        };
        Self {
            meter: meter.clone(),
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
            queue: seconds(metric::QUEUE_DURATION, "Time that sends waited for room."),
            batch: meter
                .u64_histogram(metric::BATCH_MESSAGES)
                .with_unit("{message}")
                .with_description("Messages in a batch that was sent with one call.")
                .with_boundaries(metric::MESSAGE_BUCKETS.to_vec())
                .build(),
            transitions: count(metric::BREAKER_TRANSITIONS, "{transition}", "State changes of the circuit breaker."),
            rejections: count(metric::BREAKER_REJECTIONS, "{message}", "Sends that the circuit breaker rejected."),
            transactions: count(metric::TRANSACTIONS, "{transaction}", "Transactions that ended, by outcome."),
            transaction: seconds(metric::TRANSACTION_DURATION, "Time from the begin of a transaction to its end."),
            shared: Shared {
                messages: meter
                    .u64_histogram(metric::TRANSACTION_MESSAGES)
                    .with_unit("{message}")
                    .with_description("Messages in the batch of a shared transaction when it was cut.")
                    .with_boundaries(metric::MESSAGE_BUCKETS.to_vec())
                    .build(),
                size: meter
                    .u64_histogram(metric::TRANSACTION_SIZE)
                    .with_unit("By")
                    .with_description("Bytes of the batch of a shared transaction when it was cut.")
                    .with_boundaries(metric::SIZE_BUCKETS.to_vec())
                    .build(),
                age: seconds(
                    metric::TRANSACTION_AGE,
                    "Time that the oldest message of a shared transaction had waited when its batch was cut.",
                ),
                replays: count(
                    metric::TRANSACTION_REPLAYS,
                    "{transaction}",
                    "Shared transactions whose batch was sent before.",
                ),
                refusals: count(
                    metric::TRANSACTION_REFUSALS,
                    "{message}",
                    "Messages of shared transactions that were refused themselves.",
                ),
            },
            source: SourceInstruments::new(meter),
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
    /// Records in flight and number of replacements by client, of all transports that still exist. Values of one client are
    /// added up: under the same attributes, only the last observed value is reported.
    fn clients(&self) -> Vec<(Attributes, InFlight, u64)> {
        let controls: Vec<_> = {
            let mut controls = lock(&self.controls);
            controls.retain(|(_, control)| control.strong_count() > 0);
            let there =
                |(client, control): &(Attributes, Weak<dyn Control>)| Some((client.clone(), control.upgrade()?));
            controls.iter().filter_map(there).collect()
        };
        // Outside the lock: dropping the last reference may close a transport.
        let mut sums: Vec<(Attributes, InFlight, u64)> = Vec::new();
        for (client, control) in controls {
            let (more, replaced) = (control.in_flight(), control.generation());
            match sums.iter_mut().find(|(known, ..)| *known == client) {
                Some((_, sum, replacements)) => {
                    sum.records += more.records;
                    sum.bytes += more.bytes;
                    sum.parked += more.parked;
                    *replacements += replaced;
                }
                None => sums.push((client, more, replaced)),
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

    /// Breaker states by topic, of all breakers that still exist. Of several breakers for one topic the worst state:
    /// under the same attributes, only the last observed value is reported.
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
                    for (client, now, _) in watched.clients() {
                        observer.observe(i64::try_from(of(&now)).unwrap_or(i64::MAX), &client);
                    }
                })
                .build();
        };
        in_flight(metric::IN_FLIGHT_RECORDS, "{record}", "Records that are admitted and not settled.", |now| {
            now.records
        });
        in_flight(metric::IN_FLIGHT_BYTES, "By", "Bytes of the records in flight.", |now| now.bytes);
        in_flight(
            metric::PARKED_RECORDS,
            "{record}",
            "Records that are parked: called, and waiting for room.",
            |now| now.parked,
        );
        let watched = Arc::clone(self);
        meter
            .u64_observable_counter(metric::REPLACEMENTS)
            .with_unit("{client}")
            .with_description("Clients that were replaced behind their handles.")
            .with_callback(move |observer| {
                for (client, _, replaced) in watched.clients() {
                    observer.observe(replaced, &client);
                }
            })
            .build();
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
