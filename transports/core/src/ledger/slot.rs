use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::error::transport;
use crate::gate::Permit;
use crate::outstanding::{Outstanding, Place as Unseen};
use crate::sync::lock;
use crate::unanswered::{self, LateReport, Unanswered};
use crate::wakers::wake;
use crate::{Delivery, Error, Record, Result};

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

struct State<A> {
    stage: Stage,
    outcome: Option<Result<A>>,
    waker: Option<Waker>,
    permit: Option<Permit>,
    /// The caller's future was dropped.
    abandoned: bool,
    /// A failure, or an outcome during a close, is being recorded: it is the record's only one.
    claimed: bool,
    /// Here because it needs no further room.
    order: u32,
    /// Nanoseconds from its call until it was handed over: 0 if it was neither parked nor held before.
    handed_over_after: u64,
    /// None for a record that succeeds. Boxed, so that the slot of each record is small.
    rare: Option<Box<Rare>>,
}

#[derive(Default)]
struct Rare {
    /// Receiver of the late report, if the caller's future was dropped or returned a time-out.
    late: Option<LateReport>,
    /// Set for a failure that the caller's future has not returned yet.
    unseen: Option<Unseen>,
}

impl<A> Default for State<A> {
    fn default() -> Self {
        Self {
            stage: Stage::Parked,
            outcome: None,
            waker: None,
            permit: None,
            abandoned: false,
            claimed: false,
            order: 0,
            handed_over_after: 0,
            rare: None,
        }
    }
}

impl<A> State<A> {
    fn set_outcome(&mut self, outcome: Result<A>, unseen: Option<&Outstanding<()>>) -> Option<Waker> {
        if outcome.is_err() && !self.abandoned {
            if let Some(unseen) = unseen {
                self.rare().unseen = Some(unseen.begin(unseen.epoch(), ()));
            }
        }
        self.outcome = Some(outcome);
        self.waker.take()
    }

    fn refuse_second(&mut self) -> Result<(), Option<Permit>> {
        match (self.stage == Stage::Settled, self.claimed) {
            (true, _) => Err(self.permit.take()),
            (false, true) => Err(None),
            (false, false) => Ok(()),
        }
    }

    #[cold]
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn take_unseen(&mut self) -> Option<Unseen> {
        self.rare.as_mut()?.unseen.take()
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Waits for room in the gate, not handed over.
    #[default]
    Parked,
    /// Handed over.
    HandedOver,
    /// Admitted, and in no client: not handed over yet, or to be handed over again.
    Held,
    /// Handed over, but the caller got a time-out.
    Expired,
    /// Its outcome is known.
    Settled,
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

    /// Reserves the outcome for the caller of this function, which must [settle](Self::settle_claimed) the record. Two
    /// threads may have an outcome at the same time, for example a report and the end of a close.
    ///
    /// # Errors
    ///
    /// The record is settled, or another outcome was claimed. Returns the permit, if the record was admitted after that.
    pub(super) fn claim(&self) -> Result<(), Option<Permit>> {
        let mut state = self.state();
        state.refuse_second()?;
        state.claimed = true;
        Ok(())
    }

    /// Sets the outcome, as [`settle_claimed`](Self::settle_claimed) does, unless another outcome was claimed.
    pub(super) fn settle(&self, outcome: Result<A>, unseen: Option<&Outstanding<()>>) -> Option<Permit> {
        let mut state = self.state();
        match state.refuse_second() {
            Ok(()) => self.set(state, outcome, unseen),
            Err(permit) => permit,
        }
    }

    /// Sets the outcome that was [claimed](Self::claim). Returns the permit, and wakes the caller unless it got a time-out.
    /// A failure is `unseen` until the caller's future is polled or dropped.
    pub(super) fn settle_claimed(&self, outcome: Result<A>, unseen: &Outstanding<()>) -> Option<Permit> {
        self.set(self.state(), outcome, Some(unseen))
    }

    fn set(
        &self,
        mut state: MutexGuard<'_, State<A>>,
        outcome: Result<A>,
        unseen: Option<&Outstanding<()>>,
    ) -> Option<Permit> {
        let (permit, delivered) = (state.permit.take(), outcome.is_ok());
        let late = state.rare.as_mut().and_then(|rare| rare.late.take());
        let mut seen = None;
        let waker = match state.stage {
            Stage::Expired => {
                // A caller that has not read its time-out yet gets the outcome.
                if state.outcome.is_some() {
                    seen = outcome.is_ok().then(|| state.take_unseen()).flatten();
                    state.outcome = Some(outcome);
                }
                None
            }
            // It is not settled: `refuse_second` checks this.
            Stage::Parked | Stage::HandedOver | Stage::Held | Stage::Settled => state.set_outcome(outcome, unseen),
        };
        state.stage = Stage::Settled;
        drop(state);
        waker.into_iter().for_each(wake);
        if let (Some(seen), Some(unseen)) = (seen, unseen) {
            unseen.end(seen);
        }
        if let Some(late) = late {
            late.arrive(delivered);
        }
        permit
    }

    /// Wakes the caller, so that it polls its future again.
    pub fn wake(&self) {
        let waker = self.state().waker.take();
        waker.into_iter().for_each(wake);
    }

    /// Settles a record whose report was not read. If its transport still exists, settling the record again returns the
    /// permit.
    pub fn lose(&self, error: Error) {
        let permit = self.settle(Err(error), None);
        self.state().permit = permit;
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

    /// Returns a time-out to the caller, unless the record is parked. `error` gets whether the client has the record. It is
    /// called under the record's lock, and must take none.
    pub(super) fn expire(&self, now: Instant, error: impl FnOnce(bool) -> Error, unseen: &Outstanding<()>) {
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
        waker.into_iter().for_each(wake);
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

    /// Whether the record's outcome is known.
    pub fn is_settled(&self) -> bool {
        self.state().stage == Stage::Settled
    }

    /// Whether the record has failed and its caller has not received the error yet.
    pub fn has_failed(&self) -> bool {
        let state = self.state();
        state.stage == Stage::Settled && matches!(state.outcome, Some(Err(_)))
    }

    /// Called when the caller's future is dropped before it was ready. `throttled` says whether a broker throttles the
    /// record.
    pub(super) fn abandon(
        &self,
        now: impl FnOnce() -> Instant,
        throttled: impl FnOnce() -> bool,
        unseen: &Outstanding<()>,
    ) {
        let mut state = self.state();
        state.abandoned = true;
        let (waker, failure) = (state.waker.take(), state.take_unseen());
        drop(state);
        drop(waker);
        failure.into_iter().for_each(|failure| unseen.end(failure));
        unanswered::tell(|| {
            // Not under the lock.
            let (now, throttled) = (now(), throttled());
            let mut state = self.state();
            let outcome = state.outcome.take();
            let unanswered = self.describe(&state, now).with_throttled(throttled);
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
    }

    /// Called when the caller's future returns the failure.
    #[cold]
    pub(super) fn seen(&self, unseen: &Outstanding<()>) {
        let failure = self.state().take_unseen();
        failure.into_iter().for_each(|failure| unseen.end(failure));
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
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::{ErrorKind, Persistence};

    fn expired(now: Instant, unseen: &Outstanding<()>) -> Slot<Delivery> {
        let slot = Slot::new(Record::new("orders").with_expires_at(now), now);
        slot.admit(permit());
        slot.expire(now, |_| Error::new(ErrorKind::Timeout, "late"), unseen);
        slot
    }

    fn permit() -> Permit {
        Permit { bytes: 1, epoch: NonZeroU64::MIN }
    }

    fn poll(slot: &Slot<Delivery>) -> Poll<Result<Delivery>> {
        slot.poll(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_outcome_that_arrives_before_the_time_out_is_read_takes_its_place() {
        let (now, unseen) = (Instant::now(), Outstanding::new());
        let slot = expired(now, &unseen);
        assert_eq!(unseen.count(), 1);
        assert!(slot.settle(Ok(Delivery::new("orders", 0)), Some(&unseen)).is_some(), "its room comes back");
        assert_eq!(unseen.count(), 0, "no failure is left");
        assert!(poll(&slot).map(|outcome| outcome.is_ok()) == Poll::Ready(true));

        let slot = expired(now, &unseen);
        let refused = Error::new(ErrorKind::Rejected, "refused");
        assert!(slot.settle(Err(refused), Some(&unseen)).is_some());
        assert_eq!(unseen.count(), 1, "until it is read");
        assert!(poll(&slot).map(|outcome| outcome.unwrap_err().kind()) == Poll::Ready(ErrorKind::Rejected));
    }

    #[test]
    fn an_outcome_that_arrives_after_the_time_out_was_read_changes_nothing() {
        let (now, unseen) = (Instant::now(), Outstanding::new());
        let slot = expired(now, &unseen);
        let Poll::Ready(Err(error)) = poll(&slot) else { panic!("it has expired") };
        assert_eq!((error.kind(), error.persistence()), (ErrorKind::Timeout, Persistence::PossiblyPersisted));
        assert!(slot.settle(Ok(Delivery::new("orders", 0)), Some(&unseen)).is_some());
        assert!(poll(&slot).is_pending());
    }

    #[test]
    fn a_record_that_is_admitted_after_it_was_settled_keeps_its_outcome_and_returns_its_room() {
        let unseen = Outstanding::new();
        let slot = Slot::new(Record::new("orders"), Instant::now());
        assert!(slot.settle(Err(Error::new(ErrorKind::Closed, "given up")), Some(&unseen)).is_none());
        slot.admit(permit());
        assert!(slot.is_settled());
        assert!(slot.settle(Ok(Delivery::new("orders", 0)), Some(&unseen)).is_some());
        assert!(poll(&slot).map(|outcome| outcome.unwrap_err().kind()) == Poll::Ready(ErrorKind::Closed));
    }

    #[test]
    fn the_wait_for_room_is_not_time_in_the_client() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let slot = || Slot::<Delivery>::new(Record::new("orders"), now);
        let time = |slot: &Slot<Delivery>| slot.unanswered(after(9)).handed_over_for().map(|time| time.as_secs());
        let at_once = slot();
        at_once.admit(permit());
        let parked = slot();
        assert_eq!((time(&at_once), time(&parked)), (Some(9), None));
        parked.leave_gate(after(2));
        parked.admit(permit());
        let held = slot();
        held.admit_held(permit());
        assert_eq!((time(&parked), time(&held), held.is_in_producer()), (Some(7), None, false));
        assert!(held.hand_over(after(5)) && !held.hand_over(after(6)));
        assert_eq!((time(&held), held.is_in_producer()), (Some(4), true));
    }

    #[test]
    fn a_lost_record_keeps_its_room_for_the_transport() {
        let unseen = Outstanding::new();
        let slot = Slot::new(Record::new("orders"), Instant::now());
        slot.admit(permit());
        slot.lose(Error::new(ErrorKind::Closed, "lost"));
        assert!(poll(&slot).map(|outcome| outcome.unwrap_err().kind()) == Poll::Ready(ErrorKind::Closed));
        let again = || slot.settle(Ok(Delivery::new("orders", 0)), Some(&unseen));
        assert!(again().is_some());
        assert!(again().is_none(), "once");
    }

    #[test]
    fn a_parked_record_does_not_expire_here() {
        let (now, unseen) = (Instant::now(), Outstanding::new());
        let slot: Slot<Delivery> = Slot::new(Record::new("orders"), now);
        slot.expire(now + Duration::from_secs(1), |_| unreachable!("the gate withdraws it"), &unseen);
        assert!(slot.is_parked());
    }
}
