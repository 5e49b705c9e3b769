//! What the handles of a transport and its event loop share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use kafka_tower_core::gate::{Gate, Permit};
use kafka_tower_core::outstanding::Outstanding;
use kafka_tower_core::{Error, ErrorKind, Persistence, Record, Result, Scope, TransactionEnd, text};
use rdkafka::ClientConfig;
use tokio::sync::oneshot;

use crate::alone::{Alone, Second};
use crate::causes::Causes;
use crate::classify;
use crate::closing::Closing;
use crate::codes;
use crate::events::ClientEvents;
use crate::expiry::ExpiryQueue;
use crate::facts::Known;
use crate::ffi::Client;
use crate::held::Held;
use crate::log::{Log, Source};
use crate::refresh::Partitions;
use crate::replace::Why;
use crate::slot::{Acknowledged, Slot};
use crate::transactions::{self, TxnState};

mod time;
mod why;

pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) alone: Alone,
    me: Weak<Self>,
    config: ClientConfig,
    pub(crate) gate: Arc<Gate<Arc<Slot>>>,
    expiry: Mutex<ExpiryQueue>,
    causes: Mutex<Causes>,
    /// Whether a delivery would end a cause: read for each report of a batch, without the lock.
    pub(crate) suspects: AtomicBool,
    pub(crate) log: Log,
    pub(crate) partitions: Partitions,
    pub(crate) held: Held,
    /// How many times the client was replaced.
    pub(crate) generation: AtomicU64,
    /// While the instance before gives up what it has.
    pub(crate) replaced_for: Mutex<Option<Why>>,
    /// The same for a second producer.
    pub(crate) second_replaced_for: Mutex<Option<Why>>,
    pub(crate) transactions: TxnState,
    /// How long a record may be on its way, whatever its deadline.
    delivery_bound: Duration,
    /// Records admitted for each partition of a topic.
    per_partition: Option<(Arc<str>, usize)>,
    pub(crate) events: Option<Arc<dyn ClientEvents>>,
    pub(crate) facts: Arc<Known>,
    pub(crate) closing: Closing,
    /// Failures that their callers' futures have not seen.
    pub(crate) unseen: Outstanding<()>,
    /// Event loops that are settling records, whose room they give back a moment later.
    pub(crate) settling: AtomicUsize,
}

/// The longest that a flush waits for room that is about to be given back.
const SETTLING: Duration = Duration::from_millis(50);

/// A time so much later, or one that nobody lives to see where the clock ends.
pub(crate) fn later(time: Instant, by: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);
    time.checked_add(by.min(YEARS)).unwrap_or(time)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in these states is left half changed by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(
        client: Client,
        config: ClientConfig,
        gate: Arc<Gate<Arc<Slot>>>,
        events: Option<Arc<dyn ClientEvents>>,
        delivery_bound: Duration,
        per_partition: Option<(Arc<str>, usize)>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            client,
            alone: Alone::default(),
            me: Weak::clone(me),
            config,
            gate,
            expiry: Mutex::default(),
            causes: Mutex::default(),
            suspects: AtomicBool::new(false),
            log: Log::default(),
            partitions: Partitions::default(),
            held: Held::default(),
            generation: AtomicU64::new(0),
            replaced_for: Mutex::default(),
            second_replaced_for: Mutex::default(),
            transactions: TxnState::default(),
            delivery_bound,
            per_partition,
            events,
            facts: Arc::default(),
            closing: Closing::default(),
            unseen: Outstanding::new(),
            settling: AtomicUsize::new(0),
        })
    }

    pub(crate) fn arc(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// How long librdkafka waits for an answer to a request.
    pub(crate) fn question_time(&self) -> Duration {
        let millis = self.config.get("socket.timeout.ms").and_then(|millis| millis.parse().ok());
        Duration::from_millis(millis.unwrap_or(60_000))
    }

    /// Runs what wakes callers or writes to the log: a panic of theirs must not keep what comes behind it from being done.
    pub(crate) fn guarded(&self, what: &'static str, f: impl FnOnce()) {
        let tell = || self.log.tell(Source::Panic { of: what }, "a panic in the event loop was caught", Instant::now());
        if catch_unwind(AssertUnwindSafe(f)).is_err() {
            let _the_log_panics_itself = catch_unwind(AssertUnwindSafe(tell));
        }
    }

    // ---- records

    /// Gives room back, and hands over what waits for it.
    pub(crate) fn release(&self, permits: impl IntoIterator<Item = Permit>) {
        self.guarded("a waker", || self.gate.release(permits, |slot, permit| self.enqueue_parked(slot, permit)));
    }

    /// Hands an admitted record over; a refusal settles it and gives its room back.
    pub(crate) fn enqueue(&self, slot: Arc<Slot>, permit: Permit) -> Result<(), Permit> {
        slot.admit(permit);
        let second = if slot.record().isolated { Some(self.second()) } else { None };
        let second = match second.transpose() {
            Ok(second) => second,
            Err(error) => return self.settle(&slot, Err(error)).map_or(Ok(()), Err),
        };
        let Some(second) = second else { return self.produce(slot) };
        let client = &second.client;
        let Err((code, slot)) = client.produce_held(slot) else { return Ok(()) };
        let error = self.refused(code, &slot, client);
        self.settle(&slot, Err(error)).map_or(Ok(()), Err)
    }

    fn produce(&self, slot: Arc<Slot>) -> Result<(), Permit> {
        let Err((code, slot)) = self.client.produce(slot, |slot| self.held.push(slot)) else { return Ok(()) };
        match self.hold_for_a_look(code, slot) {
            Ok(()) => Ok(()),
            Err(slot) => {
                let error = self.refused(code, &slot, &self.client);
                self.settle(&slot, Err(error)).map_or(Ok(()), Err)
            }
        }
    }

    /// Hands over a record that was parked, unless its time is up.
    pub(crate) fn enqueue_parked(&self, slot: Arc<Slot>, permit: Permit) -> Result<(), Permit> {
        let now = Instant::now();
        let enqueued = if slot.record().expires_at.is_none_or(|at| now < at) {
            slot.leave_gate(now);
            self.enqueue(slot, permit)
        } else {
            slot.admit(permit);
            let error = self.expired(&slot, false, now, &self.sight());
            self.settle(&slot, Err(error)).map_or(Ok(()), Err)
        };
        if enqueued.is_err() {
            self.transactions.part_lost();
        }
        enqueued
    }

    fn second(&self) -> Result<Arc<Second>> {
        let gone = || Error::new(ErrorKind::Closed, "the transport is closed");
        self.alone.get_or_start(&self.config, || self.me.upgrade().ok_or_else(gone))
    }

    pub(crate) fn refused(&self, code: i32, slot: &Slot, client: &Client) -> Error {
        let record = slot.record();
        let elapsed = slot.called_at().elapsed();
        let error = match code {
            codes::LOCAL_FATAL => match client.fatal_error() {
                Some((_, text)) => Error::new(
                    ErrorKind::Fatal,
                    format!("not delivered to {}: the producer had ended before: {text}", record.topic),
                ),
                None => classify::record_error(code, Persistence::NotPersisted, record, elapsed),
            },
            codes::MESSAGE_TOO_LARGE => {
                let limit = self.config.get("message.max.bytes").unwrap_or("1000000");
                let size = record.size();
                let text = format!(
                    "a record of {size} bytes for {} is larger than the client's message.max.bytes ({limit})",
                    record.topic
                );
                Error::new(ErrorKind::RecordTooLarge, text)
                    .with_error_type("MESSAGE_TOO_LARGE")
                    .with_help("send less in one record, or raise message.max.bytes")
            }
            _ => classify::record_error(code, Persistence::NotPersisted, record, elapsed),
        };
        let scope = if error.scope() == Scope::Batch { Scope::Record } else { error.scope() };
        self.explained(error, record)
            .with_scope(scope)
            .with_elapsed(elapsed)
            .with_persistence(Persistence::NotPersisted)
    }

    /// Until the room of records whose callers have their answer is given back, which is a matter of microseconds: without this a
    /// flush right after the last answer would have to wait, and needed a timer.
    pub(crate) fn settled(&self) {
        let begun = Instant::now();
        while self.settling.load(Ordering::Acquire) > 0 && begun.elapsed() < SETTLING {
            std::thread::yield_now();
        }
    }

    /// A record's fate is known: tells the caller, counts it if the transport is closing, gives its room back.
    pub(crate) fn settle(&self, slot: &Slot, outcome: Result<Acknowledged>) -> Option<Permit> {
        if outcome.is_err() {
            self.transactions.part_failed();
        }
        self.closing.count(slot.record(), &outcome);
        slot.settle(outcome, Some(&self.unseen))
    }

    /// What the code says, with what is known of the topic.
    pub(crate) fn explained(&self, error: Error, record: &Record) -> Error {
        match (error.kind(), record.partition, self.partitions.get(&record.topic)) {
            (ErrorKind::UnknownTopicOrPartition, Some(partition), Some(count)) if partition as u32 >= count => error
                .with_help(format!(
                    "{} has {}, and they count from 0",
                    record.topic,
                    text::count(count as usize, "partition")
                )),
            _ => error,
        }
    }

    /// The number of a topic's partitions is known, or has changed.
    pub(crate) fn partitions_changed(&self) {
        let Some((topic, records)) = &self.per_partition else { return };
        let Some(partitions) = self.partitions.get(topic) else { return };
        let mut limits = self.gate.limits();
        let records = records.saturating_mul(partitions as usize);
        if limits.records != records {
            limits.records = records;
            self.guarded("a waker", || {
                self.gate.set_limits(limits, |slot, permit| self.enqueue_parked(slot, permit));
            });
        }
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

    /// How often metadata is renewed; none for never.
    pub(crate) fn refresh_interval(&self) -> Option<Duration> {
        let set = self.config.get("topic.metadata.refresh.interval.ms").and_then(|ms| ms.trim().parse::<i64>().ok());
        // librdkafka's default. A negative one turns the renewal off.
        u64::try_from(set.unwrap_or(300_000)).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    // ---- the end

    /// No new records; those on their way have until the deadline, and so has the end of an open transaction. None if it is done already.
    pub(crate) fn begin_close(&self, within: Duration) -> Option<oneshot::Receiver<()>> {
        // Before the event loop can see that the close has begun.
        let (first, open) = self.transactions.open.close();
        if first && open {
            self.closing.ends_transaction();
        }
        let end = self.closing.begin(within);
        self.gate.close();
        if first && open {
            self.end_transaction();
        }
        self.client.wake();
        end
    }

    /// In a thread of its own: librdkafka's calls block, and need the event loop meanwhile.
    fn end_transaction(&self) {
        let (Some(shared), Some(until)) = (self.me.upgrade(), self.closing.deadline()) else { return };
        let thread = std::thread::Builder::new().name("kafka-tower-close".to_owned());
        let spawned = thread.spawn(move || {
            let ended = transactions::end_at_close(&shared, until);
            shared.closing.transaction_ended(ended);
            shared.client.wake();
        });
        if let Err(error) = spawned {
            let ended = TransactionEnd::Unknown(crate::event_loop::no_thread(error));
            self.transactions.open.closed(Some(ended.clone()));
            self.closing.transaction_ended(Some(ended));
        }
    }

    /// All records are settled: those who wait for it are told, and then the producers end, which takes its time where a
    /// broker's name is being resolved.
    pub(crate) fn end(&self) {
        self.closing.done();
        self.alone.end();
        self.client.destroy();
        let settled = lock(&self.expiry).take_all_settled();
        drop(settled);
    }

    pub(crate) fn purge(&self) {
        self.client.purge();
        self.alone.purge();
    }

    pub(crate) fn flush(&self, timeout: Duration) {
        self.alone.flush();
        self.client.flush(timeout);
    }
}

#[cfg(test)]
mod tests;
