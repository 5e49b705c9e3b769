//! Bookkeeping of a transport that settles record by record: admission, deadlines, outcomes, close.
//!
//! A [`Ledger`] holds what such a transport needs beside its way to Kafka. Each record has a [`Slot`] from its call
//! until it is settled. The transport implements [`Gated`](crate::gate::Gated) (take an admitted record) and
//! [`RecordTransport`] (its errors), returns a [`DeliveryFuture`] from `call`, and drives the ledger:
//!
//! | when | call |
//! |---|---|
//! | a record was called | [`Ledger::watch`], so that its deadline is kept |
//! | a record is handed over | [`Slot::admit`] |
//! | its report arrives | [`RecordTransport::settle`], then [`Gated::release`](crate::gate::Gated::release) with the permit |
//! | [`Ledger::next_deadline`] has passed | [`RecordTransport::expire`] |
//! | close | [`Closing`] |
//!
//! Several sinks may share a ledger: [`TenantControl`] flushes, closes and counts the records of one of them.
//!
//! Time is an argument: a thread drives the deadlines of one transport, a task those of another.
//!
//! A transport that counts by batch brings its own completions and uses the [gate](crate::gate) and [`Closing`].

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::error::transport as transport_errors;
use crate::gate::{Gate, Limits, Refused};
use crate::outstanding::Outstanding;
use crate::sync::lock;
use crate::{Error, Result, Tenant, UnseenFailures};

mod acknowledged;
mod closing;
mod deadlines;
mod future;
mod slot;
mod tenant;
mod transport;
mod wait;

pub use acknowledged::Acknowledged;
pub use closing::{CloseWaiter, Closing};
use deadlines::Deadlines;
pub use future::{DeliveryFuture, Keeper};
pub use slot::{Acknowledgement, Slot};
use tenant::TenantClose;
pub use tenant::TenantControl;
pub use transport::RecordTransport;

/// State of a transport's records. `A` is what a broker acknowledges.
pub struct Ledger<A> {
    gate: Gate<Arc<Slot<A>>>,
    deadlines: Mutex<Deadlines<A>>,
    /// Failures that their callers' futures have not returned yet.
    unseen: Arc<Outstanding<Tenant>>,
    closing: Arc<Closing>,
    bound: Option<Duration>,
}

impl<A> Ledger<A> {
    /// Creates a ledger. A limit of 0 counts as 1. `bound` is the time after its call at which a record is
    /// [overdue](RecordTransport::expire), independent of its deadline.
    #[must_use]
    pub fn new(limits: Limits, bound: Option<Duration>) -> Self {
        Self {
            gate: Gate::new(limits),
            deadlines: Mutex::default(),
            unseen: Arc::default(),
            closing: Arc::default(),
            bound,
        }
    }

    /// The gate.
    pub fn gate(&self) -> &Gate<Arc<Slot<A>>> {
        &self.gate
    }

    /// Error of a record that the gate refused. It [contains the record](Error::take_record).
    pub fn refusal(&self, refused: &Refused<Arc<Slot<A>>>) -> Error {
        let (error, slot) = match refused {
            Refused::TooLarge(slot) => {
                let (record, limit) = (slot.record(), self.gate.limits().bytes);
                (transport_errors::larger_than_gate(&record.topic, record.size(), limit), slot)
            }
            Refused::Closed(slot) => (transport_errors::after_close(&slot.record().topic), slot),
        };
        error.with_record(slot.record().clone())
    }

    /// State of the close.
    pub fn closing(&self) -> &Arc<Closing> {
        &self.closing
    }

    /// Failures so far that their callers have not seen: the answer of [`Control::unseen`](crate::Control::unseen).
    #[must_use]
    pub fn unseen_failures(&self) -> UnseenFailures {
        UnseenFailures::of(&self.unseen)
    }

    fn unseen_failures_of(&self, tenant: Tenant) -> UnseenFailures {
        UnseenFailures::of_tenant(&self.unseen, tenant)
    }

    fn open_tenant(&self) -> Option<Tenant> {
        // Dropped after the lock: dropping a record may run foreign code.
        let all;
        let mut deadlines = self.deadlines();
        all = deadlines.all();
        let in_use: BTreeSet<Tenant> = all.iter().map(|slot| slot.record().tenant()).collect();
        deadlines.tenants.open(|tenant| in_use.contains(&tenant))
    }

    fn forget_tenant(&self, tenant: Tenant) {
        self.deadlines().tenants.forget(tenant);
    }

    fn refuse_tenant(&self, tenant: Tenant) {
        self.deadlines().tenants.close(tenant);
    }

    /// Makes `wait` wait for the records of the tenant that were called so far.
    fn attach(&self, tenant: Tenant, wait: &Arc<wait::Wait>) {
        self.of_tenant(tenant).iter().for_each(|slot| slot.attach(wait));
    }

    /// The records of a tenant that are still held, each once, in the order of their calls.
    fn of_tenant(&self, tenant: Tenant) -> Vec<Arc<Slot<A>>> {
        // Not under the lock: dropping a record may run foreign code.
        let mut all = self.watched();
        all.retain(|slot| slot.record().tenant() == tenant);
        let mut seen = BTreeSet::new();
        all.retain(|slot| seen.insert(Arc::as_ptr(slot)));
        all.sort_by_key(|slot| slot.called_at());
        all
    }

    /// Gives the tenant's records up at that time. Returns whether [`next_deadline`](Self::next_deadline) is earlier now.
    fn give_up_at(&self, at: Instant, close: &Arc<TenantClose>) -> bool {
        let mut deadlines = self.deadlines();
        deadlines.tenants.give_up_at(at, close);
        deadlines.is_first(at)
    }

    fn due_closes(&self, now: Instant) -> Vec<Arc<TenantClose>> {
        self.deadlines().tenants.due(now)
    }

    fn bound_of(&self, slot: &Slot<A>) -> Option<Instant> {
        slot.called_at().checked_add(self.bound?)
    }

    /// Watches a record's deadline and bound. Returns whether it is now the first one: then
    /// [`next_deadline`](Self::next_deadline) is earlier than it was. Also frees some
    /// [deferred](Self::defer_drop) records.
    ///
    /// # Errors
    ///
    /// The record's [tenant](crate::Record::tenant) was closed: refuse the record.
    pub fn watch(&self, slot: &Arc<Slot<A>>) -> Result<bool> {
        let tenant = slot.record().tenant();
        let at = match (slot.record().expires_at, self.bound_of(slot)) {
            (Some(deadline), Some(bound)) => Some(deadline.min(bound)),
            (deadline, bound) => deadline.or(bound),
        };
        let mut deadlines = self.deadlines();
        if deadlines.tenants.is_closed(tenant) {
            drop(deadlines);
            return Err(transport_errors::after_sink_close(&slot.record().topic));
        }
        let Some(at) = at else {
            if !tenant.is_none() {
                deadlines.keep(slot);
            }
            return Ok(false);
        };
        let first = deadlines.push(at, slot);
        let settled = deadlines.take_settled();
        drop(deadlines);
        drop(settled); // not under the lock: dropping a record may run foreign code
        Ok(first)
    }

    /// Watches records again that were [overdue](RecordTransport::expire), until `at`.
    pub fn watch_again(&self, overdue: &[Arc<Slot<A>>], at: Instant) {
        for slot in overdue {
            self.deadlines().push(at, slot);
        }
    }

    /// When to call [`RecordTransport::expire`] next: no deadline is before that.
    pub fn next_deadline(&self) -> Option<Instant> {
        // Dropped after the lock: a report that was not taken holds records.
        let _done;
        let mut deadlines = self.deadlines();
        _done = deadlines.tenants.take_done();
        deadlines.next()
    }

    /// Makes the next [`watch`](Self::watch) return true. Called when the task or thread that waited for
    /// [`next_deadline`](Self::next_deadline) has ended.
    pub fn forget_next_deadline(&self) {
        self.deadlines().forget_next();
    }

    /// The watched records that are still held.
    ///
    /// All unsettled records are watched if the ledger has a bound and the transport
    /// [watches overdue records again](Self::watch_again), and so are those of a [tenant](crate::Record::tenant). Without a bound,
    /// any other record is watched until its deadline, and one without a deadline never.
    pub fn watched(&self) -> Vec<Arc<Slot<A>>> {
        self.deadlines().all()
    }

    /// The oldest watched records that may not be settled, one of each order of deadlines.
    pub fn oldest(&self) -> [Option<Arc<Slot<A>>>; 2] {
        self.deadlines().oldest()
    }

    /// Leaves settled records to calling threads, which free two with each [`watch`](Self::watch): memory is freed best
    /// by the thread that allocated it. Two threads that free and allocate in one arena block each other.
    pub fn defer_drop(&self, settled: &mut Vec<Arc<Slot<A>>>) {
        self.deadlines().defer_drop(settled);
    }

    /// Frees deferred records, if no record was called since the last time.
    pub fn drop_stale(&self) {
        // A separate statement: not under the lock, as above.
        let stale = self.deadlines().take_stale();
        if stale.is_some() {
            drop(stale);
            self.deadlines().pop_gone(usize::MAX);
        }
    }

    /// Takes all deferred records.
    pub fn take_deferred(&self) -> VecDeque<Arc<Slot<A>>> {
        self.deadlines().take_all_settled()
    }

    fn deadlines(&self) -> MutexGuard<'_, Deadlines<A>> {
        lock(&self.deadlines)
    }
}

impl<A> fmt::Debug for Ledger<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("gate", &self.gate).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
