//! State shared by the handles of a transport and its event loop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kafka_tower_core::clock;
use kafka_tower_core::gate::{Gate, Gated, Limits, Permit};
use kafka_tower_core::ledger::{Closing, Ledger, RecordTransport};
use kafka_tower_core::recent_errors::RecentErrors;
use kafka_tower_core::sync::lock;
use kafka_tower_core::{Error, ErrorKind, Persistence, Record, Result, Scope, TransactionEnd, text};
use rdkafka::ClientConfig;

use crate::callbacks::Hooks;
use crate::classify;
use crate::codes;
use crate::connect_state::ConnectState;
use crate::ffi::Client;
use crate::held::HeldRecords;
use crate::isolated::{IsolatedProducer, LazyIsolatedProducer};
use crate::log::{Log, Source};
use crate::partition_counts::{CountedTopic, PartitionCounts};
use crate::replace::ended::{EndedClient, NotHeld};
use crate::replace::reason::ReplaceReason;
use crate::replace::successor::Successor;
use crate::request_limit::RequestLimit;
use crate::slot::{Acknowledged, Slot};
use crate::threads;
use crate::transactions::errors::{failed, unanswered};
use crate::transactions::state::TransactionState;

mod deadlines;
mod hold;
mod reasons;

pub(crate) type SpawnIsolated = fn(Arc<TransportInner>, Arc<IsolatedProducer>) -> std::io::Result<JoinHandle<()>>;

pub(crate) struct TransportInner {
    pub(crate) client: Client,
    pub(crate) isolated: LazyIsolatedProducer,
    /// Starts the event loop of the isolated producer. A function, because the event loop knows this type.
    spawn_isolated: SpawnIsolated,
    config: ClientConfig,
    ledger: Ledger<Acknowledged>,
    recent_errors: Mutex<RecentErrors>,
    /// Whether a delivery would end a cause. Read for each report of a batch, without the lock.
    pub(crate) has_partition_errors: AtomicBool,
    pub(crate) log: Log,
    pub(crate) partitions: PartitionCounts,
    pub(crate) held: HeldRecords,
    pub(crate) request_limit: RequestLimit,
    /// Number of times that the client was replaced.
    pub(crate) generation: AtomicU64,
    pub(crate) ended: EndedClient,
    /// Number of calls, which wraps around.
    calls: AtomicU32,
    /// The next instance, between two transactions.
    pub(crate) successor: Successor,
    /// Set while the replaced instance gives up its records.
    pub(crate) replaced_for: Mutex<Option<ReplaceReason>>,
    /// The same for the isolated producer.
    pub(crate) isolated_replaced_for: Mutex<Option<ReplaceReason>>,
    pub(crate) transactions: TransactionState,
    /// Time that a record may be in flight, independent of its deadline.
    delivery_bound: Duration,
    /// Topics whose partitions determine how many records are admitted.
    per_partition: Mutex<Vec<CountedTopic>>,
    pub(crate) hooks: Hooks,
    pub(crate) connect_state: Arc<ConnectState>,
    /// Number of event loops that are settling records and will release their room.
    pub(crate) settling: AtomicUsize,
}

/// Maximum time that a flush waits for room that is about to be released.
const SETTLING: Duration = Duration::from_millis(50);

impl TransportInner {
    pub(crate) fn new(
        client: Client,
        config: ClientConfig,
        limits: Limits,
        hooks: Hooks,
        delivery_bound: Duration,
        per_partition: Vec<CountedTopic>,
        spawn_isolated: SpawnIsolated,
    ) -> Arc<Self> {
        let ended = EndedClient::default();
        if config.get("transactional.id").is_some() {
            ended.never_replace();
        }
        Arc::new(Self {
            client,
            isolated: LazyIsolatedProducer::default(),
            spawn_isolated,
            request_limit: RequestLimit::new(&config),
            config,
            ledger: Ledger::new(limits, Some(delivery_bound.saturating_add(clock::TICK))),
            recent_errors: Mutex::default(),
            has_partition_errors: AtomicBool::new(false),
            log: Log::default(),
            partitions: PartitionCounts::default(),
            held: HeldRecords::default(),
            generation: AtomicU64::new(0),
            ended,
            calls: AtomicU32::new(0),
            successor: Successor::default(),
            replaced_for: Mutex::default(),
            isolated_replaced_for: Mutex::default(),
            transactions: TransactionState::default(),
            delivery_bound,
            per_partition: Mutex::new(per_partition),
            hooks,
            connect_state: Arc::default(),
            settling: AtomicUsize::new(0),
        })
    }

    pub(crate) fn closing(&self) -> &Arc<Closing> {
        self.ledger.closing()
    }

    /// Time that librdkafka waits for a response to a request.
    pub(crate) fn request_timeout(&self) -> Duration {
        let millis = self.config.get("socket.timeout.ms").and_then(|millis| millis.parse().ok());
        Duration::from_millis(millis.unwrap_or(60_000))
    }

    /// Time after which the brokers abort an open transaction.
    pub(crate) fn transaction_timeout(&self) -> Duration {
        let millis = self.config.get("transaction.timeout.ms").and_then(|millis| millis.parse().ok());
        Duration::from_millis(millis.unwrap_or(60_000))
    }

    /// Whether no request with records was sent in the last transaction.
    pub(crate) fn none_was_sent(&self) -> bool {
        self.transactions.none_was_sent(&self.client, self.generation.load(Ordering::Acquire))
    }

    /// Runs code that wakes callers or writes to the log, and catches its panic so that the code after it still runs.
    pub(crate) fn guarded(&self, what: &'static str, f: impl FnOnce()) {
        let tell =
            || self.log.write(Source::Panic { of: what }, "a panic in the event loop was caught", Instant::now());
        if catch_unwind(AssertUnwindSafe(f)).is_err() {
            let _the_log_panics_itself = catch_unwind(AssertUnwindSafe(tell));
        }
    }

    // ---- records

    /// Returns the place of the next call in the order of all calls.
    pub(crate) fn next_order(&self) -> u32 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    fn produce(self: &Arc<Self>, mut slot: Arc<Slot>) -> Result<(), Permit> {
        loop {
            let Err((code, returned)) = self.client.produce(slot, |slot| self.held.push(slot)) else { return Ok(()) };
            if code != codes::LOCAL_FATAL {
                return match self.hold_for_look_up(code, returned) {
                    Ok(()) => Ok(()),
                    Err(slot) => {
                        let error = self.refused(code, &slot, &self.client);
                        self.settle(&slot, Err(error)).map_or(Ok(()), Err)
                    }
                };
            }
            match self.hold_for_new_client(&returned) {
                Ok(()) => return Ok(()),
                Err(NotHeld::Replaced) => slot = returned,
                Err(NotHeld::Refused(error)) => {
                    let error = self.refused_by_ended(error, &returned);
                    return self.settle(&returned, Err(error)).map_or(Ok(()), Err);
                }
            }
        }
    }

    fn isolated(self: &Arc<Self>, record: &Record) -> Result<Arc<IsolatedProducer>> {
        let spawn =
            |producer: &_| (self.spawn_isolated)(Arc::clone(self), Arc::clone(producer)).map_err(threads::no_thread);
        self.isolated.get_or_start(&self.config, record, spawn)
    }

    pub(crate) fn refused(&self, code: i32, slot: &Slot, client: &Client) -> Error {
        let record = slot.record();
        let elapsed = slot.called_at().elapsed();
        let error = match code {
            codes::LOCAL_FATAL => match client.fatal_error() {
                Some((code, text)) => Error::new(
                    if codes::is_fence(code) { ErrorKind::Fenced } else { ErrorKind::Fatal },
                    format!("not delivered to {}: the producer had ended before: {text}", record.topic),
                ),
                None => classify::record_error(code, Persistence::NotPersisted, record, elapsed),
            },
            // librdkafka's own text is about calls in the wrong order.
            codes::LOCAL_STATE if self.transactions.error().is_some() => {
                let what = classify::outcome(&record.topic, Persistence::NotPersisted);
                let why = self.transactions.error().unwrap_or_default();
                failed(&what, &why, Persistence::NotPersisted)
            }
            codes::MESSAGE_TOO_LARGE => {
                let limit = self.config.get("message.max.bytes").unwrap_or("1000000");
                let size = record.size();
                let text = format!(
                    "a record of {size} bytes for {} is larger than the client's message.max.bytes ({limit})",
                    record.topic
                );
                Error::new(ErrorKind::RecordTooLarge, text)
                    .with_error_type("MESSAGE_TOO_LARGE")
                    .with_help("send a smaller record, or raise message.max.bytes")
            }
            _ => classify::record_error(code, Persistence::NotPersisted, record, elapsed),
        };
        let scope = if error.scope() == Scope::Batch { Scope::Record } else { error.scope() };
        self.explained(error, record)
            .with_scope(scope)
            .with_elapsed(elapsed)
            .with_persistence(Persistence::NotPersisted)
    }

    /// Error of a record that the ended client refused for good.
    pub(crate) fn refused_by_ended(&self, error: Option<Box<Error>>, slot: &Slot) -> Error {
        match error {
            Some(error) => error.with_elapsed(slot.called_at().elapsed()),
            None => self.refused(codes::LOCAL_FATAL, slot, &self.client),
        }
    }

    /// Waits, for some microseconds, until the room of records whose callers have their answer is released. Otherwise a
    /// flush right after the last answer would have to wait, and would need a timer.
    pub(crate) fn wait_for_releases(&self) {
        let begun = Instant::now();
        while self.settling.load(Ordering::Acquire) > 0 && begun.elapsed() < SETTLING {
            std::thread::yield_now();
        }
    }

    /// Adds what is known of the topic to the error of a code.
    pub(crate) fn explained(&self, error: Error, record: &Record) -> Error {
        match (error.kind(), record.partition, self.partitions.get(&record.topic)) {
            (ErrorKind::UnknownTopicOrPartition, Some(partition), Some(count)) if partition as u32 >= count => error
                .with_help(format!(
                    "{} has {}, numbered from 0",
                    record.topic,
                    text::count(count as usize, "partition")
                )),
            _ => error,
        }
    }

    /// Called when the number of a topic's partitions became known or changed.
    pub(crate) fn partitions_changed(self: &Arc<Self>) {
        // Again after a change, because another thread may have set an older number meanwhile.
        loop {
            let mut topics = lock(&self.per_partition);
            topics.iter_mut().for_each(|topic| topic.update(&self.partitions));
            let records = (!topics.is_empty()).then(|| CountedTopic::records(&topics));
            drop(topics);
            let limits = self.gate().limits();
            let wanted = Limits { records: records.unwrap_or(limits.records), ..limits }.countable();
            if wanted == limits {
                return;
            }
            self.set_limits(wanted);
        }
    }

    /// Admits records for the partitions of this topic too.
    pub(crate) fn count_topic(self: &Arc<Self>, topic: &Arc<str>, records: usize) {
        let mut topics = lock(&self.per_partition);
        if !topics.iter().any(|known| known.is(topic)) {
            topics.push(CountedTopic::new(Arc::clone(topic), records));
        }
        drop(topics);
        self.partitions_changed();
    }

    // ---- properties

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }

    pub(crate) fn delivery_bound(&self) -> Duration {
        self.delivery_bound
    }

    pub(crate) fn is_idempotent(&self) -> bool {
        self.config.get("enable.idempotence").is_some_and(|value| matches!(value.trim(), "true" | "1" | "t"))
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.config.get("transactional.id").is_some()
    }

    /// Interval at which metadata is renewed. None: never.
    pub(crate) fn refresh_interval(&self) -> Option<Duration> {
        let set = self.config.get("topic.metadata.refresh.interval.ms").and_then(|ms| ms.trim().parse::<i64>().ok());
        // librdkafka's default. A negative value turns the renewal off.
        u64::try_from(set.unwrap_or(300_000)).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    // ---- the end

    /// Called when all records are settled: wakes the waiters first, then ends the producers, which may take seconds
    /// while a broker's name is being resolved.
    pub(crate) fn end(&self) {
        self.closing().done(|| TransactionEnd::Unknown(unanswered()));
        self.isolated.end();
        self.client.destroy();
        drop(self.ledger.take_deferred());
    }

    pub(crate) fn purge(&self) {
        self.client.purge();
        self.isolated.purge();
    }

    /// Sends lingering batches, and waits for reports until the time-out.
    pub(crate) fn send_lingering(&self, timeout: Duration) {
        self.isolated.flush();
        self.client.flush(timeout);
    }
}

impl Gated for TransportInner {
    type Item = Arc<Slot>;

    fn gate(&self) -> &Gate<Arc<Slot>> {
        self.ledger.gate()
    }

    /// Hands an admitted record over. A rejection settles it and returns its permit.
    fn enqueue(self: &Arc<Self>, slot: Arc<Slot>, permit: Permit) -> Result<(), Permit> {
        slot.admit(permit);
        let isolated = if slot.record().isolated { Some(self.isolated(slot.record())) } else { None };
        let isolated = match isolated.transpose() {
            Ok(isolated) => isolated,
            Err(error) => return self.settle(&slot, Err(error)).map_or(Ok(()), Err),
        };
        let Some(isolated) = isolated else { return self.produce(slot) };
        let client = &isolated.client;
        let Err((code, slot)) = client.produce_held(slot) else { return Ok(()) };
        let has_ended = code == codes::LOCAL_FATAL;
        let partition = slot.record().partition.unwrap_or(-1);
        let ended = || self.given_up_by_ended(client, &slot, partition, Persistence::NotPersisted);
        let error = has_ended.then(ended).flatten().unwrap_or_else(|| self.refused(code, &slot, client));
        self.settle(&slot, Err(error)).map_or(Ok(()), Err)
    }

    /// Hands over a record that was parked, unless its deadline has passed.
    fn enqueue_parked(self: &Arc<Self>, slot: Arc<Slot>, permit: Permit) -> Result<(), Permit> {
        let now = Instant::now();
        let record = slot.record();
        let refusal = if record.expires_at.is_some_and(|at| at <= now) {
            Some(self.expired(&slot, false, now, &self.activity_snapshot()))
        } else {
            // The limit may have become known while it was parked.
            self.request_limit.refusal(&self.client, record, record.size())
        };
        let enqueued = match refusal {
            None => {
                slot.leave_gate(now);
                self.enqueue(slot, permit)
            }
            Some(error) => {
                slot.admit(permit);
                self.settle(&slot, Err(error)).map_or(Ok(()), Err)
            }
        };
        if enqueued.is_err() {
            self.transactions.record_lost();
        }
        enqueued
    }
}

impl RecordTransport for TransportInner {
    type Acknowledgement = Acknowledged;

    fn ledger(&self) -> &Ledger<Acknowledged> {
        &self.ledger
    }

    fn failed(&self, slot: &Slot, _error: &Error) {
        if slot.is_parked() {
            self.transactions.record_lost();
        }
    }

    fn deadline_changed(self: &Arc<Self>) {
        self.client.wake();
    }

    fn reasons(&self) -> impl Fn(&Slot) -> Option<String> {
        let (now, snapshot) = (Instant::now(), self.activity_snapshot());
        move |slot: &Slot| self.reason_for(slot, !slot.is_parked(), now, &snapshot).map(|why| why.text)
    }

    fn is_throttled(&self, slot: &Slot) -> bool {
        self.reason_for_unanswered(slot, true).is_some_and(|why| why.is_throttling())
    }
}

#[cfg(test)]
mod tests;
