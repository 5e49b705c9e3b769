//! Replaces a client that is stuck: a new instance of librdkafka behind the same handles.
//!
//! 1. *Pause*: partitions in trouble (`stuck_partitions.rs`) are paused, so that they no longer harm the others, which
//!    continue. The new instance is made, and connects.
//! 2. *Hold*: new calls are held in `held.rs` until the records in flight to other partitions are settled, or for a
//!    limited time. Records of a partition that has not answered for longer than that are not waited for.
//! 3. *Swap*: the new instance takes the old one's place, and the old one gives up its records. Records that it
//!    certainly never sent are taken back; the others end with the outcome that is known.
//! 4. *Go on*: the new instance gets the records that were taken back first, then the held ones, in the order of the
//!    calls.
//!
//! A client that has ended by a fatal error is replaced, too: `replace/ended.rs`.
//!
//! Three problems end only with a new client: the two of `stuck_partitions.rs`, and a record that has no answer within
//! the delivery bound although brokers answer. A client whose brokers do not answer is not replaced, because a new client
//! would not reach them either. With transactions no stuck client is replaced: the new one would abort the open transaction.
//! Between two transactions, `transactions/rebuild.rs` makes a new instance that the event loop only puts in place.

pub(crate) mod ended;
pub(crate) mod fatal;
mod hold;
pub(crate) mod reason;
pub(crate) mod successor;
mod unsent;
pub(crate) mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kafka_tower_core::gate::Gated;
use kafka_tower_core::ledger::RecordTransport;
use kafka_tower_core::sync::lock;

use self::fatal::FatalCause;
use self::hold::Other;
use self::reason::ReplaceReason;
use self::watch::{CHECK_INTERVAL, PausedPartitions};
use crate::classify;
use crate::event_loop::{self, EventLoop, PURGE_AGAIN, PURGE_TIME};
use crate::ffi::{Client, Event, Instance};
use crate::inner::TransportInner;
use crate::log::Source;
use crate::slot::Slot;
use crate::stuck_partitions::{Partition, StuckReason};

/// Maximum time that partitions are paused before the client is replaced: longer than librdkafka's longest wait
/// between two connections (`reconnect.backoff.max.ms`, 10 s).
const MAX_PAUSE: Duration = Duration::from_secs(15);
/// Maximum time that new calls are held for records in flight to other partitions. A partition with an older record is not
/// expected to deliver within it.
const MAX_HOLD: Duration = Duration::from_secs(2);
/// Time for the new instance to reach a broker, before records are held.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Minimum age of a record for its partition to count as in trouble.
const MIN_AGE: Duration = Duration::from_secs(1);

/// What became of a new instance.
enum Readiness {
    /// It can deliver.
    Ready,
    /// It cannot deliver yet.
    NotReady,
    /// It has ended.
    Ended(FatalCause),
}

impl EventLoop<'_> {
    /// Pauses partitions in trouble, and replaces the client when the others no longer need it.
    pub(crate) fn handle_stuck(&mut self, now: Instant) {
        let Some(watch) = &mut self.watch else { return };
        let waits = watch.replacement.is_some() || watch.look.is_some_and(|at| now < at);
        if watch.has_no_trouble() || waits || self.inner.closing().has_begun() {
            return;
        }
        watch.look = Some(now + CHECK_INTERVAL);
        watch.troubles.forget(now);
        let Some(paused) = &watch.paused else {
            let mut partitions = watch.troubles.stuck();
            if partitions.is_empty() {
                return;
            }
            keep_old(&mut partitions, &self.inner.in_producer(false), now);
            if !partitions.is_empty() {
                let is_sure = self.inner.client.pause(partitions.keys());
                watch.paused = Some(PausedPartitions { partitions, since: Instant::now(), is_sure });
            }
            return;
        };
        let since = paused.since;
        let why = ReplaceReason {
            partitions: paused.partitions.clone(),
            overdue: Vec::new(),
            largest: 0,
            activity_snapshot: None,
        };
        if !watch.back_off.is_over(now) {
            return;
        }
        let waits =
            self.inner.awaited_in_producer().iter().any(|slot| slot.called_at() <= since && !why.concerns(slot));
        if !waits || now.saturating_duration_since(since) >= MAX_PAUSE {
            self.replace(why);
        }
    }

    /// Handles records without an answer within the bound: replaces their client if brokers answer; if it cannot be
    /// replaced now, returns the time-out to their callers. False if no broker answers or the transport closes: then
    /// all must be given up.
    pub(crate) fn replace_for_overdue(&mut self, overdue: &[Arc<Slot>], now: Instant) -> bool {
        let (inner, Some(watch)) = (self.inner, &self.watch) else { return false };
        let isolated = overdue.iter().any(|slot| slot.record().isolated);
        let overdue: Vec<_> = overdue.iter().filter(|slot| !slot.record().isolated).cloned().collect();
        if isolated {
            inner.isolated.purge();
        }
        if overdue.is_empty() {
            return true;
        }
        if inner.closing().has_begun() {
            return false;
        }
        if watch.replacement.is_some() || !watch.back_off.is_over(now) {
            inner.time_out_overdue(&overdue, now);
            return true;
        }
        if !self.broker_answers() {
            return false;
        }
        let Some(watch) = &self.watch else { return false };
        let partitions = watch.paused.as_ref().map(|paused| paused.partitions.clone()).unwrap_or_default();
        let topics = overdue.iter().map(|slot| Arc::clone(&slot.record().topic)).collect();
        if !self.replace(ReplaceReason { partitions, overdue: topics, largest: 0, activity_snapshot: None }) {
            inner.time_out_overdue(&overdue, Instant::now());
        }
        true
    }

    /// Returns whether a broker answers now. Serves events and deadlines meanwhile.
    fn broker_answers(&mut self) -> bool {
        let inner = self.inner;
        let (answered, answer) = mpsc::channel();
        let asks = Arc::clone(inner);
        let ask = move || {
            // The event loop may have stopped waiting.
            let _ = answered.send(asks.client.metadata(None, MIN_AGE).is_ok());
        };
        if std::thread::Builder::new().name("kafka-tower-question".to_owned()).spawn(ask).is_err() {
            return false;
        }
        let end = Instant::now() + MIN_AGE;
        loop {
            let now = Instant::now();
            match answer.try_recv() {
                Ok(answers) => return answers,
                Err(mpsc::TryRecvError::Disconnected) => return false,
                Err(mpsc::TryRecvError::Empty) => {}
            }
            if now >= end || inner.closing().deadline().is_some_and(|deadline| deadline <= now) {
                return false;
            }
            inner.ledger().watch_again(&inner.expire_due(now), now + CHECK_INTERVAL);
            self.serve(CHECK_INTERVAL);
        }
    }

    fn replace(&mut self, mut why: ReplaceReason) -> bool {
        let inner = self.inner;
        let new = Instance::create(inner.config());
        if let Some(watch) = &mut self.watch {
            watch.back_off.replaced(Instant::now());
        }
        let new = match new {
            Ok(new) => new,
            Err(error) => {
                tracing::error!(%error, "a Kafka client that is stuck cannot be replaced");
                return false;
            }
        };
        if !matches!(self.readiness(&new), Readiness::Ready) {
            tracing::warn!("a Kafka client that is stuck is not replaced now: a new one cannot deliver");
            retire(inner, new);
            return false;
        }
        inner.client.hold_all();
        // From here to the end of the hold nothing may panic. Dropped records, wakers and the log are foreign code.
        self.guarded("a record", |this| {
            this.wait_for_others(&why);
            let sizes = |slot: &Arc<Slot>| why.concerns(slot).then(|| slot.record().size());
            why.largest = inner.in_producer(false).iter().filter_map(sizes).max().unwrap_or(0);
        });
        why.activity_snapshot = Some(inner.activity_snapshot());
        self.put_in_place(new, Some(why))
    }

    /// Puts the new instance in the client's place, while all records are held. The old one gives up its records: those
    /// that it certainly never sent go to the new one with the held ones.
    fn put_in_place(&mut self, new: Instance, why: Option<ReplaceReason>) -> bool {
        let inner = self.inner;
        let cause = why.as_ref().map(ReplaceReason::text);
        let Some(old) = inner.client.swap(new) else {
            inner.hand_over_all_held();
            return false;
        };
        let generation = inner.generation.fetch_add(1, Ordering::AcqRel) + 1;
        *lock(&inner.replaced_for) = why;
        let (sent_again, lost) = self.empty(&old);
        *lock(&inner.replaced_for) = None;
        // Before the old instance ends, which owns the old queue.
        if let Some(queue) = inner.client.queue() {
            self.queue = queue;
        }
        self.implied.forget_partitions();
        self.forget_ended();
        inner.hand_over_all_held();
        match cause {
            Some(cause) => tracing::warn!(generation, cause, sent_again, "a Kafka client that was stuck was replaced"),
            None => tracing::warn!(generation, sent_again, "a Kafka client that had ended was replaced"),
        }
        if lost > 0 {
            tracing::error!(records = lost, "librdkafka did not report records that it was told to give up");
        }
        retire(inner, old);
        true
    }

    /// Waits until the new instance can deliver: it has reached a broker, and has a producer id if it needs one. The
    /// old instance continues meanwhile.
    fn readiness(&mut self, new: &Instance) -> Readiness {
        let inner = self.inner;
        let (answered, answer) = mpsc::channel();
        let asks = new.clone();
        let ask = move || {
            // The event loop may have stopped waiting.
            let _ = answered.send(asks.wait_for_broker(CONNECT_TIME));
        };
        if std::thread::Builder::new().name("kafka-tower-connect".to_owned()).spawn(ask).is_err() {
            return Readiness::NotReady;
        }
        let (mut reached, mut has_id) = (false, !inner.is_idempotent());
        let (queue, mut none) = (new.queue(), Vec::new());
        let end = Instant::now() + CONNECT_TIME;
        loop {
            let now = Instant::now();
            inner.ledger().watch_again(&inner.expire_due(now), now + CHECK_INTERVAL);
            let mut event = |event: Event<'_>| match event {
                Event::Log { level, facility, text } => {
                    let (facility, text) = (facility.to_string_lossy(), text.to_string_lossy());
                    has_id |= event_loop::is_producer_id(&facility, &text);
                    inner.log.librdkafka(level, &facility, &text, now);
                }
                Event::Error { code, text, .. } => {
                    inner.log.write(Source::Client { code }, &text.to_string_lossy(), now);
                }
                Event::TokenRefresh => inner.hooks.refresh_token(new.tokens()),
                _ => {}
            };
            while queue.poll(Duration::ZERO, &mut none, &mut event) {}
            if let Some((code, text)) = new.fatal_error() {
                return Readiness::Ended(FatalCause { code, text });
            }
            reached |= answer.try_recv() == Ok(true);
            if reached && has_id {
                return Readiness::Ready;
            }
            if now >= end || inner.closing().deadline().is_some_and(|deadline| deadline <= now) {
                return Readiness::NotReady;
            }
            self.serve(CHECK_INTERVAL);
        }
    }

    /// Waits until the records in flight to other partitions that still deliver are settled, for a limited time.
    fn wait_for_others(&mut self, why: &ReplaceReason) {
        let inner = self.inner;
        let end = Instant::now() + MAX_HOLD;
        loop {
            let now = Instant::now();
            // The old instance gives up records that were in flight for too long, and all others of their topics.
            drop(inner.expire_due(now));
            let records = inner.in_producer(false);
            let others = records.iter().filter(|slot| !why.concerns(slot)).map(|slot| Other {
                topic: &slot.record().topic,
                partition: slot.record().partition,
                age: now.saturating_duration_since(slot.called_at()),
                is_awaited: slot.is_awaited_in_producer(),
            });
            let waits = hold::waits_for(others, MAX_HOLD);
            if !waits || now >= end || inner.closing().deadline().is_some_and(|deadline| deadline <= now) {
                return;
            }
            inner.client.flush(Duration::ZERO);
            self.serve(CHECK_INTERVAL / 4);
        }
    }

    /// Makes the old instance give up its records, and holds those that it certainly never sent. Returns their number, and
    /// the number of records without a report.
    fn empty(&mut self, old: &Instance) -> (usize, usize) {
        if let Some(watch) = &mut self.watch {
            watch.taken_back = Some(0);
            watch.old = Some(old.clone());
        }
        let end = Instant::now() + PURGE_TIME;
        while old.queued() > 0 && Instant::now() < end {
            old.purge();
            while self.serve(PURGE_AGAIN) {}
        }
        let Some(watch) = &mut self.watch else { return (0, old.queued()) };
        watch.paused = None;
        watch.old = None;
        watch.troubles.clear();
        let held_again = watch.replacement.as_ref().map_or(0, |replacement| replacement.held_again);
        (watch.taken_back.take().unwrap_or_default() + held_again, old.queued())
    }
}

/// Keeps the partitions with a waiting record of at least the minimum age.
fn keep_old(partitions: &mut BTreeMap<Partition, StuckReason>, records: &[Arc<Slot>], now: Instant) {
    let old = |slot: &Arc<Slot>| now.saturating_duration_since(slot.called_at()) >= MIN_AGE;
    partitions.retain(|(topic, _), _| records.iter().any(|slot| *slot.record().topic == **topic && old(slot)));
}

/// Ends an instance, on a thread of its own, because one of its threads may be resolving a name.
pub(crate) fn retire(inner: &Arc<TransportInner>, instance: Instance) {
    let retiring = Arc::clone(inner);
    let retire = std::thread::Builder::new().name("kafka-tower-retire".to_owned());
    if let Err(error) = retire.spawn(move || retiring.retire(instance)) {
        tracing::warn!(%error, "no thread could be started to destroy a producer");
    }
}

impl EventLoop<'_> {
    /// Puts a new instance that has the transactional id in the client's place. No record is in flight.
    pub(crate) fn take_successor(&mut self) {
        let inner = self.inner;
        let Some(new) = inner.successor.take() else { return };
        if let Some(old) = inner.client.swap(new) {
            self.implied.forget_partitions();
            // Before the old instance ends, which owns the old queue.
            if let Some(queue) = inner.client.queue() {
                self.queue = queue;
            }
            inner.generation.fetch_add(1, Ordering::AcqRel);
            retire(inner, old);
        }
        inner.successor.in_place();
    }

    /// Retires an isolated producer with partitions in trouble: the next isolated record gets a new one.
    pub(crate) fn handle_stuck_isolated(&mut self, client: &Client, now: Instant) {
        let Some(watch) = self.watch.as_mut().filter(|watch| !watch.has_no_trouble()) else { return };
        watch.troubles.forget(now);
        let mut partitions = watch.troubles.stuck();
        if partitions.is_empty() {
            return;
        }
        keep_old(&mut partitions, &self.inner.in_producer(true), now);
        if partitions.is_empty() {
            return;
        }
        watch.troubles.clear();
        let why = ReplaceReason { partitions, overdue: Vec::new(), largest: 0, activity_snapshot: None };
        let inner = Arc::clone(self.inner);
        let closed = Arc::clone(&inner);
        self.inner.isolated.retire_after(
            client,
            move || closed.closing().is_done(),
            move |client| inner.end_isolated(client, why, now),
        );
    }
}

impl TransportInner {
    /// Lets an isolated producer deliver records to partitions that are not in trouble, for a limited time. Blocks.
    fn end_isolated(&self, client: &Client, mut why: ReplaceReason, since: Instant) {
        tracing::warn!(cause = why.text(), "the Kafka client of isolated records was stuck and is replaced");
        client.pause(why.partitions.keys());
        let end = Instant::now() + MAX_HOLD;
        loop {
            let now = Instant::now();
            let records = self.in_producer(true);
            why.largest =
                records.iter().filter(|slot| why.concerns(slot)).map(|slot| slot.record().size()).max().unwrap_or(0);
            let waits = records.iter().any(|slot| slot.called_at() <= since && !why.concerns(slot));
            if !waits || now >= end || self.closing().deadline().is_some_and(|deadline| deadline <= now) {
                break;
            }
            client.flush(Duration::ZERO);
            std::thread::sleep(CHECK_INTERVAL);
        }
        *lock(&self.isolated_replaced_for) = Some(why);
    }

    /// Ends an instance. Blocks.
    pub(crate) fn retire(self: &Arc<Self>, old: Instance) {
        old.give_up(|slot| {
            let permit = self.settle(slot, Err(classify::lost(&slot.record().topic)));
            self.release(permit);
        });
        drop(old);
    }
}
