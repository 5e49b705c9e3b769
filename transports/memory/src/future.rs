//! The future of a send.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use kafka_tower_core::{Delivery, Error, Result};
use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::client::Client;
use crate::slot::Slot;

/// Resolves when the record's fate is known, or when its time is up.
///
/// # Errors
///
/// The broker's or the script's answer; [`ErrorKind::Timeout`](kafka_tower_core::ErrorKind::Timeout) when the record's
/// `expires_at` has passed: not persisted if the record waited for room (it is withdrawn), possibly persisted if it is
/// on its way.
///
/// # Cancel safety
///
/// Dropping it cancels nothing: the record goes on, and its room is given back by its report. Only a parked
/// record's deadline is then looked at when there is room for it, not before.
///
/// # Panics
///
/// If it is polled after it was ready; if it has to wait for `expires_at` outside a tokio runtime with time.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct MemoryDelivery {
    #[pin]
    state: State,
    /// Since when it waits: no clock is read for what is known at once.
    waiting_since: Option<Instant>,
    #[cfg(feature = "check")]
    journal: Option<(Arc<crate::check::Journal>, usize)>,
}

#[pin_project(project = StateProj)]
enum State {
    /// It never got to the gate.
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

impl MemoryDelivery {
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

    fn new(state: State) -> Self {
        Self {
            state,
            waiting_since: None,
            #[cfg(feature = "check")]
            journal: None,
        }
    }

    #[cfg(feature = "check")]
    pub(crate) fn with_journal(mut self, journal: Arc<crate::check::Journal>, attempt: Option<usize>) -> Self {
        self.journal = attempt.map(|attempt| (journal, attempt));
        self
    }
}

impl Future for MemoryDelivery {
    type Output = Result<Delivery>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Poll::Ready(outcome) = this.state.poll(cx) else {
            this.waiting_since.get_or_insert_with(Instant::now);
            return Poll::Pending;
        };
        let elapsed = |since: &mut Option<Instant>| since.map(|since| since.elapsed()).unwrap_or_default();
        let outcome = outcome.map_err(|error| error.with_elapsed(elapsed(this.waiting_since)));
        #[cfg(feature = "check")]
        if let Some((journal, attempt)) = this.journal.take() {
            journal.report(attempt, &outcome);
        }
        Poll::Ready(outcome)
    }
}

impl State {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Delivery>> {
        match self.project() {
            StateProj::Refused(error) => Poll::Ready(Err(error.take().expect("polled after it was ready"))),
            StateProj::Waiting { client, slot, topic, expires_at, mut timer } => {
                if let Poll::Ready(outcome) = slot.poll(cx) {
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
                Poll::Ready(client.expire(slot, topic))
            }
        }
    }
}

impl fmt::Debug for MemoryDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("MemoryDelivery");
        match &self.state {
            State::Refused(error) => out.field("refused", error),
            State::Waiting { topic, slot, .. } => out.field("topic", topic).field("slot", slot),
        };
        out.finish_non_exhaustive()
    }
}
