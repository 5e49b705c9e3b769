//! The thread that serves librdkafka's events: delivery reports, errors, logs, statistics, tokens. It sweeps deadlines
//! and carries out the close. It owns nothing that outlives it.

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kafka_tower_core::gate::{Gated, Permit};
use kafka_tower_core::ledger::RecordTransport;
use kafka_tower_core::wakers::WakeLater;
use kafka_tower_core::{ErrorKind, Persistence, Result};

use crate::classify;
use crate::code_lookup;
use crate::codes;
use crate::events::ClientError;
use crate::ffi::{Client, Event, Queue, Report};
use crate::held;
use crate::implied::{Implied, ImpliedReports};
use crate::inner::TransportInner;
use crate::isolated::IsolatedProducer;
use crate::log::Source;
use crate::log_lines;
use crate::partition_refresh::PartitionRefresh;
use crate::replace::fatal::FatalCause;
use crate::replace::watch::StuckWatch;
use crate::slot::{Acknowledged, Slot};
use crate::tokens;
use crate::wrong_protocol;

/// Longest wait for an event. Deadlines and wake-ups end it earlier.
const IDLE: Duration = Duration::from_millis(500);
/// Duration of one flush call that sends lingering batches.
const FLUSH_SLICE: Duration = Duration::from_millis(1);
/// Interval of clean-ups: repeated log lines, and settled records that no call has dropped.
const TICK: Duration = Duration::from_secs(1);
/// Number of records after which their callers are woken. A caller that is woken for each record is polled for each, while the
/// next ones are settled on another core; one that is woken late begins late.
const WAKE_AFTER: usize = 128;
/// The call that ends a transaction gets the close's time and returns at most this much later.
const TRANSACTION_GRACE: Duration = Duration::from_millis(100);
/// Interval of the check for records that take long.
const SLOW_RECORD_CHECK: Duration = Duration::from_millis(100);
/// Interval between two purges.
pub(crate) const PURGE_AGAIN: Duration = Duration::from_millis(5);
/// Maximum time for the reports of a purge, which librdkafka's threads produce at once.
pub(crate) const PURGE_TIME: Duration = Duration::from_secs(5);

thread_local! {
    /// Whether this thread is an event loop of any transport. A loop must not wait for another one to end, because that
    /// one may be waiting for it.
    static IS_LOOP: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn is_loop() -> bool {
    IS_LOOP.get()
}

/// Spawns the transport's event loop. It lives until the transport is closed, and ends its producers.
pub(crate) fn spawn(inner: Arc<TransportInner>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("kafka-tower-events".to_owned()).spawn(move || {
        IS_LOOP.set(true);
        // Also after a panic, so that a close does not wait for ever. The queue is dropped before, as `destroy` requires.
        let _ends = End(&inner);
        if let Some(mut events) = EventLoop::new(&inner, &inner.client) {
            events.run();
        }
    })
}

struct End<'a>(&'a TransportInner);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
        self.0.log.end(Instant::now());
    }
}

/// Serves the events of an isolated producer until it is stopped, and retires it if it is stuck. Events cannot be
/// forwarded from client to client, because librdkafka would then subtract the messages from the wrong client's count.
pub(crate) fn spawn_isolated(
    inner: Arc<TransportInner>,
    isolated: Arc<IsolatedProducer>,
) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("kafka-tower-isolated".to_owned()).spawn(move || {
        IS_LOOP.set(true);
        if let Some(mut events) = EventLoop::new(&inner, &isolated.client) {
            events.watch = (!inner.is_transactional()).then(StuckWatch::default);
            while !isolated.stop.load(Ordering::Acquire) {
                events.serve(IDLE);
                events.guarded("a client in trouble", |this| {
                    let now = Instant::now();
                    isolated.client.find_lost_brokers(now);
                    this.handle_stuck_isolated(&isolated.client, now)
                });
            }
            // Reports that came together with the request to stop: release their records' room.
            while events.serve(Duration::ZERO) {}
        }
    })
}

pub(crate) struct EventLoop<'a> {
    pub(crate) inner: &'a Arc<TransportInner>,
    client: &'a Client,
    pub(crate) queue: Queue,
    /// None with transactions, where no stuck producer is replaced.
    pub(crate) watch: Option<StuckWatch>,
    /// Slots of the current event, see [`Queue::poll`].
    reported: Vec<Arc<Slot>>,
    permits: Vec<Permit>,
    wakers: WakeLater,
    pub(crate) implied: ImpliedReports,
    /// Whether there were reports since the last check for records that take long.
    any_report: bool,
}

impl<'a> EventLoop<'a> {
    fn new(inner: &'a Arc<TransportInner>, client: &'a Client) -> Option<Self> {
        let queue = client.queue()?;
        Some(Self {
            inner,
            client,
            queue,
            watch: None,
            reported: Vec::new(),
            permits: Vec::new(),
            wakers: WakeLater::default(),
            implied: ImpliedReports::default(),
            any_report: false,
        })
    }

    fn run(&mut self) {
        self.watch = (!self.inner.is_transactional()).then(StuckWatch::default);
        let mut refresh = PartitionRefresh::new(self.inner.refresh_interval(), Instant::now());
        let mut tick = Instant::now();
        let (mut next_check, mut last_report, mut log_batches_until) = (tick, tick, None);
        loop {
            let now = Instant::now();
            if next_check <= now {
                if std::mem::take(&mut self.any_report) {
                    last_report = now;
                }
                self.guarded("a record", |this| {
                    this.inner.adjust_batch_logging(now, now - last_report, &mut log_batches_until)
                });
                self.inner.learn_request_limit(now);
                next_check = now + SLOW_RECORD_CHECK;
            }
            if tick <= now {
                // Subscribers, and what records own, are foreign code and may panic.
                self.guarded("a subscriber", |this| this.inner.log.tick(now));
                self.guarded("a record", |this| this.inner.ledger().drop_stale());
                self.guarded("a subscriber", |this| this.client.find_lost_brokers(now));
                tick = now + TICK;
            }
            self.guarded("a subscriber", |this| refresh.run(this.inner, now));
            self.take_successor();
            let deadline = self.inner.closing().deadline();
            if let Some(deadline) = deadline {
                let left = self.inner.gate().in_flight();
                let awaits_transaction = self.inner.closing().awaits_transaction();
                let settled = left.records == 0 && left.parked == 0 && !awaits_transaction;
                let grace = if awaits_transaction { TRANSACTION_GRACE } else { Duration::ZERO };
                if settled || deadline + grace <= now {
                    return self.give_up();
                }
            }
            let next_expiry = self.inner.ledger().next_deadline();
            if next_expiry.is_some_and(|at| at <= now) {
                self.guarded("a deadline", |this| {
                    let overdue = this.inner.expire_due(now);
                    if !overdue.is_empty() && !this.replace_for_overdue(&overdue, now) {
                        this.inner.give_up_overdue();
                    }
                });
                continue;
            }
            self.guarded("a client in trouble", |this| {
                this.handle_ended(now);
                this.handle_stuck(now);
            });
            let mut wait = [next_expiry, deadline, refresh.due()]
                .into_iter()
                .flatten()
                .map(|at| at - now)
                .fold(IDLE, Duration::min);
            if let Some(look) = self.watch.as_ref().and_then(StuckWatch::next) {
                wait = wait.min(look);
            }
            if next_expiry.is_some() {
                wait = wait.min(SLOW_RECORD_CHECK);
            }
            // Records that an abort will take back must not be sent before it.
            let closes = deadline.is_some() && !self.inner.closing().awaits_transaction();
            if closes || self.inner.gate().is_flushing() {
                self.inner.send_lingering(FLUSH_SLICE);
                wait = wait.min(FLUSH_SLICE);
            }
            self.serve(wait);
        }
    }

    /// Gives up the remaining records: the close ran out of time, or has nothing left to wait for.
    fn give_up(&mut self) {
        let inner = self.inner;
        let settle = |slot: Arc<Slot>| {
            let topic = &slot.record().topic;
            let error = classify::without_room_at_close(topic, inner.reason_for_unanswered(&slot, false).as_ref());
            let _never_admitted = inner.settle(&slot, Err(error));
        };
        inner.withdraw(|_| true, settle);
        let end = Instant::now() + PURGE_TIME;
        while inner.gate().in_flight().records > 0 && Instant::now() < end {
            // Repeated, because a call that was admitted before the close may hand over its record after a purge.
            inner.purge();
            let replaced = inner.ended.is_noticed_and_holds();
            inner.give_up_held(if replaced { classify::replaced_at_close } else { classify::looked_up_at_close });
            while self.serve(PURGE_AGAIN) {}
        }
        let lost = inner.gate().in_flight().records;
        if lost > 0 {
            inner.closing().count_lost(lost as u64);
            tracing::error!(records = lost, "librdkafka did not report records that it was told to give up");
        }
    }

    /// Waits for an event and serves it. Returns whether there was one.
    pub(crate) fn serve(&mut self, wait: Duration) -> bool {
        let (mut served, mut settles, mut completed) = (false, false, false);
        self.guarded("an event", |this| {
            let (inner, client, watch) = (this.inner, this.client, this.watch.as_mut());
            let mut settled = Settled {
                permits: &mut this.permits,
                wakers: &mut this.wakers,
                implied: &mut this.implied,
                settles: &mut settles,
            };
            served =
                this.queue.poll(wait, &mut this.reported, |event| handle(inner, client, &mut settled, watch, event));
            completed = true;
        });
        self.wakers.wake();
        if !served && self.implied.is_waiting() {
            self.guarded("a record", |this| {
                let left = this.implied.take();
                this.permits.extend(left.filter_map(|(implied, fate)| settle_implied(this.inner, &implied, fate)));
            });
        }
        if !self.reported.is_empty() {
            self.any_report = true;
            if !completed {
                self.release_lost();
            }
            self.inner.ledger().defer_drop(&mut self.reported);
        }
        if !self.permits.is_empty() {
            self.inner.release(self.permits.drain(..));
        }
        if settles {
            self.inner.settling.fetch_sub(1, Ordering::AcqRel);
        }
        served
    }

    /// Called after a panic in the middle of an event. Its remaining records were settled without their room.
    fn release_lost(&mut self) {
        for slot in &self.reported {
            let lost = classify::lost(&slot.record().topic);
            self.permits.extend(self.inner.settle(slot, Err(lost)));
        }
    }

    /// Catches panics, for example of wakers: the loop must survive, because it delivers all reports.
    pub(crate) fn guarded(&mut self, what: &'static str, f: impl FnOnce(&mut Self)) {
        let inner = self.inner;
        inner.guarded(what, || f(self));
    }
}

/// What the reports of an event leave behind.
struct Settled<'a> {
    permits: &'a mut Vec<Permit>,
    wakers: &'a mut WakeLater,
    implied: &'a mut ImpliedReports,
    /// Whether there were any.
    settles: &'a mut bool,
}

fn settle_implied(inner: &TransportInner, implied: &Implied, fate: Persistence) -> Option<Permit> {
    let Implied { slot, partition, timestamp } = implied;
    let outcome = if fate == Persistence::Persisted {
        Ok(Acknowledged { partition: *partition, offset: -1, timestamp: *timestamp, persistence: fate })
    } else {
        inner.transactions.record_failed(0);
        let destination = format!("{}[{partition}]", slot.record().topic);
        Err(classify::implied(&destination, fate).with_elapsed(slot.called_at().elapsed()))
    };
    inner.settle(slot, outcome)
}

fn handle(
    inner: &Arc<TransportInner>,
    client: &Client,
    settled: &mut Settled<'_>,
    mut watch: Option<&mut StuckWatch>,
    event: Event<'_>,
) {
    match event {
        Event::Reports(mut reports) => {
            let has_partition_errors = inner.has_partition_errors.load(Ordering::Acquire);
            inner.settling.fetch_add(1, Ordering::AcqRel);
            *settled.settles = true;
            let ended = inner.ended.is_noticed() && ptr::eq(client, &inner.client);
            let lost = if ended { client.produce_lost() } else { None };
            reports.each(|report| {
                let mut unwritten = false;
                if let Some(watch) = watch.as_deref_mut() {
                    if !watch.has_no_trouble() && watch.takes(report, &inner.held) {
                        return;
                    }
                    unwritten = ended && watch.is_certain(report, lost);
                    if unwritten && watch.holds_again(report, &inner.held) {
                        return;
                    }
                }
                if classify::is_implied(report.code, report.status, report.offset) {
                    let (slot, partition) = (Arc::clone(report.slot), report.partition);
                    return settled.implied.push(Implied { slot, partition, timestamp: report.timestamp });
                }
                if report.code == 0 && !settled.implied.is_waiting() {
                    settled.implied.note(report.slot, report.partition, report.offset);
                } else if report.code == 0 {
                    for (before, fate) in settled.implied.acknowledged(report.slot, report.partition, report.offset) {
                        settled.permits.extend(settle_implied(inner, &before, fate));
                    }
                }
                let outcome = outcome(inner, client, report, unwritten);
                if has_partition_errors && outcome.is_ok() {
                    inner.record_delivery(&report.slot.record().topic, report.partition);
                }
                if outcome.is_err() {
                    inner.transactions.record_failed(report.code);
                }
                let permit = inner.settle_with(report.slot, outcome, |waker| settled.wakers.add(waker));
                settled.permits.extend(permit);
                if settled.permits.len() % WAKE_AFTER == 0 {
                    settled.wakers.wake();
                }
            });
        }
        Event::Error { code, fatal, text } => error(inner, client, watch, code, fatal, &text.to_string_lossy()),
        Event::Log { level, facility, text } => {
            log(inner, watch, level, &facility.to_string_lossy(), &text.to_string_lossy());
        }
        Event::Statistics(json) => {
            inner.hooks.event(&inner.log, "statistics", |events| events.statistics(&json.to_string_lossy()))
        }
        Event::TokenRefresh => {
            if let Some(target) = client.tokens() {
                inner.hooks.refresh_token(&target);
            }
        }
        Event::Rebalance { .. } | Event::Committed { .. } => tracing::debug!("an event of a consumer"),
        Event::Other(kind) => tracing::debug!(kind, "an event of a type that was not requested"),
    }
}

/// `unwritten`: the record was certainly not written, whatever the code says.
fn outcome(inner: &TransportInner, client: &Client, report: &Report<'_>, unwritten: bool) -> Result<Acknowledged> {
    let record = report.slot.record();
    if report.code != 0 {
        let elapsed = report.slot.called_at().elapsed();
        // A record that never got a partition was never sent, whatever the code.
        let persistence = match report.partition {
            ..=-1 => Persistence::NotPersisted,
            _ if unwritten => Persistence::NotPersisted,
            _ if is_purge(report.code) && inner.none_was_sent() => Persistence::NotPersisted,
            _ => classify::persistence(report.code, report.status),
        };
        let given_up = match report.code {
            code if is_purge(code) => {
                let why = || inner.reason_for_unanswered(report.slot, true);
                let left = || why().map(|why| classify::left(report.code, persistence, record, &why));
                inner.given_up(client, report.slot, report.partition, persistence).or_else(left)
            }
            codes::OUT_OF_ORDER_SEQUENCE_NUMBER | codes::UNKNOWN_PRODUCER_ID => {
                inner.given_up_by_ended(client, report.slot, report.partition, persistence)
            }
            _ => None,
        };
        if held::may_be_out_of_date(report.code) {
            // The cached partition count may be out of date.
            inner.partitions.request_look_up(&record.topic);
        }
        let error = given_up.unwrap_or_else(|| {
            let error = classify::record_error(report.code, persistence, record, elapsed);
            inner.explained(error, record)
        });
        let error = error.with_elapsed(elapsed);
        // librdkafka had accepted the record and gave it up.
        let is_timeout = error.kind() == ErrorKind::Timeout;
        return Err(if is_timeout { error.with_unanswered(report.slot.unanswered(Instant::now())) } else { error });
    }
    Ok(Acknowledged {
        partition: report.partition,
        offset: report.offset,
        timestamp: report.timestamp,
        persistence: classify::acknowledged(report.status),
    })
}

/// Whether librdkafka gave the record up because it was told to.
fn is_purge(code: i32) -> bool {
    matches!(code, codes::LOCAL_PURGE_QUEUE | codes::LOCAL_PURGE_INFLIGHT)
}

fn error(
    inner: &Arc<TransportInner>,
    client: &Client,
    watch: Option<&mut StuckWatch>,
    code: i32,
    fatal: bool,
    text: &str,
) {
    // A fatal event has either the code that ended the producer or only says that it ended.
    let fatal = fatal || code == codes::LOCAL_FATAL;
    let ended = if fatal { client.fatal_error() } else { None };
    let is_main = ptr::eq(client, &inner.client);
    if fatal && is_main && ended.is_none() {
        return; // of an instance that was replaced
    }
    let (code, text) = match ended {
        Some(ended) => ended,
        None => (code, wrong_protocol::explain(text).unwrap_or_else(|| text.to_owned())),
    };
    let name = codes::find(code).map(|row| row.name);
    let now = Instant::now();
    let of_provider = tokens::is_failure(&text);
    if !of_provider {
        inner.record_error_event(code, &text, now);
    }
    if fatal {
        inner.transactions.producer_ended(now);
        match watch.filter(|_| is_main && inner.ended.is_handled()) {
            Some(watch) => watch.client_ended(inner, FatalCause { code, text: text.clone() }, now),
            None => tracing::error!(code, name, text, "the producer has ended"),
        }
    } else if code != codes::LOCAL_ALL_BROKERS_DOWN {
        inner.log.write(Source::Client { code }, &text, now);
    }
    let denied = matches!(code, codes::LOCAL_AUTHENTICATION | codes::SASL_AUTHENTICATION_FAILED);
    if fatal || denied && !of_provider {
        inner.connect_state.change(|facts| {
            let place = if fatal { &mut facts.fatal } else { &mut facts.denied };
            place.get_or_insert_with(|| (code, text.clone()));
        });
    }
    if fatal {
        let its = Arc::clone(inner);
        let cause = FatalCause { code, text: text.clone() };
        inner.isolated.retire_ended(client, cause, now, move || its.closing().is_done());
    }
    inner.hooks.event(&inner.log, "error", |events| events.error(&ClientError { code, name, text: &text, fatal }));
}

/// Log line by which the producer id of a producer without transactions shows; `debug=eos` enables it.
pub(crate) fn is_producer_id(facility: &str, text: &str) -> bool {
    facility == "GETPID" && text.contains("Acquired PID")
}

pub(crate) fn log(inner: &TransportInner, watch: Option<&mut StuckWatch>, level: i32, facility: &str, text: &str) {
    if let Some(watch) = watch {
        watch.read(facility, text, Instant::now());
    }
    if facility == "TXNERR" {
        inner.transactions.fails(text);
    }
    inner.transactions.previous.read(facility, text);
    inner.transactions.read_producer_id(facility, text);
    if is_producer_id(facility, text) {
        inner.connect_state.change(|facts| facts.producer_id = true);
    }
    let now = Instant::now();
    inner.log.librdkafka(level, facility, text, now);
    if let Some(line) = log_lines::read(facility, text, code_lookup::code_of) {
        let said = inner.record_log_line(&line, now);
        // Lines that librdkafka logs as warnings are in the log already.
        if let Some(text) = said.filter(|_| level > 6) {
            inner.log.write(Source::Warning, &format!("{text}; librdkafka tries again"), now);
        }
    }
}
