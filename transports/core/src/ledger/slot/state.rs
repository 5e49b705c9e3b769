//! What a [`Slot`](super::Slot) keeps under its lock.

use std::mem;
use std::sync::{Arc, Weak};
use std::task::Waker;

use crate::gate::Permit;
use crate::ledger::wait::Wait;
use crate::outstanding::{Outstanding, Place as Unseen};
use crate::unanswered::LateReport;
use crate::{Result, Tenant};

pub(super) struct State<A> {
    pub(super) stage: Stage,
    pub(super) outcome: Option<Result<A>>,
    pub(super) waker: Option<Waker>,
    pub(super) permit: Option<Permit>,
    /// The caller's future was dropped.
    pub(super) abandoned: bool,
    /// A failure, or an outcome during a close, is being recorded: it is the record's only one.
    pub(super) claimed: bool,
    /// Here because it needs no further room.
    pub(super) order: u32,
    /// Nanoseconds from its call until it was handed over: 0 if it was neither parked nor held before.
    pub(super) handed_over_after: u64,
    /// None for a record that succeeds. Boxed, so that the slot of each record is small.
    pub(super) rare: Option<Box<Rare>>,
}

#[derive(Default)]
pub(super) struct Rare {
    /// Receiver of the late report, if the caller's future was dropped or returned a time-out.
    pub(super) late: Option<LateReport>,
    /// Set for a failure that the caller's future has not returned yet.
    pub(super) unseen: Option<Unseen>,
    /// Who waits for its outcome beside its caller. Weak, so that a call whose future was dropped waits for nothing.
    pub(super) waits: Vec<Weak<Wait>>,
    /// The close of its tenant has given it up: nothing waits for it any more.
    pub(super) given_up: bool,
}

impl Rare {
    /// Takes the waits that are still waited for. Drop them without a lock: they have wakers.
    pub(super) fn take_waits(&mut self) -> Vec<Arc<Wait>> {
        mem::take(&mut self.waits).iter().filter_map(Weak::upgrade).collect()
    }
}

impl Drop for Rare {
    /// A record that the gate refused is never settled.
    fn drop(&mut self) {
        self.take_waits().iter().for_each(|wait| wait.end());
    }
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
    pub(super) fn set_outcome(
        &mut self,
        outcome: Result<A>,
        tenant: Tenant,
        unseen: Option<&Outstanding<Tenant>>,
    ) -> Option<Waker> {
        if outcome.is_err() && !self.abandoned {
            if let Some(unseen) = unseen {
                self.rare().unseen = Some(unseen.begin(unseen.epoch(), tenant));
            }
        }
        self.outcome = Some(outcome);
        self.waker.take()
    }

    pub(super) fn refuse_second(&mut self) -> Result<(), Option<Permit>> {
        match (self.stage == Stage::Settled, self.claimed) {
            (true, _) => Err(self.permit.take()),
            (false, true) => Err(None),
            (false, false) => Ok(()),
        }
    }

    #[cold]
    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.given_up)
    }

    pub(super) fn take_unseen(&mut self) -> Option<Unseen> {
        self.rare.as_mut()?.unseen.take()
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Stage {
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
