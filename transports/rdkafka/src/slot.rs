//! State of a record from its call until it is settled, shared by the caller's future, librdkafka's message and the
//! expiry queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use kafka_tower_core::gate::Permit;
use kafka_tower_core::outstanding::{Outstanding, Place as Unseen};
use kafka_tower_core::unanswered::{self, LateReport, Unanswered};
use kafka_tower_core::{Delivery, Error, Persistence, Record, Result, Timestamp};

use crate::classify;

/// The record never changes and lives as long as the slot: librdkafka reads its value in place.
pub(crate) struct Slot {
    record: Record,
    called_at: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stage: Stage,
    outcome: Option<Result<Acknowledged>>,
    waker: Option<Waker>,
    permit: Option<Permit>,
    /// The caller's future was dropped.
    abandoned: bool,
    /// None for a record that succeeds. Boxed, so that the slot of each record is small.
    rare: Option<Box<Rare>>,
}

#[derive(Default)]
struct Rare {
    /// When it was handed over, if it was parked or held before.
    handed_over_at: Option<Instant>,
    /// Receiver of the late report, if the caller's future was dropped or returned a time-out.
    late: Option<LateReport>,
    /// Set for a failure that the caller's future has not returned yet.
    unseen: Option<Unseen>,
}

impl State {
    fn set_outcome(&mut self, outcome: Result<Acknowledged>, unseen: Option<&Outstanding<()>>) -> Option<Waker> {
        if outcome.is_err() && !self.abandoned {
            if let Some(unseen) = unseen {
                self.rare().unseen = Some(unseen.begin(unseen.epoch(), ()));
            }
        }
        self.outcome = Some(outcome);
        self.waker.take()
    }

    #[cold]
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn take_unseen(&mut self) -> Option<Unseen> {
        self.rare.as_mut()?.unseen.take()
    }
}

/// A broker's acknowledgement. The caller makes the [`Delivery`]: if the event loop did, the reference count of the
/// topic's name would move between two cores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) partition: i32,
    /// Negative if the broker returned none.
    pub(crate) offset: i64,
    /// In milliseconds since the epoch; negative if unknown.
    pub(crate) timestamp: i64,
    pub(crate) persistence: Persistence,
}

impl Acknowledged {
    fn of(self, record: &Record) -> Delivery {
        let mut delivery = Delivery::new(Arc::clone(&record.topic), self.partition).with_persistence(self.persistence);
        delivery.offset = (self.offset >= 0).then_some(self.offset);
        delivery.timestamp = (self.timestamp >= 0).then(|| Timestamp::from_millis(self.timestamp));
        delivery
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Waits for room in the gate, not handed over.
    #[default]
    Parked,
    /// Handed over to librdkafka.
    HandedOver,
    /// Admitted, and in no producer: see `held`.
    Held,
    /// librdkafka has it, but the caller got a time-out.
    Expired,
    /// Its outcome is known.
    Settled,
}

impl Slot {
    pub(crate) fn new(record: Record, now: Instant) -> Self {
        Self { record, called_at: now, state: Mutex::default() }
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    pub(crate) fn called_at(&self) -> Instant {
        self.called_at
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gate admitted it; `settle` returns the permit.
    pub(crate) fn admit(&self, permit: Permit) {
        let mut state = self.state();
        state.permit = Some(permit);
        state.stage = Stage::HandedOver;
    }

    /// There is room for it after it was parked.
    pub(crate) fn leave_gate(&self, now: Instant) {
        self.state().rare().handed_over_at = Some(now);
    }

    /// Describes the record for layers above, when its caller does not get its outcome.
    pub(crate) fn unanswered(&self, now: Instant) -> Unanswered {
        self.describe(&self.state(), now)
    }

    fn describe(&self, state: &State, now: Instant) -> Unanswered {
        let handed_over_at = state.rare.as_ref().and_then(|rare| rare.handed_over_at).unwrap_or(self.called_at);
        let has_none = matches!(state.stage, Stage::Parked | Stage::Held);
        let handed_over_for = (!has_none).then(|| now.saturating_duration_since(handed_over_at));
        let left = || self.record.expires_at.map(|at| at.saturating_duration_since(self.called_at));
        let budget = self.record.given().or_else(left);
        Unanswered::new(handed_over_for).with_budget(budget)
    }

    /// Sets the outcome. Returns the permit, and wakes the caller unless it got a time-out. A failure is `unseen` until
    /// the caller's future is polled or dropped.
    pub(crate) fn settle(&self, outcome: Result<Acknowledged>, unseen: Option<&Outstanding<()>>) -> Option<Permit> {
        let mut state = self.state();
        let (permit, delivered) = (state.permit.take(), outcome.is_ok());
        let late = state.rare.as_mut().and_then(|rare| rare.late.take());
        let waker = match state.stage {
            Stage::Settled => return permit,
            Stage::Expired => None,
            Stage::Parked | Stage::HandedOver | Stage::Held => state.set_outcome(outcome, unseen),
        };
        state.stage = Stage::Settled;
        drop(state);
        wake(waker);
        if let Some(late) = late {
            arrive(&late, delivered);
        }
        permit
    }

    /// Marks that no producer has it any more, or that none accepted it.
    pub(crate) fn hold(&self) {
        let mut state = self.state();
        if state.stage == Stage::HandedOver {
            state.stage = Stage::Held;
        }
    }

    /// Marks that a producer gets it. False if its deadline passed meanwhile.
    pub(crate) fn hand_over(&self) -> bool {
        let mut state = self.state();
        if state.stage != Stage::Held {
            return false;
        }
        state.stage = Stage::HandedOver;
        state.rare().handed_over_at = Some(Instant::now());
        true
    }

    /// Expires it: returns a time-out to the caller, unless the record is parked. `error` gets whether a producer has
    /// it, and must not take a lock.
    pub(crate) fn expire(&self, now: Instant, error: impl FnOnce(bool) -> Error, unseen: &Outstanding<()>) {
        let mut state = self.state();
        let unanswered = self.describe(&state, now);
        let handed_over = match state.stage {
            Stage::Parked | Stage::Expired | Stage::Settled => return,
            Stage::HandedOver => true,
            Stage::Held => false,
        };
        state.stage = Stage::Expired;
        let late = &mut state.rare().late;
        let waker = match late {
            Some(_) => state.waker.take(),
            None => {
                *late = Some(unanswered.report());
                let error = error(handed_over);
                let throttled = error.unanswered().is_some_and(Unanswered::is_throttled);
                state.set_outcome(Err(error.with_unanswered(unanswered.with_throttled(throttled))), Some(unseen))
            }
        };
        drop(state);
        wake(waker);
    }

    /// Returns whether it waits for room.
    pub(crate) fn is_parked(&self) -> bool {
        self.state().stage == Stage::Parked
    }

    /// Returns whether it was admitted and its caller waits for it.
    pub(crate) fn is_awaited(&self) -> bool {
        matches!(self.state().stage, Stage::HandedOver | Stage::Held)
    }

    /// Returns whether a producer has it and its caller waits for it.
    pub(crate) fn is_awaited_in_producer(&self) -> bool {
        self.state().stage == Stage::HandedOver
    }

    /// Returns whether a producer has it, even if its caller got a time-out.
    pub(crate) fn is_in_producer(&self) -> bool {
        matches!(self.state().stage, Stage::HandedOver | Stage::Expired)
    }

    /// Returns whether its outcome is known.
    pub(crate) fn is_settled(&self) -> bool {
        self.state().stage == Stage::Settled
    }

    /// Returns whether it has failed and its caller has not received the error yet.
    pub(crate) fn has_failed(&self) -> bool {
        let state = self.state();
        state.stage == Stage::Settled && matches!(state.outcome, Some(Err(_)))
    }

    #[inline]
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Result<Delivery>> {
        let mut state = self.state();
        if let Some(outcome) = state.outcome.take() {
            drop(state);
            return Poll::Ready(outcome.map(|acknowledged| acknowledged.of(&self.record)));
        }
        let old = match &mut state.waker {
            Some(waker) if waker.will_wake(cx.waker()) => None,
            slot => slot.replace(cx.waker().clone()),
        };
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Called when the caller's future is dropped before it was ready. Returns the failure that it has not returned.
    /// `throttled` says whether a broker throttles the record.
    pub(crate) fn abandon(&self, throttled: impl FnOnce() -> bool) -> Option<Unseen> {
        let mut state = self.state();
        state.abandoned = true;
        let (waker, unseen) = (state.waker.take(), state.take_unseen());
        drop(state);
        drop(waker);
        unanswered::tell(|| {
            // Not under the lock.
            let throttled = throttled();
            let mut state = self.state();
            let outcome = state.outcome.take();
            let unanswered = self.describe(&state, Instant::now()).with_throttled(throttled);
            if outcome.is_none() {
                state.rare().late = Some(unanswered.report());
            }
            drop(state);
            match outcome {
                None => Some(unanswered),
                Some(Ok(_)) => {
                    unanswered.report().arrive(true);
                    Some(unanswered)
                }
                Some(Err(error)) => error.unanswered().cloned(),
            }
        });
        unseen
    }

    /// Called when the caller's future returns the failure.
    pub(crate) fn seen(&self) -> Option<Unseen> {
        self.state().take_unseen()
    }

    /// Error of a record whose producer ended before its report was read.
    pub(crate) fn lost(&self) -> Error {
        classify::lost(&self.record.topic)
    }

    /// Like [`lost`](Self::lost), for a record whose gate no longer exists.
    pub(crate) fn lose(&self) {
        let _room_of_a_gate_that_is_gone = self.settle(Err(self.lost()), None);
    }
}

/// Observers in layers above are foreign code and may panic, as wakers may.
fn arrive(late: &LateReport, delivered: bool) {
    if catch_unwind(AssertUnwindSafe(|| late.arrive(delivered))).is_err() {
        tracing::error!("a panic in an observer of late reports was caught");
    }
}

/// A waker is foreign code: its panic must not prevent later reports from being read.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
            tracing::error!("a panic in a waker was caught");
        }
    }
}
