//! One attempt to commit a batch: begin, sends, commit or abort.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use kafka_tower_core::clock::later;
use kafka_tower_core::{
    ConsumerGroup, Control, Delivery, Error, Persistence, Record, Recovery, Result, TopicOffset, TransactionControl,
};
use tokio::time::{Instant, sleep, timeout_at};
use tower_service::Service;

use super::batch::{Batch, Failure, Stage};
use super::decide::{AfterBegin, AfterCommit, Left, after_begin, after_commit};
use super::errors;
use super::offsets::{GroupOffsets, offsets_again};
use super::open::Open;

/// Time before a call that has to be repeated is made again.
const PAUSE: Duration = Duration::from_millis(100);

/// Maximum number of boxes that are kept for the futures of the next transaction.
const KEPT: usize = 1_000;

/// How an attempt ended.
pub(super) enum Attempt {
    /// The transaction was committed. Contains the outcome of each record, in order.
    Committed(Vec<Result<Delivery>>),
    /// Nothing of the transaction is visible, and the next one may begin.
    Aborted(Failure),
    /// As `Aborted`, and trying again does not help.
    Refused(Error),
    /// The transaction has no clean end, or the producer has ended. The persistence holds for all records.
    Unclean(Left, Persistence, Error),
}

/// Makes one attempt.
pub(super) async fn attempt<S>(
    batch: &mut Batch,
    service: &mut S,
    open: &mut Open<S::Future>,
    control: &dyn Control,
    transactions: &dyn TransactionControl,
    timeout: Duration,
) -> Attempt
where
    S: Service<Record, Response = Delivery>,
    S::Error: Into<Error>,
{
    let now = batch.now();
    let end = later(now, timeout);
    let deadline = Instant::from_std(end);
    batch.start(now);
    if batch.is_empty() {
        return Attempt::Committed(Vec::new());
    }
    batch.stage = Stage::Open;
    if let Err(cause) = transactions.begin(left(deadline)).await {
        return match after_begin(&cause) {
            AfterBegin::Abort => abort(batch, transactions, timeout, Failure::new(cause, Vec::new())).await,
            AfterBegin::Replay => {
                batch.aborted();
                Attempt::Aborted(Failure::new(cause, Vec::new()))
            }
            AfterBegin::Refuse => Attempt::Refused(cause),
            AfterBegin::Finish => Attempt::Unclean(Left::Nothing, Persistence::NotPersisted, cause),
        };
    }
    let size = batch.records();
    let mut outcomes = Vec::with_capacity(size);
    let sent = send(service, control, batch.to_send(now, end), open, &mut outcomes);
    let in_time = timeout_at(deadline, sent).await.is_ok();
    // Before an abort: nothing polls them any more.
    open.clear(KEPT);
    let failed = outcomes.iter().find_map(|outcome| outcome.as_ref().err()).cloned();
    if let Some(cause) = failed.or_else(|| (!in_time || outcomes.len() < size).then(|| errors::slow(timeout))) {
        return abort(batch, transactions, timeout, Failure::new(cause, outcomes)).await;
    }
    for GroupOffsets { group, offsets } in batch.offsets() {
        if let Err(cause) = send_offsets(transactions, &group, &offsets, deadline).await {
            return abort(batch, transactions, timeout, Failure::of_group(cause, group)).await;
        }
    }
    batch.stage = Stage::Committing;
    match commit(transactions, deadline).await {
        Ok(()) => Attempt::Committed(outcomes),
        Err((AfterCommit::Abort, cause)) => {
            // Refused for certain.
            batch.stage = Stage::Open;
            abort(batch, transactions, timeout, Failure::new(cause, Vec::new())).await
        }
        Err((_, cause)) => Attempt::Unclean(Left::Commit, Persistence::PossiblyPersisted, cause),
    }
}

/// Sends the records in order and awaits their outcomes, until one fails.
async fn send<S>(
    service: &mut S,
    control: &dyn Control,
    records: impl Iterator<Item = Record>,
    open: &mut Open<S::Future>,
    outcomes: &mut Vec<Result<Delivery>>,
) where
    S: Service<Record, Response = Delivery>,
    S::Error: Into<Error>,
{
    for record in records {
        let known = outcomes.len();
        let ready: Result<()> = poll_fn(|cx| {
            let ready = service.poll_ready(cx).map_err(Into::into);
            if ready.is_ready() {
                return ready;
            }
            // A service may return room only when its futures are polled.
            while let Some(Poll::Ready(outcome)) = open.poll_first(cx) {
                outcomes.push(outcome.map_err(Into::into));
            }
            service.poll_ready(cx).map_err(Into::into)
        })
        .await;
        if outcomes[known..].iter().any(Result::is_err) {
            return;
        }
        if let Err(error) = ready {
            // The outcomes of earlier records come first. If one failed, later ones may have none.
            finish(open, outcomes).await;
            if outcomes.iter().all(Result::is_ok) {
                outcomes.push(Err(error));
            }
            return;
        }
        open.push(service.call(record));
    }
    // The transport sends lingering records while a flush waits; their outcomes say how they ended.
    let mut flush = Some(control.flush());
    let mut finished = pin!(finish(open, outcomes));
    poll_fn(|cx| {
        if flush.as_mut().is_some_and(|flush| flush.as_mut().poll(cx).is_ready()) {
            flush = None;
        }
        finished.as_mut().poll(cx)
    })
    .await;
}

/// Awaits the outcomes until one is a failure: it decides, and later records may wait for the abort.
async fn finish<F, E>(open: &mut Open<F>, outcomes: &mut Vec<Result<Delivery>>)
where
    F: Future<Output = Result<Delivery, E>>,
    E: Into<Error>,
{
    poll_fn(|cx| {
        while let Some(first) = open.poll_first(cx) {
            match first {
                Poll::Ready(outcome) => outcomes.push(outcome.map_err(Into::into)),
                Poll::Pending if outcomes.iter().any(Result::is_err) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    })
    .await;
}

/// Sends the offsets of a group, and calls again while the transport asks for it: the same offsets may be sent twice.
async fn send_offsets(
    transactions: &dyn TransactionControl,
    group: &ConsumerGroup,
    offsets: &[TopicOffset],
    deadline: Instant,
) -> Result<()> {
    loop {
        let sent = transactions.send_offsets(offsets.to_vec(), group.clone(), left(deadline)).await;
        let Err(error) = sent else { return Ok(()) };
        if !offsets_again(&error, Instant::now() + PAUSE < deadline) {
            return Err(error);
        }
        sleep(PAUSE).await;
    }
}

/// Commits, and calls again while the transport asks for it.
async fn commit(transactions: &dyn TransactionControl, deadline: Instant) -> Result<(), (AfterCommit, Error)> {
    let mut first = true;
    loop {
        let Err(error) = transactions.commit(left(deadline)).await else { return Ok(()) };
        match after_commit(&error, first, Instant::now() + PAUSE < deadline) {
            AfterCommit::Again => sleep(PAUSE).await,
            then => return Err((then, error)),
        }
        first = false;
    }
}

/// Aborts a transaction whose commit was not requested, or was refused.
pub(super) async fn abort(
    batch: &mut Batch,
    transactions: &dyn TransactionControl,
    timeout: Duration,
    failure: Failure,
) -> Attempt {
    let deadline = Instant::from_std(later(batch.now(), timeout));
    loop {
        let Err(error) = transactions.abort(left(deadline)).await else {
            batch.aborted();
            return Attempt::Aborted(failure);
        };
        if error.recovery() == Recovery::Retry && Instant::now() + PAUSE < deadline {
            sleep(PAUSE).await;
        } else {
            return Attempt::Unclean(Left::Abort, error.persistence(), error);
        }
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests {
    use std::future::{Pending, Ready, pending, ready};
    use std::pin::Pin;
    use std::task::Context;

    use kafka_tower_core::ErrorKind;
    use kafka_tower_memory::MemoryKafka;

    use super::*;

    /// Fails the first record, does not answer the second, and is not ready for the third.
    #[derive(Default)]
    struct Failing(u32);

    enum Answer {
        Known(Ready<Result<Delivery>>),
        Never(Pending<Result<Delivery>>),
    }

    impl Future for Answer {
        type Output = Result<Delivery>;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            match &mut *self {
                Self::Known(outcome) => Pin::new(outcome).poll(cx),
                Self::Never(outcome) => Pin::new(outcome).poll(cx),
            }
        }
    }

    impl Service<Record> for Failing {
        type Response = Delivery;
        type Error = Error;
        type Future = Answer;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(if self.0 < 2 { Ok(()) } else { Err(Error::new(ErrorKind::Rejected, "not ready")) })
        }

        fn call(&mut self, _: Record) -> Answer {
            self.0 += 1;
            match self.0 {
                1 => Answer::Known(ready(Err(Error::new(ErrorKind::Broker, "first")))),
                _ => Answer::Never(pending()),
            }
        }
    }

    #[tokio::test]
    async fn a_record_without_an_outcome_does_not_get_the_error_of_another_one() {
        let control = MemoryKafka::new().transport().control();
        let (mut open, mut outcomes) = (Open::default(), Vec::new());
        let records = (0..3).map(|_| Record::new("orders"));
        send(&mut Failing::default(), &*control, records, &mut open, &mut outcomes).await;
        let messages: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().unwrap_err().message()).collect();
        assert_eq!(messages, ["first"]);
    }
}
