//! The transactions of the loop: one at a time.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use kafka_tower_core::Error;
use kafka_tower_core::clock::later;
use tokio::time::{Instant, sleep_until};

use super::super::BoxFuture;
use super::super::cut::{Cut, cut};
use super::super::end::{self, Batch, Ended};
use super::super::plan::{self, AfterAbort};
use super::{Driver, Running};
use crate::source::SourceError;
use crate::source::shared::now;
use crate::source::telemetry::TransactionOutcome;

/// How long nothing has to be done before a transaction commits only positions, unless `max_age` is longer.
const QUIET: Duration = Duration::from_secs(1);

impl<T, U, H, Fut> Driver<T, U, H, Fut>
where
    T: Send + 'static,
    U: Send + 'static,
    Fut: Future,
{
    pub(super) fn poll_transaction(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(running) = &mut self.transaction else { return false };
        let Poll::Ready(ended) = running.future.as_mut().poll(cx) else { return false };
        let Some(Running { batch, begun, .. }) = self.transaction.take() else { return false };
        if let Some(end) = end_of(&ended) {
            self.source.shared.hooks.transaction(end, begun.elapsed(), batch.records);
        }
        let only_positions = batch.spans.is_empty();
        match ended {
            Ended::Committed => {
                (self.failed, self.positions_failed) = (0, 0);
                self.max = self.max.saturating_mul(2).min(self.limits.records);
            }
            Ended::Aborted(cause) if only_positions => self.positions_failed(cause.as_ref()),
            Ended::Aborted(cause) => self.aborted(&batch, cause),
            Ended::Unknown(error) => self.positions_failed(Some(&error)),
            Ended::Stopped(error) => self.give_up(&batch, SourceError::transaction(error)),
            Ended::Moved(error) => self.give_up(&batch, SourceError::moved(&batch.spans, error)),
        }
        true
    }

    /// Positions were not committed, as far as is known. They are not worth an end.
    fn positions_failed(&mut self, cause: Option<&Error>) {
        let error = cause.map(Error::message);
        tracing::warn!(error, "a transaction that commits only positions has failed, and is tried again");
        self.positions_at = Some(Instant::now() + plan::backoff(self.positions_failed).max(QUIET));
        self.positions_failed += 1;
    }

    fn aborted(&mut self, batch: &Batch, cause: Option<Error>) {
        let (records, error) = (batch.records, cause.as_ref().map(Error::message));
        tracing::warn!(records, error, "a transaction was aborted");
        // Without a cause, some of its partitions are not ours any more.
        let after = cause.as_ref().map(|cause| plan::after_abort(cause, self.failed, records, self.max));
        self.failed += u32::from(cause.is_some());
        match (after, cause) {
            (Some(AfterAbort::Fail), Some(cause)) => {
                self.give_up(batch, SourceError::transaction(cause).about(&batch.spans));
            }
            (Some(AfterAbort::Replay(delay, max)), _) => {
                self.max = max.max(1);
                self.rewind(batch, delay);
            }
            _ => self.rewind(batch, Duration::ZERO),
        }
    }

    /// Ends without another transaction: what is left is read again from the group's committed offsets.
    fn give_up(&mut self, batch: &Batch, error: SourceError) {
        self.rewind(batch, Duration::ZERO);
        let rest: Vec<_> = self.reorder.partitions().cloned().collect();
        self.forget(&rest);
        self.stop.get_or_insert(error);
    }

    /// Reads the records of a batch again, and what follows them.
    fn rewind(&mut self, batch: &Batch, delay: Duration) {
        let rewound = self.source.shared.rewind_spans(&batch.spans, later(now(), delay));
        // Not the others: what is there of them belongs to a later epoch.
        self.forget(&rewound);
    }

    /// Begins a transaction when it is time.
    pub(super) fn begin(&mut self, cx: &mut Context<'_>) -> bool {
        if self.transaction.is_some() {
            return false;
        }
        let is_urgent = self.is_closing || self.is_draining || self.stop.is_some();
        let age = self.ready_since.map_or(Duration::ZERO, |since| since.elapsed());
        match cut(self.reorder.ready(), self.max, age, self.limits.age, is_urgent) {
            Cut::Later => self.begin_positions(is_urgent, cx),
            Cut::In(left) => self.wait_until(Instant::now() + left, cx),
            Cut::Now => {
                let (batch, outputs) = Batch::of(self.reorder.take(self.max));
                let batch = Arc::new(batch);
                self.ready_since = None;
                let (shared, letters) = (Arc::clone(&self.source.shared), self.letters.clone());
                let running = end::run(shared, self.sink.clone(), letters, Arc::clone(&batch), outputs);
                self.set_running(batch, Box::pin(running));
                true
            }
        }
    }

    /// Begins a transaction that commits only positions, if nothing else was to be done for a while. Otherwise the group would
    /// show a lag behind transaction markers until the next message comes.
    fn begin_positions(&mut self, is_urgent: bool, cx: &mut Context<'_>) -> bool {
        if is_urgent || self.reorder.len() > 0 || !self.source.shared.has_passed() {
            (self.timer, self.positions_at) = (None, None);
            return false;
        }
        let at = *self.positions_at.get_or_insert_with(|| Instant::now() + self.limits.age.max(QUIET));
        if at > Instant::now() {
            return self.wait_until(at, cx);
        }
        self.positions_at = None;
        let running = end::run_positions(Arc::clone(&self.source.shared), self.sink.clone());
        self.set_running(Arc::default(), Box::pin(running));
        true
    }

    fn set_running(&mut self, batch: Arc<Batch>, future: BoxFuture<Ended>) {
        self.timer = None;
        self.transaction = Some(Running { batch, begun: Instant::now(), future });
    }

    /// Whether it is time. If not, the task is woken then.
    fn wait_until(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

/// What telemetry counts.
fn end_of(ended: &Ended) -> Option<TransactionOutcome> {
    match ended {
        Ended::Committed => Some(TransactionOutcome::Committed),
        Ended::Aborted(_) => Some(TransactionOutcome::Aborted),
        Ended::Unknown(_) | Ended::Moved(_) => Some(TransactionOutcome::Unknown),
        // None was begun, or it was counted when it ended.
        Ended::Stopped(_) => None,
    }
}
