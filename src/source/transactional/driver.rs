//! Reads, runs the handlers, and gives their results to one transaction at a time.

mod transactions;

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use kafka_tower_core::clock::later;
use kafka_tower_core::{BoxError, RawRecord, SinkMessage, TopicPartition};
use kafka_tower_layers::dead_letter::FailedRecord;
use tokio::time::{Instant, Sleep};

use super::cut::{Place, Reorder, Unfinished};
use super::end::{Batch, Ended};
use super::handlers::{Answered, Finished, Handlers, Panicked, Waiting};
use super::letters::{self, DeadLetters, Made};
use super::{BoxFuture, Limits};
use crate::sink::KafkaSink;
use crate::source::failure::Failure;
use crate::source::log::Event;
use crate::source::receipt::{Effect, Settle};
use crate::source::serve::Verdict;
use crate::source::serve::lanes::Lanes;
use crate::source::shared::now;
use crate::source::{KafkaSource, SourceCloseReport, SourceError, SourceErrorKind, SourceMessage};

/// A transaction that runs.
struct Running {
    batch: Arc<Batch>,
    begun: Instant,
    future: BoxFuture<Ended>,
}

pub(super) struct Driver<T, U, H, Fut> {
    source: KafkaSource<T>,
    sink: KafkaSink<U>,
    handler: H,
    limits: Limits,
    until: Option<BoxFuture<()>>,
    handlers: Handlers<T, Fut>,
    reorder: Reorder<Made<U>>,
    letters: Option<DeadLetters>,
    /// Since when a result can leave.
    ready_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    transaction: Option<Running>,
    /// When a transaction commits only positions, if nothing comes before.
    positions_at: Option<Instant>,
    /// Number of such transactions since the last commit that were not committed.
    positions_failed: u32,
    /// Number of transactions since the last commit that were aborted for a cause.
    failed: u32,
    /// Number of records that a transaction takes now: fewer after one whose outputs were refused.
    max: usize,
    is_closing: bool,
    is_draining: bool,
    /// Why the loop ends.
    stop: Option<SourceError>,
}

impl<T, U, H, Fut, I, E> Driver<T, U, H, Fut>
where
    T: Send + 'static,
    U: Send + 'static,
    H: FnMut(SourceMessage<T>) -> Fut,
    Fut: Future<Output = Result<I, E>>,
    I: IntoIterator,
    I::Item: Into<SinkMessage<U>>,
    E: Into<BoxError>,
{
    pub(super) fn new(
        source: KafkaSource<T>,
        sink: KafkaSink<U>,
        handler: H,
        limits: Limits,
        letters: Option<DeadLetters>,
        until: Option<BoxFuture<()>>,
    ) -> Self {
        let max = limits.records;
        let lanes = Lanes::new(limits.order, limits.concurrency).limit_bytes(source.buffer_bytes);
        Self {
            source,
            sink,
            handler,
            handlers: Handlers::new(lanes),
            limits,
            until,
            reorder: Reorder::new(),
            letters,
            ready_since: None,
            timer: None,
            transaction: None,
            positions_at: None,
            positions_failed: 0,
            failed: 0,
            max,
            is_closing: false,
            is_draining: false,
            stop: None,
        }
    }

    pub(super) async fn run(mut self) -> Result<SourceCloseReport, SourceError> {
        poll_fn(|cx| self.poll(cx)).await;
        match self.stop {
            None => Ok(self.source.close().await),
            // No time for messages that are left: their handlers do not run any more.
            Some(error) => Err(error.closed_with(self.source.close_within(Duration::ZERO).await)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.look(cx);
            let mut moved = self.poll_handlers(cx);
            moved |= self.poll_transaction(cx);
            moved |= self.receive(cx);
            moved |= self.start();
            moved |= self.begin(cx);
            let ends = self.is_closing || self.stop.is_some();
            if ends && self.transaction.is_none() && self.handlers.is_empty() && self.reorder.ready() == 0 {
                return Poll::Ready(());
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    /// Looks at what the group has changed, and registers for more.
    fn look(&mut self, cx: &mut Context<'_>) {
        if self.until.as_mut().is_some_and(|until| until.as_mut().poll(cx).is_ready()) {
            self.until = None;
            // Goes on without being polled.
            drop(self.source.close());
        }
        let mut state = self.source.shared.state();
        let old = state.reader.replace(cx.waker().clone());
        self.is_closing = state.engine.is_closing();
        let stale = self.reorder.forget_stale(|at, id| state.engine.is_current(at, id));
        let draining = self.reorder.partitions().filter(|at| state.engine.is_draining(at));
        let mut ending: Vec<_> = draining.cloned().collect();
        drop(state);
        self.is_draining = !ending.is_empty();
        if let Some(stop) = &self.stop {
            // What is before the message that ends it is handled. Otherwise a restart would find the same.
            let place = stop.place().map(|(at, _)| at);
            ending = self.reorder.partitions().filter(|at| Some(*at) != place).cloned().collect();
        }
        if !stale.is_empty() {
            self.cancel();
        }
        // Foreign values, so without the lock.
        drop((old, stale));
        ending.iter().for_each(|at| self.give_up_rest(at));
    }

    /// A partition is given back: messages whose handlers have not begun are not waited for.
    fn give_up_rest(&mut self, at: &TopicPartition) {
        let rest = self.reorder.give_up_rest(at);
        for id in &rest {
            self.source.shared.settle(at, *id, Settle::GiveBack(0), &Effect::default());
        }
        if !rest.is_empty() {
            self.cancel();
        }
    }

    fn poll_handlers(&mut self, cx: &mut Context<'_>) -> bool {
        let ended = self.handlers.poll(cx);
        let moved = !ended.is_empty();
        for Answered { place, raw, span, result } in ended {
            let outputs = outputs(result);
            span.finish(outputs.as_ref().err().map(Failure::error_type));
            match outputs {
                Ok(outputs) => drop(self.reorder.finish(&place, Made::Outputs(outputs))),
                Err(cause) => self.fail(&place, raw, cause),
            }
        }
        if self.reorder.ready() == 0 {
            self.ready_since = None;
        } else {
            self.ready_since.get_or_insert_with(Instant::now);
        }
        moved
    }

    /// A handler has failed, and the policy decides. Those of other messages go on.
    fn fail(&mut self, place: &Place, raw: Option<Box<RawRecord>>, failure: Failure) {
        let Some(Unfinished { id, offset, attempt }) = self.reorder.record(place) else { return };
        let (at, verdict) = (&place.at, self.limits.policy.decide(attempt));
        match verdict {
            Verdict::Skip => {
                self.source.shared.log.write(Event::Skipped, (at, offset), Some(attempt), Some(&failure), now());
                self.reorder.skip(place);
                self.source.shared.settle(at, id, Settle::Skip, &Effect::default());
            }
            Verdict::Retry(delay) => {
                self.source.shared.log.write(Event::Failed, (at, offset), Some(attempt), Some(&failure), now());
                self.reorder.fail(place);
                self.source.shared.retry(at, id, later(now(), delay));
            }
            Verdict::Fail | Verdict::DeadLetter => match raw {
                Some(raw) => {
                    tracing::warn!(partition = %at, offset, attempt, error = %failure, "a message was not handled, and is dead-lettered");
                    let failed = letters::failed(*raw, &failure, attempt);
                    self.dead_letter(place, failed.with_group(Arc::clone(self.source.shared.group())));
                }
                None => {
                    self.reorder.fail(place);
                    self.stop.get_or_insert_with(|| SourceError::not_handled(at, offset, attempt, failure));
                }
            },
        }
        self.cancel();
    }

    /// The result of a message is its dead letter.
    fn dead_letter(&mut self, place: &Place, failed: FailedRecord) {
        let Some(letters) = &self.letters else { return };
        let offset = failed.record.offset;
        match letters.layer.letter(failed) {
            Ok(letter) => drop(self.reorder.finish(place, Made::Letter(Box::new(letter)))),
            Err(error) => {
                self.reorder.fail(place);
                self.stop.get_or_insert_with(|| SourceError::letter_refused(&place.at, offset, error));
            }
        }
    }

    /// A record that cannot be decoded. Without dead letters it ends the loop.
    fn undecoded(&mut self, error: SourceError) {
        if self.letters.is_none() {
            self.stop = Some(error);
            return;
        }
        let Some((failed, receipt)) = error.into_failed() else { return };
        let (at, offset) = (receipt.at(), receipt.offset());
        tracing::warn!(partition = %at, offset, attempt = failed.attempts, "a record could not be decoded, and is dead-lettered");
        let place = self.reorder.enter(at, receipt.detach(), offset, failed.attempts);
        self.dead_letter(&place, failed);
    }

    /// Takes messages while there is room for them.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while self.stop.is_none() && !self.is_closing {
            // For each partition: a slow key holds up its own partition only.
            let room = |at: &TopicPartition| self.handlers.room(at).min(self.reorder.room(at, self.limits.records));
            match self.source.reader.poll(&self.source.shared, room, cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(message)) => {
                    let (at, id, offset) = message.detach();
                    let place = self.reorder.enter(&at, id, offset, message.attempt());
                    self.handlers.offer(place, message);
                }
                Poll::Ready(Err(error)) => match error.kind() {
                    SourceErrorKind::Closed => self.is_closing = true,
                    SourceErrorKind::Decode => self.undecoded(error),
                    SourceErrorKind::OffsetOutOfRange => self.stop = Some(error),
                    // It was logged, and the source goes on.
                    _ => {}
                },
            }
            moved = true;
        }
        moved
    }

    /// Starts handlers.
    fn start(&mut self) -> bool {
        let mut moved = false;
        while let Some((ticket, Waiting { place, message })) = self.handlers.next() {
            moved = true;
            self.reorder.begin(&place);
            let span = message.processing();
            // Only with dead letters, for which the source keeps it.
            let raw = message.raw().filter(|_| self.letters.is_some()).map(Box::new);
            let called = {
                let _current = span.attach();
                catch_unwind(AssertUnwindSafe(|| (self.handler)(message)))
            };
            match called {
                Ok(future) => self.handlers.push(ticket, place, raw, span, future),
                Err(_) => {
                    self.handlers.finish(ticket);
                    span.finish(Some(Failure::Panicked.error_type()));
                    self.fail(&place, raw, Failure::Panicked);
                }
            }
        }
        moved
    }
}

impl<T, U, H, Fut: Future> Driver<T, U, H, Fut> {
    /// Forgets the records of partitions, and cancels their handlers.
    fn forget(&mut self, partitions: &[TopicPartition]) {
        partitions.iter().for_each(|at| self.reorder.forget(at));
        self.cancel();
    }

    /// Cancels handlers whose result has no place any more.
    fn cancel(&mut self) {
        self.handlers.retain(|place| self.reorder.has(place));
    }
}

fn outputs<I, U, E>(result: Finished<Result<I, E>>) -> Result<Vec<SinkMessage<U>>, Failure>
where
    I: IntoIterator,
    I::Item: Into<SinkMessage<U>>,
    E: Into<BoxError>,
{
    match result {
        Ok(Ok(outputs)) => {
            let collect = || outputs.into_iter().map(Into::into).collect();
            catch_unwind(AssertUnwindSafe(collect)).map_err(|_| Failure::Panicked)
        }
        Ok(Err(error)) => Err(Failure::Error(error.into())),
        Err(Panicked) => Err(Failure::Panicked),
    }
}
