use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use kafka_tower_core::{Error, Persistence, Record, Result, handover};
use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tower_service::Service;

use super::RetryEvent;
use super::backoff::draw;
use super::decide::{Decision, Situation, decide};
use super::inner::RetryInner;

/// Response future of [`Retry`](super::Retry).
///
/// # Errors
///
/// The error of the last attempt, with the number of attempts and the duration of all of them, including back-offs
/// and the wait for room. `elapsed` is `None` if the first attempt's error does not contain its duration.
/// `PossiblyPersisted` if any attempt may have written the record. The error [contains the record](Error::take_record),
/// unless it is never sent again and the service below does not give it back.
///
/// # Cancel safety
///
/// Dropping it makes no further attempt, and drops the future of the current attempt.
///
/// # Panics
///
/// If it has to back off outside a tokio runtime with time enabled.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct RetryFuture<S: Service<Record>> {
    #[pin]
    state: State<S, S::Future>,
    /// The record to send again. `None` if retries are disabled, or the error of a failed attempt contains the record.
    record: Option<Record>,
    shared: Arc<RetryInner<S>>,
    history: History,
}

#[pin_project(project = StateProj)]
enum State<S, F> {
    Attempting(#[pin] F),
    // Boxed: rare, and much larger than the other states.
    Between(Box<Between<S>>),
    Over,
}

/// What is known of the failed attempts of a send. Boxed: rare, and every layer above moves the future.
#[derive(Debug, Default)]
pub(crate) struct History(Option<Box<Failures>>);

/// The failed attempts of a send.
#[derive(Debug, Default)]
struct Failures {
    /// Start of the first attempt; `None` if its error contains no duration.
    begun: Option<Instant>,
    attempts: u32,
    retries: u32,
    /// Number of the send among the sends that failed: a seed of its jitter.
    number: u64,
    /// An attempt may have written the record: a later `NotPersisted` must not be returned as such.
    may_be_written: bool,
}

/// State between two attempts: first the back-off, then the wait for readiness.
pub(crate) struct Between<S> {
    back_off: Option<Pin<Box<Sleep>>>,
    pub(crate) service: S,
    expires_at: Option<Instant>,
    /// Armed when the service is not ready.
    deadline: Option<Pin<Box<Sleep>>>,
    error: Error,
}

impl<S: Service<Record>> RetryFuture<S> {
    pub(super) fn new(first: S::Future, record: Option<Record>, shared: Arc<RetryInner<S>>) -> Self {
        Self { state: State::Attempting(first), record, shared, history: History::default() }
    }
}

impl<S> Future for RetryFuture<S>
where
    S: Service<Record> + Clone,
    S::Error: Into<Error>,
{
    type Output = Result<S::Response>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mut state, record, history) = (this.state, this.record, this.history);
        loop {
            let next = match state.as_mut().project() {
                StateProj::Attempting(attempt) => match ready!(attempt.poll(cx)) {
                    Ok(response) => return Poll::Ready(Ok(response)),
                    Err(error) => {
                        let mut error = error.into();
                        if record.is_none() {
                            *record = error.take_record();
                        }
                        let between = history.after(error, record.as_mut(), this.shared);
                        between.map(|between| State::Between(Box::new(between)))
                    }
                },
                StateProj::Between(between) => ready!(between.poll(cx)).and_then(|()| {
                    // Taken, if the next error gives it back.
                    let again = if this.shared.keeps { record.clone() } else { record.take() };
                    let Some(again) = again else { return Ok(State::Over) };
                    Ok(State::Attempting(between.service.call(again)))
                }),
                StateProj::Over => return Poll::Pending,
            };
            match next {
                // `set` drops the last attempt before the next one waits for room that it held.
                Ok(next) => state.set(next),
                Err(error) => {
                    state.set(State::Over);
                    return Poll::Ready(Err(history.final_error(error, record.take())));
                }
            }
        }
    }
}

impl History {
    /// Decides what to do after a failed attempt. Without a record it cannot be sent again.
    pub(crate) fn after<S: Clone>(
        &mut self,
        error: Error,
        record: Option<&mut Record>,
        shared: &RetryInner<S>,
    ) -> Result<Between<S>> {
        let now = Instant::now();
        let failures = self.0.get_or_insert_with(|| {
            let begun = error.elapsed().and_then(|took| now.checked_sub(took));
            Box::new(Failures { begun, number: shared.number(), ..Failures::default() })
        });
        failures.attempts = failures.attempts.saturating_add(error.attempts().max(1));
        failures.may_be_written |= error.persistence() == Persistence::PossiblyPersisted;
        let Some(record) = record else {
            return Err(error);
        };
        let situation = Situation {
            retries: failures.retries,
            isolated: record.isolated,
            expires_at: record.expires_at,
            now: now.into_std(),
            draw: draw(shared.seed, failures.number, failures.attempts),
        };
        let (isolated, delay) = match decide(&shared.policy_of(record.profile()), &error, &situation) {
            Decision::Stop => return Err(error),
            Decision::SendIsolated => (true, Duration::ZERO),
            Decision::RetryAfter(delay) => (false, delay),
        };
        let expires_at = record.expires_at.map(Instant::from_std);
        if isolated {
            record.isolated = true;
        } else {
            failures.retries += 1;
        }
        let back_off = (!isolated).then(|| Box::pin(sleep(delay)));
        handover::kept(record);
        let between = Between { back_off, service: shared.unready(), expires_at, deadline: None, error };
        let (topic, attempt) = (&record.topic, failures.attempts);
        shared.notify(&RetryEvent { topic, attempt, delay, isolated, error: &between.error });
        Ok(between)
    }

    /// The error of the send, after its last attempt. It contains the record, if that is there.
    pub(crate) fn final_error(&self, error: Error, record: Option<Record>) -> Error {
        let error = match record {
            Some(record) => error.with_record(record),
            None => error,
        };
        let Some(failures) = &self.0 else { return error };
        let lie = failures.may_be_written && error.persistence() == Persistence::NotPersisted;
        let error = if lie { error.in_doubt_since("an earlier attempt may have been written") } else { error };
        let error = error.with_attempts(failures.attempts);
        // The last error's duration covers only its own attempt.
        match failures.begun {
            Some(begun) => error.with_elapsed(begun.elapsed()),
            None => error.without_elapsed(),
        }
    }

    /// Number of failed attempts.
    pub(crate) fn attempts(&self) -> u32 {
        self.0.as_ref().map_or(0, |failures| failures.attempts)
    }
}

impl<S> Between<S>
where
    S: Service<Record>,
    S::Error: Into<Error>,
{
    /// Resolves when the service may be called.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(back_off) = &mut self.back_off {
            ready!(back_off.as_mut().poll(cx));
            self.back_off = None;
        }
        // Checked again, because timers and tasks may be late.
        if self.expires_at.is_some_and(|at| at <= Instant::now()) {
            return Poll::Ready(Err(self.error.clone()));
        }
        if let Poll::Ready(ready) = self.service.poll_ready(cx) {
            return Poll::Ready(ready.map_err(Into::into));
        }
        let Some(expires_at) = self.expires_at else {
            return Poll::Pending;
        };
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(expires_at)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(self.error.clone()))
    }
}

impl<S: Service<Record>> fmt::Debug for RetryFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Attempting(_) => "attempting",
            State::Between(_) => "between attempts",
            State::Over => "over",
        };
        f.debug_struct("RetryFuture")
            .field("state", &state)
            .field("failed_attempts", &self.history.attempts())
            .finish_non_exhaustive()
    }
}
