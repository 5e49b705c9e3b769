use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use self::state::{Stage, State};
use crate::error::transport;
use crate::gate::Permit;
use crate::sync::lock;
use crate::unanswered::Unanswered;
use crate::wakers::wake;
use crate::{Delivery, Error, Record, Result};

mod settle;
mod state;

/// What a broker acknowledges. The caller's future makes the [`Delivery`]: if the thread that reads the reports did, the
/// reference count of the topic's name would move between two cores.
pub trait Acknowledgement: Send + 'static {
    /// Makes the delivery.
    fn into_delivery(self, record: &Record) -> Delivery;
}

impl Acknowledgement for Delivery {
    fn into_delivery(self, _record: &Record) -> Delivery {
        self
    }
}

/// State of a record from its call until it is settled, shared by the caller's future, the transport's message and the
/// ledger's deadlines.
///
/// The record never changes and lives as long as the slot: a transport may read its value in place.
pub struct Slot<A> {
    record: Record,
    called_at: Instant,
    state: Mutex<State<A>>,
}

impl<A> Slot<A> {
    /// Creates the slot of a record that is called now, parked.
    #[must_use]
    pub fn new(record: Record, now: Instant) -> Self {
        Self { record, called_at: now, state: Mutex::default() }
    }

    /// Sets the place of the call in the order of all calls, for a transport that may have to hand records over again.
    #[must_use]
    pub fn with_order(mut self, order: u32) -> Self {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner).order = order;
        self
    }

    /// The place of the call in the order of all calls. It wraps around.
    pub fn order(&self) -> u32 {
        self.state().order
    }

    /// The record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// When the record was called.
    pub fn called_at(&self) -> Instant {
        self.called_at
    }

    /// The time that the caller gave, from its call on: it includes the wait for room and earlier attempts.
    pub fn given(&self) -> Option<Duration> {
        let left = || self.record.expires_at.map(|at| at.saturating_duration_since(self.called_at));
        self.record.given().or_else(left)
    }

    /// Error of a record whose deadline has passed. `why` is the cause, if it is known.
    pub fn time_out(&self, handed_over: bool, now: Instant, why: Option<&str>) -> Error {
        transport::expired(&self.record.topic, self.given(), handed_over, why)
            .with_elapsed(now.saturating_duration_since(self.called_at))
    }

    fn state(&self) -> MutexGuard<'_, State<A>> {
        lock(&self.state)
    }

    /// Marks that the record is handed over, unless it is settled. [`settle`](super::RecordTransport::settle) returns the
    /// permit.
    pub fn admit(&self, permit: Permit) {
        self.admit_as(Stage::HandedOver, permit);
    }

    /// As [`admit`](Self::admit), for a record that is [handed over](Self::hand_over) later.
    pub fn admit_held(&self, permit: Permit) {
        self.admit_as(Stage::Held, permit);
    }

    fn admit_as(&self, stage: Stage, permit: Permit) {
        let mut state = self.state();
        state.permit = Some(permit);
        if state.stage != Stage::Settled {
            state.stage = stage;
        }
    }

    /// Records when a parked record got room.
    pub fn leave_gate(&self, now: Instant) {
        let after = self.since_call(now);
        self.state().handed_over_after = after;
    }

    /// In nanoseconds.
    fn since_call(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.called_at).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Describes the record for layers above, when its caller does not get its outcome.
    pub fn unanswered(&self, now: Instant) -> Unanswered {
        self.describe(&self.state(), now)
    }

    fn describe(&self, state: &State<A>, now: Instant) -> Unanswered {
        let has_none = matches!(state.stage, Stage::Parked | Stage::Held);
        let before = Duration::from_nanos(state.handed_over_after);
        let since_call = now.saturating_duration_since(self.called_at);
        let handed_over_for = (!has_none).then(|| since_call.saturating_sub(before));
        Unanswered::new(handed_over_for).with_budget(self.given())
    }

    /// Wakes the caller, so that it polls its future again.
    pub fn wake(&self) {
        let waker = self.state().waker.take();
        waker.into_iter().for_each(wake);
    }

    /// Marks that no client has the record any more, or that none accepted it.
    pub fn hold(&self) {
        let mut state = self.state();
        if state.stage == Stage::HandedOver {
            state.stage = Stage::Held;
        }
    }

    /// Marks that a held record is handed over. False if its deadline passed meanwhile.
    pub fn hand_over(&self, now: Instant) -> bool {
        let mut state = self.state();
        if state.stage != Stage::Held {
            return false;
        }
        state.stage = Stage::HandedOver;
        state.handed_over_after = self.since_call(now);
        true
    }

    /// Whether the record waits for room.
    pub fn is_parked(&self) -> bool {
        self.state().stage == Stage::Parked
    }

    /// Whether the record was admitted and its caller waits for it.
    pub fn is_awaited(&self) -> bool {
        matches!(self.state().stage, Stage::HandedOver | Stage::Held)
    }

    /// Whether the transport's client has the record and its caller waits for it.
    pub fn is_awaited_in_producer(&self) -> bool {
        self.state().stage == Stage::HandedOver
    }

    /// Whether the transport's client has the record, even if its caller got a time-out.
    pub fn is_in_producer(&self) -> bool {
        matches!(self.state().stage, Stage::HandedOver | Stage::Expired)
    }

    /// Whether the record counts as in flight for its tenant.
    pub(super) fn is_of_tenant(&self) -> bool {
        let state = self.state();
        state.stage != Stage::Settled && !state.is_given_up()
    }

    /// Whether the record's outcome is known.
    pub fn is_settled(&self) -> bool {
        self.state().stage == Stage::Settled
    }

    /// Whether the record has failed and its caller has not received the error yet.
    pub fn has_failed(&self) -> bool {
        let state = self.state();
        state.stage == Stage::Settled && matches!(state.outcome, Some(Err(_)))
    }
}

impl<A: Acknowledgement> Slot<A> {
    #[inline]
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Result<Delivery>> {
        let mut state = self.state();
        if let Some(outcome) = state.outcome.take() {
            drop(state);
            return Poll::Ready(outcome.map(|acknowledged| acknowledged.into_delivery(&self.record)));
        }
        let old = match &mut state.waker {
            Some(waker) if waker.will_wake(cx.waker()) => None,
            slot => slot.replace(cx.waker().clone()),
        };
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl<A> fmt::Debug for Slot<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("topic", &self.record.topic).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
