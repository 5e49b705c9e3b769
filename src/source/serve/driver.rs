//! Takes messages, calls the service, and settles what it answers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use kafka_tower_core::clock::later;
use kafka_tower_core::{BoxError, RawRecord, TopicPartition};
use kafka_tower_layers::dead_letter::FailedRecord;
use tokio::runtime::Handle;
use tower_service::Service;

use super::alarms::{Alarm, Alarms};
use super::lanes::{Lanes, Order, Ticket};
use super::policy::{FailurePolicy, Settlement, Verdict};
use super::slots::{Record, Slots};
use crate::source::contents::Contents;
use crate::source::failure::Failure;
use crate::source::letters::Letters;
use crate::source::log::Event;
use crate::source::shared::now;
use crate::source::{
    Acked, KafkaSource, Receipt, SourceCloseReport, SourceError, SourceErrorKind, SourceMessage, SourceRecovery,
};
use crate::waker_group::{ReadyQueue, WakerGroup};

/// Number of messages that are begun before other tasks run.
const BUDGET: usize = 128;

/// Index of the reader among those that wake the driver. Slots count from 0.
const READER: usize = usize::MAX;

pub(super) struct Driver<T, S: Service<SourceMessage<T>>> {
    pub(super) service: S,
    pub(super) policy: FailurePolicy,
    pub(super) record_timeout: Option<Duration>,
    pub(super) cancel_on_revoke: bool,
    pub(super) lanes: Lanes<SourceMessage<T>>,
    slots: Slots<T, S::Future>,
    alarms: Alarms,
    /// Dead letters, if that is the policy, from the first poll on. Polled before anything is begun, so that the end of one
    /// always finds a waker.
    letters: Option<Letters<Ticket>>,
    /// Numbers of the partitions in the lanes.
    partitions: BTreeMap<TopicPartition, usize>,
    queue: Arc<ReadyQueue>,
    /// Buffer for what has woken the driver. Empty between polls.
    woken: Vec<usize>,
    reader: WakerGroup,
    /// Whether there may be something to read.
    readable: bool,
    /// Whether a partition was not read, because the lanes have no room for it.
    full: bool,
    /// `State::changes` of the source when the driver looked last.
    changes: u64,
    closing: Option<Pin<Box<dyn Future<Output = SourceCloseReport> + Send>>>,
    /// Why it ends.
    error: Option<SourceError>,
    /// Dropped last: closes in the background.
    source: KafkaSource<T>,
}

/// No future is pinned here: they have boxes.
impl<T, S: Service<SourceMessage<T>>> Unpin for Driver<T, S> {}

impl<T, S> Driver<T, S>
where
    T: Send + 'static,
    S: Service<SourceMessage<T>>,
    S::Response: Into<Settlement>,
    S::Error: Into<BoxError>,
{
    /// Whether the source is not for `serve`.
    pub(super) fn is_transactional(&self) -> bool {
        self.source.shared.is_transactional()
    }

    pub(super) fn new(source: KafkaSource<T>, service: S) -> Self {
        let queue = Arc::default();
        Self {
            service,
            policy: FailurePolicy::default(),
            record_timeout: None,
            cancel_on_revoke: false,
            lanes: Lanes::new(Order::default(), super::CONCURRENCY).limit_bytes(source.buffer_bytes),
            slots: Slots::new(&queue),
            alarms: Alarms::default(),
            letters: None,
            partitions: BTreeMap::new(),
            reader: WakerGroup::new(READER, &queue),
            queue,
            woken: Vec::new(),
            readable: true,
            full: false,
            changes: 0,
            closing: None,
            error: None,
            source,
        }
    }

    pub(super) fn poll(
        &mut self,
        shutdown: impl FnOnce(&mut Context<'_>) -> Poll<()>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<SourceCloseReport, SourceError>> {
        let mut woken = std::mem::take(&mut self.woken);
        self.queue.take(cx.waker(), &mut woken);
        for index in woken.drain(..) {
            if index == READER {
                self.reader.begin_poll();
                self.readable = true;
                self.look_for_changes();
            } else {
                self.poll_slot(index);
            }
        }
        self.woken = woken;
        if let (None, Some(service)) = (&self.letters, self.policy.letters()) {
            self.letters = Some(Letters::new(service.clone(), Handle::current()));
            self.source.reader.keep_raw();
        }
        while let Some(Poll::Ready((ticket, error))) = self.letters.as_mut().map(|letters| letters.poll_ended(cx)) {
            if let Some(error) = error {
                self.end(error, |_| false);
            }
            self.finish(ticket);
        }
        if self.closing.is_none() && shutdown(cx).is_ready() {
            self.close(|_| false);
        }
        self.advance(cx);
        let Some(closing) = &mut self.closing else { return Poll::Pending };
        closing.as_mut().poll(cx).map(|report| match self.error.take() {
            Some(error) => Err(error.closed_with(report)),
            None => Ok(report),
        })
    }

    /// Begins messages, and lets those whose time has come go on, until nothing is left to do now.
    fn advance(&mut self, cx: &mut Context<'_>) {
        for _ in 0..BUDGET {
            if self.step(cx) {
                continue;
            }
            // Last, because a step may have set one.
            let Poll::Ready(alarm) = self.alarms.poll(cx) else { return };
            self.ring(alarm);
        }
        cx.waker().wake_by_ref();
    }

    /// Begins a message, or reads a batch, if there is a place and the service is ready. False if not.
    fn step(&mut self, cx: &mut Context<'_>) -> bool {
        let reads = self.readable && self.closing.is_none();
        if !self.lanes.has_place() || !self.lanes.has_ready() && !reads {
            return false;
        }
        let service = &mut self.service;
        let ended = match catch_unwind(AssertUnwindSafe(|| service.poll_ready(cx))) {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(Ok(()))) => {
                match self.lanes.next() {
                    Some((ticket, message)) => self.begin(ticket, message),
                    None => self.read(),
                }
                return true;
            }
            Ok(Poll::Ready(Err(error))) => Some(error.into()),
            Err(_) => None,
        };
        self.end(SourceError::service_ended(ended), |_| false);
        false
    }

    /// Reads a batch into the lanes.
    fn read(&mut self) {
        let waker = self.reader.waker().clone();
        let mut cx = Context::from_waker(&waker);
        loop {
            let (lanes, partitions, full) = (&self.lanes, &self.partitions, &mut self.full);
            let room = |at: &TopicPartition| {
                // One that is not known has no messages here.
                let room = lanes.room(partitions.get(at).copied().unwrap_or(usize::MAX));
                *full |= room == 0;
                room
            };
            match self.source.reader.poll(&self.source.shared, room, &mut cx) {
                Poll::Ready(Ok(message)) => self.offer(message),
                Poll::Ready(Err(error)) if error.kind() == SourceErrorKind::Closed => return self.close(|_| false),
                // It was logged when it came.
                Poll::Ready(Err(error)) if error.recovery() == SourceRecovery::Continue => {}
                Poll::Ready(Err(error)) => {
                    // What is before it is handled. Otherwise a restart would find the same, and nothing would go on.
                    let place = error.place().map(|(at, offset)| (at.clone(), offset));
                    return self.end(error, |message| {
                        let receipt = &message.receipt;
                        place.as_ref().is_some_and(|(at, offset)| receipt.at() == at && receipt.offset() < *offset)
                    });
                }
                Poll::Pending => {
                    self.readable = false;
                    return;
                }
            }
            if !self.source.reader.has_read() {
                return;
            }
        }
    }

    fn offer(&mut self, mut message: SourceMessage<T>) {
        message.receipt.wait();
        let at = message.receipt.at();
        let partition = match self.partitions.get(at) {
            Some(partition) => *partition,
            None => {
                let next = self.partitions.len();
                self.partitions.insert(at.clone(), next);
                next
            }
        };
        let lane = self.lanes.lane(partition, message.contents.key.as_deref());
        self.lanes.offer(partition, lane, message.contents.bytes, message);
    }

    fn begin(&mut self, ticket: Ticket, message: SourceMessage<T>) {
        let service = &mut self.service;
        let (slot, panicked) = self.slots.begin(ticket, message, |message| service.call(message));
        if panicked {
            return self.ended(slot, Err(Failure::Panicked));
        }
        if let Some(time) = self.record_timeout {
            let deadline = later(now(), time);
            self.alarms.add(deadline, Alarm::TimeOut(slot));
            self.slots.record(slot).into_iter().for_each(|record| record.deadline = Some(deadline));
        }
        self.poll_slot(slot);
    }

    fn poll_slot(&mut self, slot: usize) {
        if let Poll::Ready(answer) = self.slots.poll(slot) {
            let answer = match answer {
                Ok(Ok(response)) => Ok(response.into()),
                Ok(Err(error)) => Err(Failure::Error(error.into())),
                Err(()) => Err(Failure::Panicked),
            };
            self.ended(slot, answer);
        }
    }

    fn ring(&mut self, alarm: Alarm) {
        match alarm {
            Alarm::Resume(ticket) => self.lanes.resume(ticket),
            Alarm::TimeOut(slot) => {
                let time = self.record_timeout.unwrap_or_default();
                self.ended(slot, Err(Failure::TimedOut(time)));
            }
        }
    }

    /// The service has answered, or will not.
    fn ended(&mut self, slot: usize, answer: Result<Settlement, Failure>) {
        let Some((record, contents)) = self.slots.end(slot) else { return };
        let Record { ticket, receipt, attempt, raw, deadline, span } = record;
        span.finish(answer.as_ref().err().map(Failure::error_type));
        if let Some(deadline) = deadline {
            self.alarms.remove(deadline, Alarm::TimeOut(slot));
        }
        match answer {
            Ok(Settlement::Ack) => drop(receipt.ack()),
            Ok(Settlement::Skip(reason)) => skip(&receipt, attempt, &reason),
            // Another member handles it.
            _ if receipt.is_stale(&self.source.shared.state().engine) => {}
            Ok(Settlement::Retry(after)) => return self.again(ticket, receipt, contents, after),
            Ok(Settlement::DeadLetter(reason)) => {
                return self.dead_letter(ticket, receipt, raw, attempt, ("Handler", reason));
            }
            Err(failure) => match self.policy.decide(attempt) {
                Verdict::Retry(after) => {
                    receipt.log(Event::Failed, Some(attempt), Some(&failure));
                    return self.again(ticket, receipt, contents, after);
                }
                Verdict::Skip => skip(&receipt, attempt, &failure),
                Verdict::DeadLetter => {
                    receipt.log(Event::Failed, Some(attempt), Some(&failure));
                    return self.dead_letter(ticket, receipt, raw, attempt, failure.own_texts());
                }
                Verdict::Fail => {
                    let error = SourceError::not_handled(receipt.at(), receipt.offset(), attempt, failure);
                    self.end(error, |_| false);
                }
            },
        }
        self.finish(ticket);
    }

    /// Sends the dead letter of a message. Its lane waits for that.
    fn dead_letter(
        &mut self,
        ticket: Ticket,
        receipt: Receipt,
        raw: Option<Box<RawRecord>>,
        attempt: u32,
        (kind, reason): (&'static str, Cow<'static, str>),
    ) {
        let refused = match (&mut self.letters, raw) {
            (Some(letters), Some(raw)) => {
                let failed = FailedRecord::new(*raw, kind, reason).with_attempts(attempt);
                let failed = failed.with_group(Arc::clone(receipt.group()));
                return letters.send(failed, receipt, ticket);
            }
            (None, _) => ("no dead letter service is set", "set one: `FailurePolicy::then_dead_letter`"),
            (_, None) => ("its original bytes were not kept", "build the source with `keep_raw`, and start again"),
        };
        let error = SourceError::no_dead_letter(receipt.at(), receipt.offset(), refused.0, refused.1);
        self.end(error, |_| false);
        self.finish(ticket);
    }

    /// The message is handled again.
    fn again(&mut self, ticket: Ticket, receipt: Receipt, contents: Option<Contents<T>>, after: Duration) {
        let stays = self.closing.is_none() && receipt.may_begin(&self.source.shared.state().engine);
        if let (true, Some(mut contents)) = (stays, contents) {
            contents.attempt = contents.attempt.saturating_add(1);
            self.lanes.pause(ticket, SourceMessage { contents, receipt });
            self.alarms.add(later(now(), after), Alarm::Resume(ticket));
            return;
        }
        // It has to be read again. What was read behind it would overtake it.
        let (at, offset) = (receipt.at().clone(), receipt.offset());
        drop(receipt);
        let behind = |other: &SourceMessage<T>| *other.receipt.at() == at && other.receipt.offset() > offset;
        drop(self.lanes.retain(|other| !behind(other)));
        self.finish(ticket);
    }

    /// Lets the next message of the lane begin.
    fn finish(&mut self, ticket: Ticket) {
        self.lanes.finish(ticket);
        self.readable |= std::mem::take(&mut self.full);
    }

    /// Puts back what may not begin any more.
    fn look_for_changes(&mut self) {
        let shared = &self.source.shared;
        let mut state = shared.state();
        let old = state.reader.replace(self.reader.waker().clone());
        if state.changes == self.changes {
            return;
        }
        self.changes = state.changes;
        let engine = &state.engine;
        let closing = self.closing.is_some();
        let keeps = |receipt: &Receipt| if closing { !receipt.is_stale(engine) } else { receipt.may_begin(engine) };
        let gone = self.lanes.retain(|message| keeps(&message.receipt));
        let cancels = self.cancel_on_revoke;
        let stale = self.slots.filter(|record| cancels && record.receipt.is_stale(engine));
        let source_closes = engine.is_closing();
        drop(state);
        drop((gone, old));
        for slot in stale {
            let Some((record, _)) = self.slots.end(slot) else { continue };
            tracing::debug!(partition = %record.receipt.at(), offset = record.receipt.offset(), "a message was cancelled");
            if let Some(deadline) = record.deadline {
                self.alarms.remove(deadline, Alarm::TimeOut(slot));
            }
            self.finish(record.ticket);
        }
        if source_closes && !closing {
            self.close(|_| false);
        }
    }

    /// Ends with an error. Waiting messages for which `keep` is false do not begin.
    fn end(&mut self, error: SourceError, keep: impl Fn(&SourceMessage<T>) -> bool) {
        match self.error {
            None => self.error = Some(error),
            Some(_) => tracing::warn!("{error}"),
        }
        self.close(keep);
    }

    /// Takes no more messages, puts those back for which `keep` is false, and closes the source when the others have ended.
    fn close(&mut self, keep: impl Fn(&SourceMessage<T>) -> bool) {
        if self.closing.is_none() {
            self.closing = Some(Box::pin(self.source.close()));
        }
        drop(self.lanes.retain(keep));
    }
}

/// Settles a message that was not handled.
fn skip(receipt: &Receipt, attempt: u32, reason: &dyn std::fmt::Display) {
    if receipt.skip() == Acked::Counted {
        receipt.log(Event::Skipped, Some(attempt), Some(reason));
    }
}
