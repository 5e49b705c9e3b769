//! The owner task of a lane: the only one that begins, sends, commits and aborts.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use kafka_tower_core::{Control, Delivery, Error, Persistence, Record, Result, TransactionControl};
use tokio::time::{Instant, sleep, timeout_at};
use tower_service::Service;

use super::attempt::{Attempt, abort, attempt};
use super::batch::{Batch, Failure, Stage};
use super::cut::Decision;
use super::decide::{AfterAbort, Left, Recover, after_abort, after_unclean};
use super::errors;
use super::event::TransactionOutcome;
use super::inner::{BatchInner, Lane};
use super::offsets::refuses_group;
use super::open::Open;

/// What the owner task of a lane has.
pub(super) struct Worker<S: Service<Record>> {
    pub(super) inner: Arc<BatchInner>,
    pub(super) lane: usize,
    /// Cloned for each attempt, so that a service that panicked is not used again.
    pub(super) prototype: S,
    /// The futures of the transaction that is under way.
    pub(super) open: Open<S::Future>,
    pub(super) transactions: Arc<dyn TransactionControl>,
    /// When the last attempt began.
    pub(super) begun: Instant,
    /// Makes a new transport for the lane with this index. Declared last: it may hold what must outlive the transports.
    pub(super) connect: Option<Connect<S>>,
}

/// Makes the transport of a lane.
pub(super) type Connect<S> = Arc<dyn Fn(usize) -> Connecting<S> + Send + Sync>;
type Connecting<S> = Pin<Box<dyn Future<Output = Result<(S, Arc<dyn Control>)>> + Send>>;

/// Where a batch goes after an attempt.
enum Next {
    Done,
    /// Send these batches again, in order, after the time.
    Again(Duration, VecDeque<Batch>),
    /// The transaction has no clean end, for this reason. Bring the lane back, then send these batches.
    Recover(Left, Error, VecDeque<Batch>),
}

impl<S> Worker<S>
where
    S: Service<Record, Response = Delivery> + Clone + Send + 'static,
    S::Error: Into<Error>,
    S::Future: Send,
{
    pub(super) async fn run(mut self) {
        // Also if the runtime ends: later calls must not wait for a task that is gone.
        let _ended = Ended(Arc::clone(&self.inner), self.lane);
        let inner = Arc::clone(&self.inner);
        let lane = &inner.lanes[self.lane];
        while let Some(batch) = next(&inner, lane).await {
            let stopped = {
                let mut stop = pin!(lane.stop.notified());
                let mut work = pin!(self.end(batch));
                poll_fn(|cx| {
                    if let Poll::Ready(producer_goes_on) = work.as_mut().poll(cx) {
                        return Poll::Ready(!producer_goes_on);
                    }
                    stop.as_mut().poll(cx).map(|()| true)
                })
                .await
            };
            if stopped {
                return;
            }
        }
    }

    pub(super) fn lane(&self) -> &Lane {
        &self.inner.lanes[self.lane]
    }

    /// Brings a batch to its end. Returns whether the producer can be used for the next one.
    async fn end(&mut self, batch: Batch) -> bool {
        let mut batches = VecDeque::from([batch]);
        while let Some(batch) = batches.pop_front() {
            match self.once(batch).await {
                Next::Done => {}
                Next::Again(wait, mut again) => {
                    again.append(&mut batches);
                    batches = again;
                    if !wait.is_zero() {
                        sleep(wait).await;
                    }
                }
                Next::Recover(left, cause, mut again) => {
                    again.append(&mut batches);
                    batches = again;
                    if let Err(cause) = self.recover(left, cause).await {
                        self.finish(batches, cause);
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Ends the lane: its producer cannot be used any more, nor replaced.
    fn finish(&self, mut batches: VecDeque<Batch>, cause: Error) {
        tracing::error!(
            lane = self.lane,
            error.type = cause.error_type(),
            error = cause.message(),
            "a transaction ended its producer: the batching layer takes no more records for it"
        );
        // Their transaction was not committed.
        for batch in &mut batches {
            batch.fail(|topic| errors::not_committed(topic, &cause));
        }
        self.inner.finish(self.lane(), Arc::new(move |topic| errors::finished(topic, &cause)));
    }

    /// Makes one attempt, and decides what follows.
    async fn once(&mut self, mut batch: Batch) -> Next {
        let timeout = self.inner.settings.timeout;
        // `&mut`, because a shared reference would require `S: Sync`.
        let (prototype, open, transactions, of) =
            (&mut self.prototype, &mut self.open, &*self.transactions, &mut batch);
        let control = self.inner.lanes[self.lane].control();
        self.begun = Instant::now();
        of.attempts += 1;
        let made = caught(async move {
            let mut service = prototype.clone();
            attempt(of, &mut service, open, &*control, transactions, timeout).await
        })
        .await;
        match made {
            Ok(Attempt::Committed(deliveries)) => {
                batch.report(self.lane, self.begun.elapsed(), TransactionOutcome::Committed, None);
                batch.committed(deliveries);
                Next::Done
            }
            Ok(Attempt::Aborted(failure)) => {
                self.report(&batch, TransactionOutcome::Aborted, &failure);
                self.after_abort(batch, failure)
            }
            Ok(Attempt::Refused(cause)) => {
                batch.fail(|_| cause.clone());
                Next::Done
            }
            Ok(Attempt::Unclean(left, persistence, cause)) => self.unclean(batch, left, persistence, cause),
            Err(Panicked) => {
                self.open.clear(0);
                self.after_panic(batch).await
            }
        }
    }

    fn report(&self, batch: &Batch, outcome: TransactionOutcome, failure: &Failure) {
        batch.report(self.lane, self.begun.elapsed(), outcome, Some(failure));
    }

    /// A transaction without a clean end. Its records are settled, unless they were certainly not committed: then they are
    /// sent again once the lane is back.
    fn unclean(&self, mut batch: Batch, left: Left, persistence: Persistence, cause: Error) -> Next {
        if left != Left::Nothing {
            let failure = Failure::new(cause.clone(), Vec::new());
            self.report(&batch, TransactionOutcome::of(persistence), &failure);
        }
        let goes_on = self.after_unclean(left, &cause) != Recover::Finish;
        let mut again = VecDeque::new();
        if persistence != Persistence::NotPersisted {
            batch.fail(|topic| errors::unknown(topic, &cause, goes_on));
        } else if goes_on && batch.replays >= self.inner.settings.replays {
            let times = batch.replays + 1;
            batch.fail(|topic| errors::aborted(topic, times, &cause));
        } else if goes_on {
            batch.aborted();
            batch.replays += 1;
            again.push_back(batch);
        } else {
            batch.fail(|topic| errors::not_committed(topic, &cause));
        }
        Next::Recover(left, cause, again)
    }

    pub(super) fn after_unclean(&self, left: Left, error: &Error) -> Recover {
        let young = self.begun.elapsed() < self.inner.settings.transaction_timeout;
        after_unclean(left, error, young, self.connect.is_some())
    }

    fn after_abort(&self, mut batch: Batch, failure: Failure) -> Next {
        let Failure { cause, outcomes, group } = failure;
        let errors = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        let is_of_group = group.is_some() && (refuses_group(&cause) || batch.replays >= self.inner.settings.replays);
        let decision = after_abort(errors, is_of_group, batch.len(), batch.replays, self.inner.settings.replays);
        tracing::warn!(
            records = batch.records(),
            replays = batch.replays,
            then = ?decision,
            error.type = cause.error_type(),
            error = cause.message(),
            "a transaction was aborted"
        );
        let wait = match decision {
            AfterAbort::RefuseGroup => {
                if let Some(group) = group {
                    batch.refuse_group(&group, &cause);
                }
                Duration::ZERO
            }
            AfterAbort::Fail => {
                let times = batch.replays + 1;
                batch.fail(|topic| errors::aborted(topic, times, &cause));
                return Next::Done;
            }
            AfterAbort::Refuse => {
                batch.refuse(outcomes);
                Duration::ZERO
            }
            AfterAbort::Halve => {
                let rest = batch.halve();
                return Next::Again(Duration::ZERO, VecDeque::from([batch, rest]));
            }
            AfterAbort::Replay(wait) => {
                batch.replays += 1;
                wait
            }
        };
        Next::Again(wait, VecDeque::from_iter((!batch.is_empty()).then_some(batch)))
    }

    /// Ends the transaction of a batch after a panic below.
    async fn after_panic(&mut self, mut batch: Batch) -> Next {
        let stage = batch.stage;
        if stage != Stage::Waiting {
            let cause = errors::panicked("its topic", stage.persistence());
            let failure = Failure::new(cause, Vec::new());
            self.report(&batch, TransactionOutcome::of(stage.persistence()), &failure);
        }
        let timeout = self.inner.settings.timeout;
        match stage {
            Stage::Waiting => {
                batch.fail(|topic| errors::panicked(topic, Persistence::NotPersisted));
                return Next::Done;
            }
            Stage::Open => {
                let cause = errors::panicked("its topic", Persistence::NotPersisted);
                let failure = Failure::new(cause, Vec::new());
                match caught(abort(&mut batch, &*self.transactions, timeout, failure)).await {
                    Ok(Attempt::Unclean(left, persistence, cause)) => {
                        batch.fail(|topic| errors::panicked(topic, persistence));
                        return Next::Recover(left, cause, VecDeque::new());
                    }
                    Ok(_) => {
                        batch.fail(|topic| errors::panicked(topic, Persistence::NotPersisted));
                        return Next::Done;
                    }
                    Err(Panicked) => {}
                }
            }
            Stage::Committing => {}
        }
        batch.fail(|topic| errors::panicked(topic, stage.persistence()));
        Next::Recover(Left::Nothing, errors::panicked("its topic", stage.persistence()), VecDeque::new())
    }
}

/// Waits until a batch of the lane is to be cut. `None` once no record can come any more.
async fn next(inner: &Arc<BatchInner>, lane: &Lane) -> Option<Batch> {
    loop {
        match inner.decide(lane) {
            Decision::Cut(reason) => return Some(Batch::new(inner, inner.take(lane), reason)),
            Decision::Until(at) => {
                let _notified_or_due = timeout_at(Instant::from_std(at), lane.changed.notified()).await;
            }
            Decision::Idle if inner.has_ended() => return None,
            Decision::Idle => lane.changed.notified().await,
        }
    }
}

/// Foreign code has panicked. The panic's message was printed by the panic hook.
pub(super) struct Panicked;

/// Runs a future, and catches a panic in it.
pub(super) async fn caught<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(_panic) => Poll::Ready(Err(Panicked)),
    })
    .await
}

/// Ends a lane together with its task.
struct Ended(Arc<BatchInner>, usize);

impl Drop for Ended {
    fn drop(&mut self) {
        const WHY: &str = "the runtime of the batching layer ended";
        let error = |topic: &str| errors::stopped(topic, Persistence::NotPersisted, WHY);
        self.0.finish(&self.0.lanes[self.1], Arc::new(error));
    }
}
