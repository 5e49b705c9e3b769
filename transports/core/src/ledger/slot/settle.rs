//! How a record gets its outcome: a report, a failure, a time-out, or the end of its caller's future.

use std::sync::{Arc, MutexGuard};
use std::task::Waker;
use std::time::Instant;

use super::Slot;
use super::state::{Stage, State};
use crate::gate::Permit;
use crate::ledger::wait::Wait;
use crate::outstanding::Outstanding;
use crate::unanswered::{self, Unanswered};
use crate::wakers::wake;
use crate::{Error, Result, Tenant};

impl<A> Slot<A> {
    /// Reserves the outcome for the caller of this function, which must [settle](Self::settle_claimed) the record. Two
    /// threads may have an outcome at the same time, for example a report and the end of a close.
    ///
    /// # Errors
    ///
    /// The record is settled, or another outcome was claimed. Returns the permit, if the record was admitted after that.
    pub(in crate::ledger) fn claim(&self) -> Result<(), Option<Permit>> {
        let mut state = self.state();
        state.refuse_second()?;
        state.claimed = true;
        Ok(())
    }

    /// Sets the outcome, as [`settle_claimed`](Self::settle_claimed) does, unless another outcome was claimed.
    #[inline]
    pub(in crate::ledger) fn settle(
        &self,
        outcome: Result<A>,
        unseen: Option<&Outstanding<Tenant>>,
        wake: impl FnOnce(Waker),
    ) -> Option<Permit> {
        let mut state = self.state();
        match state.refuse_second() {
            Ok(()) => self.set(state, outcome, unseen, wake),
            Err(permit) => permit,
        }
    }

    /// Sets the outcome that was [claimed](Self::claim). Returns the permit, and passes the caller's waker to `wake` unless the
    /// caller got a time-out. A failure is `unseen` until the caller's future is polled or dropped.
    pub(in crate::ledger) fn settle_claimed(
        &self,
        outcome: Result<A>,
        unseen: &Outstanding<Tenant>,
        wake: impl FnOnce(Waker),
    ) -> Option<Permit> {
        self.set(self.state(), outcome, Some(unseen), wake)
    }

    #[inline]
    fn set(
        &self,
        mut state: MutexGuard<'_, State<A>>,
        outcome: Result<A>,
        unseen: Option<&Outstanding<Tenant>>,
        wake: impl FnOnce(Waker),
    ) -> Option<Permit> {
        // Most records are delivered, and only their callers wait for them.
        if outcome.is_err() || state.rare.is_some() {
            return self.set_rare(state, outcome, unseen, wake);
        }
        let (permit, waker) = (state.permit.take(), state.waker.take());
        state.outcome = Some(outcome);
        state.stage = Stage::Settled;
        drop(state);
        if let Some(waker) = waker {
            wake(waker);
        }
        permit
    }

    /// Sets the outcome of a record that failed, whose caller may have its time-out, or for which others wait.
    #[cold]
    fn set_rare(
        &self,
        mut state: MutexGuard<'_, State<A>>,
        outcome: Result<A>,
        unseen: Option<&Outstanding<Tenant>>,
        wake: impl FnOnce(Waker),
    ) -> Option<Permit> {
        let (permit, delivered) = (state.permit.take(), outcome.is_ok());
        let (mut late, mut waits, mut replaced) = (None, Vec::new(), None);
        if let Some(rare) = &mut state.rare {
            (late, waits) = (rare.late.take(), rare.take_waits());
        }
        waits.iter().for_each(|wait: &Arc<Wait>| wait.count(&self.record, &outcome));
        let mut seen = None;
        let waker = match state.stage {
            Stage::Expired => {
                // A caller that has not read its time-out yet gets the outcome.
                if state.outcome.is_some() {
                    seen = outcome.is_ok().then(|| state.take_unseen()).flatten();
                    replaced = state.outcome.replace(outcome);
                }
                None
            }
            // It is not settled: `refuse_second` checks this.
            Stage::Parked | Stage::HandedOver | Stage::Held | Stage::Settled => {
                state.set_outcome(outcome, self.record.tenant, unseen)
            }
        };
        state.stage = Stage::Settled;
        drop(state);
        drop(replaced); // not under the lock: an error may have a source of the application
        if let Some(waker) = waker {
            wake(waker);
        }
        waits.iter().for_each(|wait| wait.end());
        if let (Some(seen), Some(unseen)) = (seen, unseen) {
            unseen.end(seen);
        }
        if let Some(late) = late {
            late.arrive(delivered);
        }
        permit
    }

    /// Settles a record whose report was not read. If its transport still exists, settling the record again returns the
    /// permit.
    pub fn lose(&self, error: Error) {
        let permit = self.settle(Err(error), None, wake);
        self.state().permit = permit;
    }

    /// Returns a time-out to the caller, unless the record is parked. `error` gets whether the client has the record. It is
    /// called under the record's lock, and must take none.
    pub(in crate::ledger) fn expire(
        &self,
        now: Instant,
        error: impl FnOnce(bool) -> Error,
        unseen: &Outstanding<Tenant>,
    ) {
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
                let error = error.with_unanswered(unanswered.with_throttled(throttled));
                state.set_outcome(Err(error), self.record.tenant, Some(unseen))
            }
        };
        drop(state);
        waker.into_iter().for_each(wake);
    }

    /// Makes `wait` wait for the record, unless its outcome is known or nothing waits for it any more.
    pub(in crate::ledger) fn attach(&self, wait: &Arc<Wait>) {
        let mut state = self.state();
        if state.stage == Stage::Settled || state.is_given_up() {
            return;
        }
        let waits = &mut state.rare().waits;
        // Those of calls whose future was dropped: a caller may flush again and again while a record has no answer.
        waits.retain(|known| known.strong_count() > 0);
        if !waits.iter().any(|known| known.as_ptr() == Arc::as_ptr(wait)) {
            wait.begin();
            waits.push(Arc::downgrade(wait));
        }
    }

    /// Gives the record up for those who wait for it beside its caller, and returns the error to a caller that has no
    /// time-out yet. The record itself continues. `error` gets whether a client may have it; it is called for both
    /// cases, and under no lock. False if the record is being handed over or settled at this moment.
    pub(in crate::ledger) fn give_up(
        &self,
        now: Instant,
        error: impl Fn(bool) -> Error,
        unseen: &Outstanding<Tenant>,
    ) -> bool {
        let (held, handed_over) = (error(false), error(true));
        let mut state = self.state();
        let error = match state.stage {
            Stage::Settled => return true,
            _ if state.is_given_up() => return true,
            Stage::Parked => return false,
            _ if state.claimed => return false,
            Stage::Held => held,
            Stage::HandedOver | Stage::Expired => handed_over,
        };
        let unanswered = self.describe(&state, now);
        let rare = state.rare();
        rare.given_up = true;
        let waits = rare.take_waits();
        waits.iter().for_each(|wait| wait.count(&self.record, &Err::<A, _>(error.clone())));
        let waker = if state.stage == Stage::Expired {
            None
        } else {
            state.stage = Stage::Expired;
            // Set already if the caller has dropped its future: then it belongs to the observer of that.
            state.rare().late.get_or_insert_with(|| unanswered.report());
            state.set_outcome(Err(error.with_unanswered(unanswered)), self.record.tenant, Some(unseen))
        };
        drop(state);
        waker.into_iter().for_each(wake);
        waits.iter().for_each(|wait| wait.end());
        true
    }

    /// Called when the caller's future is dropped before it was ready. `throttled` says whether a broker throttles the
    /// record.
    pub(in crate::ledger) fn abandon(
        &self,
        now: impl FnOnce() -> Instant,
        throttled: impl FnOnce() -> bool,
        unseen: &Outstanding<Tenant>,
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
            let before = if outcome.is_none() { state.rare().late.replace(unanswered.report()) } else { None };
            drop(state);
            drop(before);
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
    pub(in crate::ledger) fn seen(&self, unseen: &Outstanding<Tenant>) {
        let failure = self.state().take_unseen();
        failure.into_iter().for_each(|failure| unseen.end(failure));
    }
}
