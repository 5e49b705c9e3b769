use std::future::Future;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::tenant::TenantClose;
use super::{Acknowledgement, Ledger, Slot};
use crate::clock::later;
use crate::error::transport as transport_errors;
use crate::gate::{Gated, Permit};
use crate::wakers::wake;
use crate::{Error, Persistence, Result};

/// Time after which a record is looked at again that was being handed over or settled: the driver must not spin meanwhile.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Transport that settles record by record: the errors and the clock that its [`Ledger`] needs.
pub trait RecordTransport: Gated<Item = Arc<Slot<Self::Acknowledgement>>> {
    /// What a broker acknowledges.
    type Acknowledgement: Acknowledgement;

    /// The ledger of this transport, with its gate.
    fn ledger(&self) -> &Ledger<Self::Acknowledgement>;

    /// Called when a record fails, before its caller is woken. A transaction must not be committed without it.
    fn failed(&self, slot: &Slot<Self::Acknowledgement>, error: &Error);

    /// The transport's clock. Default: the system's.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Whether a broker throttles the record. Default: no.
    fn is_throttled(&self, _slot: &Slot<Self::Acknowledgement>) -> bool {
        false
    }

    /// Called when [`Ledger::next_deadline`] became earlier, other than by a [watched](Ledger::watch) record. Default: nothing,
    /// for a transport without [tenants](crate::Control::open_tenant).
    fn deadline_changed(self: &Arc<Self>) {}

    /// Resolves at `at`. The close of a tenant waits for it at each poll. Default: never, for a transport that keeps the close's
    /// deadline whatever happens. One whose task may end with its runtime makes a timer where the future is polled.
    fn timer(&self, _at: Instant) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Says why a record has no answer, if it is known, for the errors of the records that a tenant's close gives up. Called
    /// once for all of them. Default: not known.
    fn reasons(&self) -> impl Fn(&Slot<Self::Acknowledgement>) -> Option<String> {
        |_: &Slot<Self::Acknowledgement>| None
    }

    /// Settles a record: sets its outcome, wakes its caller, counts it if the transport is closing. Returns the permit
    /// of an admitted record, to be [released](Gated::release) afterwards, so that a caller which waits for the room
    /// finds the record settled. Settling it again does nothing.
    #[must_use = "room that is not released is lost"]
    fn settle(&self, slot: &Slot<Self::Acknowledgement>, outcome: Result<Self::Acknowledgement>) -> Option<Permit> {
        self.settle_with(slot, outcome, wake)
    }

    /// As [`settle`](Self::settle), and passes the caller's waker to `wake`. A transport that settles many records in one go
    /// collects the wakers with [`WakeLater`](crate::wakers::WakeLater): each wake-up costs the caller a poll, and its task
    /// finds more records settled.
    #[must_use = "room that is not released is lost"]
    #[inline]
    fn settle_with(
        &self,
        slot: &Slot<Self::Acknowledgement>,
        outcome: Result<Self::Acknowledgement>,
        wake: impl FnOnce(Waker),
    ) -> Option<Permit> {
        let ledger = self.ledger();
        if outcome.is_err() || ledger.closing.has_begun() {
            if let Err(permit) = slot.claim() {
                return permit;
            }
            if let Err(error) = &outcome {
                self.failed(slot, error);
            }
            ledger.closing.count(slot.record(), &outcome);
            return slot.settle_claimed(outcome, &ledger.unseen, wake);
        }
        slot.settle(outcome, Some(&ledger.unseen), wake)
    }

    /// Expires the records whose deadline has passed: withdraws parked ones, and gives the callers of the others their
    /// time-out. A record that was handed over continues. Returns the records that are overdue, which are then no
    /// longer [watched](Ledger::watch).
    ///
    /// `error` creates the time-out of a record that waited for room (`false`) or was admitted (`true`), outside all
    /// locks.
    fn expire(
        self: &Arc<Self>,
        now: Instant,
        error: impl Fn(&Slot<Self::Acknowledgement>, bool) -> Error,
    ) -> Vec<Arc<Slot<Self::Acknowledgement>>> {
        let ledger = self.ledger();
        for close in ledger.due_closes(now) {
            if !self.give_up(&close, now) {
                // A record that is being handed over at this moment is looked at again.
                ledger.give_up_at(later(now, LOOK_AGAIN), &close);
            }
        }
        let (mut parked, mut overdue) = (Vec::new(), Vec::new());
        loop {
            // A separate statement: callers are woken without the lock.
            let due = ledger.deadlines().pop(now);
            let Some(slot) = due else { break };
            if slot.is_parked() {
                parked.push(slot);
                continue;
            }
            if slot.record().expires_at.is_some_and(|at| at <= now) && slot.is_awaited() {
                // Before the record is locked, because the error may need other locks.
                let error = error(&slot, true);
                let for_caller = |handed_over| {
                    if handed_over { error } else { error.with_persistence(Persistence::NotPersisted) }
                };
                slot.expire(now, for_caller, &ledger.unseen);
            }
            if slot.is_settled() {
                continue;
            }
            match ledger.bound_of(&slot) {
                Some(bound) if bound <= now => overdue.push(slot),
                Some(bound) => drop(ledger.deadlines().push(bound, &slot)),
                None if !slot.record().tenant().is_none() => ledger.deadlines().keep(&slot),
                None => {}
            }
        }
        if !parked.is_empty() {
            let is_due = |slot: &Arc<Slot<_>>| {
                let deadline = slot.record().expires_at;
                [deadline, ledger.bound_of(slot)].into_iter().flatten().any(|at| at <= now)
            };
            let settle = |slot: Arc<Slot<_>>| {
                let _never_admitted = self.settle(&slot, Err(error(&slot, false)));
            };
            self.withdraw(is_due, settle);
            // A record that is being handed over at this moment is checked again.
            for slot in parked.into_iter().filter(|slot| !slot.is_settled()) {
                ledger.deadlines().push(later(now, LOOK_AGAIN), &slot);
            }
        }
        overdue
    }

    /// Gives up the records of a tenant: withdraws parked ones, and gives the callers of the others an error. A record that
    /// was handed over continues. False if one was being handed over or settled at this moment.
    #[doc(hidden)] // only the ledger calls it
    #[allow(private_interfaces)]
    fn give_up(self: &Arc<Self>, close: &TenantClose, now: Instant) -> bool {
        let (ledger, tenant, reason) = (self.ledger(), close.tenant, self.reasons());
        let settle = |slot: Arc<Slot<_>>| {
            let error = transport_errors::without_room_at_sink_close(&slot.record().topic, reason(&slot).as_deref());
            let _never_admitted = self.settle(&slot, Err(error));
        };
        self.withdraw(|slot| slot.record().tenant() == tenant, settle);
        let mut all = true;
        for slot in ledger.of_tenant(tenant).iter().filter(|slot| slot.is_of_tenant()) {
            let why = reason(slot);
            let error = |handed_over| {
                transport_errors::unanswered_at_sink_close(&slot.record().topic, handed_over, why.as_deref())
            };
            all &= slot.give_up(now, error, &ledger.unseen);
        }
        all
    }

    /// Gives the callers of overdue records their time-out. The records continue. `error` gets whether the record was
    /// handed over. It is called outside all locks, for both cases.
    fn time_out(
        &self,
        overdue: &[Arc<Slot<Self::Acknowledgement>>],
        now: Instant,
        error: impl Fn(&Slot<Self::Acknowledgement>, bool) -> Error,
    ) {
        for slot in overdue {
            // Before the record is locked, because the error may need other locks.
            let (held, handed_over) = (error(slot, false), error(slot, true));
            slot.expire(now, |is_handed_over| if is_handed_over { handed_over } else { held }, &self.ledger().unseen);
        }
    }
}
