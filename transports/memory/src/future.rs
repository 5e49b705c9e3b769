//! Response future of a send.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use kafka_tower_core::unanswered::{self, Unanswered};
use kafka_tower_core::{Delivery, Error, Result, handover};
use pin_project::{pin_project, pinned_drop};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::client::Client;
use crate::slot::Slot;

/// Resolves when the record's outcome is known, or when its deadline passes.
///
/// # Errors
///
/// The broker's or the script's error; [`ErrorKind::Timeout`](kafka_tower_core::ErrorKind::Timeout) if the record's
/// `expires_at` has passed: not persisted if the record was parked (it is withdrawn), possibly persisted if it is in
/// flight.
///
/// # Cancel safety
///
/// Dropping it cancels nothing: the record continues, and its report returns the room. A parked record is withdrawn at
/// its deadline also then; if the future is dropped outside a runtime, the deadline is checked only when there is room.
///
/// # Panics
///
/// If it is polled again after it was ready, or if it has to wait for `expires_at` outside a tokio runtime with time
/// enabled.
#[pin_project(PinnedDrop)]
#[must_use = "futures do nothing unless polled"]
pub struct MemoryDeliveryFuture {
    #[pin]
    state: State,
    /// Set by the first poll that has to wait: a record that is settled at once reads no clock.
    waiting_since: Option<Instant>,
    /// Time allowed for the send, if it is known.
    given: Option<std::time::Duration>,
    /// The record was parked by the gate.
    parked: bool,
    /// The caller has the outcome.
    answered: bool,
    #[cfg(feature = "sim")]
    journal: Option<(Arc<crate::sim::Journal>, usize)>,
}

#[pin_project(project = StateProj)]
enum State {
    /// The record did not reach the gate.
    Refused(Option<Error>),
    Waiting {
        client: Arc<Client>,
        slot: Arc<Slot>,
        topic: Arc<str>,
        expires_at: Option<Instant>,
        /// Armed by the first poll that has to wait.
        #[pin]
        timer: Option<Sleep>,
    },
}

impl MemoryDeliveryFuture {
    pub(crate) fn refused(error: Error) -> Self {
        Self::new(State::Refused(Some(error)))
    }

    pub(crate) fn waiting(
        client: Arc<Client>,
        slot: Arc<Slot>,
        topic: Arc<str>,
        expires_at: Option<std::time::Instant>,
    ) -> Self {
        let expires_at = expires_at.map(Instant::from_std);
        Self::new(State::Waiting { client, slot, topic, expires_at, timer: None })
    }

    /// Sets the time allowed for the send, and whether the gate parked the record.
    pub(crate) fn given(mut self, given: Option<std::time::Duration>, parked: bool) -> Self {
        (self.given, self.parked) = (given, parked);
        self
    }

    fn new(state: State) -> Self {
        Self {
            state,
            waiting_since: None,
            given: None,
            parked: false,
            answered: false,
            #[cfg(feature = "sim")]
            journal: None,
        }
    }

    #[cfg(feature = "sim")]
    pub(crate) fn with_journal(mut self, journal: Arc<crate::sim::Journal>, attempt: Option<usize>) -> Self {
        self.journal = attempt.map(|attempt| (journal, attempt));
        self
    }
}

impl Future for MemoryDeliveryFuture {
    type Output = Result<Delivery>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Poll::Ready(outcome) = this
            .state
            .poll(cx, |slot, expires_at| describe(slot, *this.parked, *this.given, *this.waiting_since, expires_at))
        else {
            this.waiting_since.get_or_insert_with(Instant::now);
            return Poll::Pending;
        };
        *this.answered = true;
        handover::returned();
        let elapsed = |since: &mut Option<Instant>| since.map(|since| since.elapsed()).unwrap_or_default();
        let outcome = outcome.map_err(|error| error.with_elapsed(elapsed(this.waiting_since)));
        #[cfg(feature = "sim")]
        if let Some((journal, attempt)) = this.journal.take() {
            journal.report(attempt, &outcome);
        }
        Poll::Ready(outcome)
    }
}

impl State {
    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        describe: impl FnOnce(&Slot, Option<Instant>) -> Unanswered,
    ) -> Poll<Result<Delivery>> {
        match self.project() {
            StateProj::Refused(error) => Poll::Ready(Err(error.take().expect("polled after completion"))),
            StateProj::Waiting { client, slot, topic, expires_at, mut timer } => {
                if let Poll::Ready(outcome) = slot.poll(cx) {
                    if outcome.is_err() {
                        slot.seen(&client.unseen);
                    }
                    return Poll::Ready(outcome);
                }
                let Some(at) = *expires_at else {
                    return Poll::Pending;
                };
                if timer.is_none() {
                    timer.set(Some(sleep_until(at)));
                }
                if let Some(timer) = timer.as_mut().as_pin_mut() {
                    ready!(timer.poll(cx));
                }
                Poll::Ready(client.expire(slot, topic, || describe(slot, Some(at))))
            }
        }
    }
}

/// Describes a record whose caller does not learn its outcome, for the layers above.
fn describe(
    slot: &Slot,
    parked: bool,
    given: Option<std::time::Duration>,
    since: Option<Instant>,
    expires_at: Option<Instant>,
) -> Unanswered {
    let now = Instant::now();
    let since = since.unwrap_or(now);
    let handed_over_at = if parked { slot.left_gate() } else { Some(since) };
    Unanswered::new(handed_over_at.map(|at| now.saturating_duration_since(at)))
        .with_budget(given.or_else(|| expires_at.map(|at| at.saturating_duration_since(since))))
}

#[pinned_drop]
impl PinnedDrop for MemoryDeliveryFuture {
    fn drop(self: Pin<&mut Self>) {
        if self.answered {
            return;
        }
        let this = self.project();
        let StateProj::Waiting { client, slot, expires_at, .. } = this.state.project() else { return };
        slot.abandon(&client.unseen);
        if let Some(at) = expires_at.filter(|_| *this.parked && slot.left_gate().is_none()) {
            client.expire_later(slot, at);
        }
        unanswered::tell(|| {
            let unanswered = describe(slot, *this.parked, *this.given, *this.waiting_since, *expires_at);
            match slot.leave(&unanswered.report()) {
                None => Some(unanswered),
                Some(Ok(_)) => {
                    unanswered.report().arrive(true);
                    Some(unanswered)
                }
                Some(Err(_)) => None,
            }
        });
    }
}

impl fmt::Debug for MemoryDeliveryFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("MemoryDeliveryFuture");
        match &self.state {
            State::Refused(error) => out.field("refused", error),
            State::Waiting { topic, slot, .. } => out.field("topic", topic).field("slot", slot),
        };
        out.finish_non_exhaustive()
    }
}
