//! The records of one tenant: its control, over a ledger that several sinks share.

use std::any::TypeId;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use super::transport::LOOK_AGAIN;
use super::wait::{Wait, Waiting};
use super::{Closing, RecordTransport};
use crate::clock::later;
use crate::sync::lock;
use crate::{CloseReport, Control, ControlFuture, InFlight, Tenant, TransactionControl, UnseenFailures};

/// [Control](Control::open_tenant) of the records of one tenant. Everything else is that of the whole transport.
pub struct TenantControl<R: RecordTransport> {
    transport: Arc<R>,
    whole: Arc<dyn Control>,
    tenant: Tenant,
    close: Arc<TenantClose>,
}

/// The close of a tenant.
pub(super) struct TenantClose {
    pub(super) tenant: Tenant,
    closing: Arc<Closing>,
    wait: Arc<Wait>,
    begun: Mutex<bool>,
}

impl<R: RecordTransport> TenantControl<R> {
    /// Opens a tenant of a transport, of which `whole` is the control. `None` if 65,535 are open.
    ///
    /// The transport drives its close as it drives deadlines: with [`Ledger::next_deadline`](super::Ledger::next_deadline)
    /// and [`RecordTransport::expire`]. It calls [`Ledger::watch`](super::Ledger::watch) for each record with a tenant
    /// before the record is admitted.
    pub fn open(transport: &Arc<R>, whole: Arc<dyn Control>) -> Option<Arc<dyn Control>> {
        let tenant = transport.ledger().open_tenant()?;
        let closing = Arc::<Closing>::default();
        let wait = Wait::new(Some(Arc::clone(&closing)));
        let close = Arc::new(TenantClose { tenant, closing, wait, begun: Mutex::new(false) });
        Some(Arc::new(Self { transport: Arc::clone(transport), whole, tenant, close }))
    }
}

impl<R: RecordTransport> TenantControl<R> {
    /// Waits until the records are settled, and gives them up at the deadline.
    async fn until(&self, deadline: Instant, settled: impl Future<Output = ()>) {
        let (mut settled, mut timer) = (pin!(settled), pin!(self.transport.timer(deadline)));
        poll_fn(|cx| {
            while settled.as_mut().poll(cx).is_pending() {
                ready!(timer.as_mut().poll(cx));
                let now = self.transport.now();
                let pause = if self.transport.give_up(&self.close, now) { Duration::MAX } else { LOOK_AGAIN };
                timer.set(self.transport.timer(later(now, pause)));
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl<R: RecordTransport> Control for TenantControl<R> {
    fn flush(&self) -> ControlFuture<'_, ()> {
        let wait = Wait::new(None);
        self.transport.ledger().attach(self.tenant, &wait);
        wait.end();
        // Sends lingering batches, for as long as it is polled.
        let flush = self.whole.flush();
        Box::pin(async move {
            first(Waiting(wait), flush).await;
            Ok(())
        })
    }

    fn close(&self, within: Duration) -> ControlFuture<'_, CloseReport> {
        let (now, close) = (self.transport.now(), &self.close);
        let deadline = later(now, within);
        let mut waiter = close.closing.begin(Some(deadline));
        let ledger = self.transport.ledger();
        // Held until the records are attached, so that a second close does not give them up before.
        let mut begun = lock(&close.begun);
        let is_first = !std::mem::replace(&mut *begun, true);
        if is_first {
            ledger.refuse_tenant(self.tenant);
            ledger.attach(self.tenant, &close.wait);
        }
        drop(begun);
        if is_first {
            close.wait.end();
        }
        if deadline <= now && self.transport.give_up(close, now) {
            // Nothing is left.
        } else if !close.closing.is_done() && ledger.give_up_at(deadline, close) {
            self.transport.deadline_changed();
        }
        let flush = self.whole.flush();
        Box::pin(async move {
            self.until(deadline, first(&mut waiter, flush)).await;
            Ok(waiter.report())
        })
    }

    fn unseen(&self) -> UnseenFailures {
        self.transport.ledger().unseen_failures_of(self.tenant)
    }

    fn partition_count(&self, topic: &str) -> Option<u32> {
        self.whole.partition_count(topic)
    }

    /// Looks at all records of the transport.
    fn in_flight(&self) -> InFlight {
        let mut sum = InFlight::default();
        for slot in self.transport.ledger().of_tenant(self.tenant).iter().filter(|slot| slot.is_of_tenant()) {
            if slot.is_parked() {
                sum.parked += 1;
            } else {
                sum.records += 1;
                sum.bytes += slot.record().size();
            }
        }
        sum
    }

    fn last_error(&self) -> Option<String> {
        self.whole.last_error()
    }

    fn giver(&self) -> Option<TypeId> {
        self.whole.giver()
    }

    fn generation(&self) -> u64 {
        self.whole.generation()
    }

    fn tenant(&self) -> Tenant {
        self.tenant
    }

    fn transactions(&self) -> Option<Arc<dyn TransactionControl>> {
        self.whole.transactions()
    }
}

/// Waits for `own`, and polls `all` meanwhile.
async fn first(own: impl Future<Output = ()>, mut all: ControlFuture<'_, ()>) {
    let (mut own, mut polled) = (pin!(own), true);
    poll_fn(|cx| {
        if own.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if polled && all.as_mut().poll(cx).is_ready() {
            polled = false;
            // It settles the last record before it resolves.
            return own.as_mut().poll(cx);
        }
        Poll::Pending
    })
    .await;
}

impl<R: RecordTransport> Drop for TenantControl<R> {
    fn drop(&mut self) {
        self.transport.ledger().forget_tenant(self.tenant);
    }
}

impl<R: RecordTransport> fmt::Debug for TenantControl<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantControl").field("tenant", &self.tenant).field("whole", &self.whole).finish()
    }
}

/// Which tenants are open and which are closed, and when the closing ones give up.
#[derive(Default)]
pub(super) struct Tenants {
    last: Tenant,
    open: std::collections::BTreeSet<Tenant>,
    /// A bit for each number. Empty before the first close, so that it costs a record nothing.
    closed: Vec<u64>,
    closing: Vec<(Instant, Arc<TenantClose>)>,
}

impl Tenants {
    /// Opens the next number that is neither open nor in use.
    pub(super) fn open(&mut self, in_use: impl Fn(Tenant) -> bool) -> Option<Tenant> {
        for _ in 0..u16::MAX {
            self.last = self.last.next();
            if !self.open.contains(&self.last) && !in_use(self.last) {
                self.open.insert(self.last);
                let (word, bit) = place(self.last);
                self.closed.get_mut(word).into_iter().for_each(|bits| *bits &= !bit);
                return Some(self.last);
            }
        }
        None
    }

    pub(super) fn forget(&mut self, tenant: Tenant) {
        self.open.remove(&tenant);
    }

    /// Refuses later records of the tenant.
    pub(super) fn close(&mut self, tenant: Tenant) {
        let (word, bit) = place(tenant);
        if self.closed.len() <= word {
            self.closed.resize(word + 1, 0);
        }
        self.closed[word] |= bit;
    }

    #[inline]
    pub(super) fn is_closed(&self, tenant: Tenant) -> bool {
        let (word, bit) = place(tenant);
        self.closed.get(word).is_some_and(|bits| bits & bit != 0)
    }

    pub(super) fn give_up_at(&mut self, at: Instant, close: &Arc<TenantClose>) {
        match self.closing.iter_mut().find(|(_, known)| Arc::ptr_eq(known, close)) {
            Some((earliest, _)) => *earliest = at.min(*earliest),
            None => self.closing.push((at, Arc::clone(close))),
        }
    }

    /// Takes the closes that are done. Drop them without a lock: a report that was not taken holds records, whose drop may run the
    /// application's code.
    pub(super) fn take_done(&mut self) -> Vec<Arc<TenantClose>> {
        self.take(|_, close| close.closing.is_done())
    }

    /// The earliest time at which a close gives up.
    pub(super) fn next(&self) -> Option<Instant> {
        self.closing.iter().map(|(at, _)| *at).min()
    }

    /// Takes the closes whose time is over.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Arc<TenantClose>> {
        self.take(|at, _| at <= now)
    }

    fn take(&mut self, which: impl Fn(Instant, &TenantClose) -> bool) -> Vec<Arc<TenantClose>> {
        let (taken, others) = std::mem::take(&mut self.closing).into_iter().partition(|(at, close)| which(*at, close));
        self.closing = others;
        taken.into_iter().map(|(_, close): (_, _)| close).collect()
    }
}

fn place(tenant: Tenant) -> (usize, u64) {
    (tenant.number() / 64, 1 << (tenant.number() % 64))
}
