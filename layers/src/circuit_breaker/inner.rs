use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use kafka_tower_core::Error;
use kafka_tower_core::sync::lock;
use kafka_tower_core::unanswered::LateObserver;
use kafka_tower_core::wakers::wake_all;
use tokio::sync::watch;
use tokio::time::Instant;

use super::errors::Failure;
use super::state::{Admits, Machine, Refusal, Ticket};
use super::{CircuitBreakerConfig, CircuitState, Outcome, Transition, errors};

/// State shared by all services and handles of a layer.
pub(crate) struct BreakerInner {
    /// The generation and the flags [`FREE`] and [`CLEAN`]: calls of a healthy breaker take no lock. Written under
    /// the lock.
    fast: AtomicU64,
    deliveries: Deliveries,
    locked: Mutex<Locked>,
    /// Never sent to under the lock: a receiver's waker may run foreign code.
    state: watch::Sender<CircuitState>,
}

/// `number of changes << 1 | whether a call waits for the next one`. A success changes it only if a call was made since the last
/// change: many calls that are answered together write it twice. It has its own cache line, apart from data that is only read.
#[derive(Default)]
#[repr(align(128))]
struct Deliveries(AtomicU32);

impl Deliveries {
    /// The number of changes, modulo 2^31: compared for equality only.
    #[inline]
    fn changes(&self) -> u32 {
        self.0.load(Ordering::Relaxed) >> 1
    }

    /// From now on the next success changes the number.
    #[inline]
    fn watch(&self) {
        if self.0.load(Ordering::Relaxed) & 1 == 0 {
            self.0.fetch_or(1, Ordering::Relaxed);
        }
    }

    #[inline]
    fn delivered(&self) {
        let number = self.0.load(Ordering::Relaxed);
        if number & 1 != 0 {
            // If it fails, another success has changed the number since the last look.
            let _ = self.0.compare_exchange(number, number.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Admitting a call changes no state.
const FREE: u64 = 1;
/// A success changes no state.
const CLEAN: u64 = 2;
const GENERATION: u32 = 2;

type Hook = Arc<dyn Fn(&Transition) + Send + Sync>;

struct Locked {
    machine: Machine,
    last_failure: Option<Arc<Failure>>,
    /// Wakers of services that wait, for the service below or for an admission, to wake when [`Machine::admits`] changes.
    waiting: BTreeMap<u64, Waker>,
    next_waiter: u64,
    hooks: Vec<Hook>,
    pending: VecDeque<Transition>,
    /// A thread is calling the hooks, one transition after another.
    notifying: bool,
}

/// Registration of a waiting service. Dropping it removes the waker.
#[derive(Debug)]
pub(super) struct Waiter {
    shared: Arc<BreakerInner>,
    id: u64,
}

impl BreakerInner {
    pub(super) fn new(config: CircuitBreakerConfig) -> Arc<Self> {
        let machine = Machine::new(config);
        Arc::new(Self {
            fast: AtomicU64::new(fast(&machine)),
            deliveries: Deliveries::default(),
            state: watch::Sender::new(machine.state()),
            locked: Mutex::new(Locked {
                machine,
                last_failure: None,
                waiting: BTreeMap::new(),
                next_waiter: 0,
                hooks: Vec::new(),
                pending: VecDeque::new(),
                notifying: false,
            }),
        })
    }

    /// Whether a call would be admitted now.
    #[inline]
    pub(super) fn would_admit(&self) -> bool {
        self.fast.load(Ordering::Acquire) & FREE != 0 || self.would_admit_now()
    }

    #[cold]
    fn would_admit_now(&self) -> bool {
        self.lock().machine.would_admit(Instant::now())
    }

    /// Whether a ticket is of the present period.
    pub(super) fn is_current(&self, ticket: &Ticket) -> bool {
        (self.fast.load(Ordering::Acquire) >> GENERATION) as u32 == ticket.generation
    }

    /// Begins the lease of a probe that was admitted before its call.
    pub(super) fn called(&self, ticket: &Ticket) {
        if self.fast.load(Ordering::Acquire) & FREE == 0 {
            let now = Instant::now();
            self.update(now, |locked| locked.machine.called(ticket, now));
        }
    }

    /// Admits a call, or returns the rejection.
    #[inline]
    pub(super) fn admit(&self) -> Result<Ticket, Error> {
        self.admit_or(|refusal, locked| errors::refused(refusal, locked.last_failure.as_deref()))
    }

    /// Admits a call, if one is admitted now.
    pub(super) fn try_admit(&self) -> Option<Ticket> {
        self.admit_or(|_, _| ()).ok()
    }

    #[inline]
    fn admit_or<E>(&self, refused: impl FnOnce(Refusal, &Locked) -> E) -> Result<Ticket, E> {
        let fast = self.fast.load(Ordering::Acquire);
        if fast & FREE != 0 { Ok(Ticket { generation: (fast >> GENERATION) as u32 }) } else { self.admit_slow(refused) }
    }

    #[cold]
    fn admit_slow<E>(&self, refused: impl FnOnce(Refusal, &Locked) -> E) -> Result<Ticket, E> {
        let now = Instant::now();
        self.update(now, |locked| locked.machine.admit(now).map_err(|refusal| refused(refusal, locked)))
    }

    /// Records the success of an admitted call.
    #[inline]
    pub(super) fn succeed(&self, ticket: &Ticket) {
        self.deliveries.delivered();
        if self.fast.load(Ordering::Acquire) & CLEAN == 0 {
            self.succeed_slow(ticket);
        }
    }

    #[cold]
    fn succeed_slow(&self, ticket: &Ticket) {
        let now = Instant::now();
        self.update(now, |locked| locked.machine.settle(ticket, Outcome::Success, now));
    }

    /// Records the result of an admitted call. `why` describes a failure.
    pub(super) fn settle(&self, ticket: &Ticket, outcome: Outcome, why: impl FnOnce() -> Option<Arc<Failure>>) {
        if outcome == Outcome::Success {
            return self.succeed(ticket);
        }
        if outcome == Outcome::Neutral && self.fast.load(Ordering::Acquire) & FREE != 0 {
            return;
        }
        let (now, why) = (Instant::now(), if outcome == Outcome::Failure { why() } else { None });
        self.update(now, |locked| {
            if locked.machine.settle(ticket, outcome, now) && outcome == Outcome::Failure {
                locked.last_failure = why;
            }
        });
    }

    /// A number that changes with the next delivery after a [watch](Self::watch).
    #[inline]
    pub(super) fn deliveries(&self) -> u32 {
        self.deliveries.changes()
    }

    /// From now on the next delivery changes the number.
    #[inline]
    pub(crate) fn watch(&self) {
        self.deliveries.watch();
    }

    pub(super) fn force(&self, change: impl FnOnce(&mut Machine)) {
        self.update(Instant::now(), |locked| {
            change(&mut locked.machine);
            locked.last_failure = None;
        });
    }

    pub(super) fn current(&self) -> CircuitState {
        self.lock().machine.state()
    }

    pub(super) fn trips(&self) -> u64 {
        self.lock().machine.trips()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<CircuitState> {
        self.state.subscribe()
    }

    pub(super) fn add_hook(&self, hook: impl Fn(&Transition) + Send + Sync + 'static) {
        self.lock().hooks.push(Arc::new(hook));
    }

    /// Returns when a call is admitted, and registers `waker` to be woken when that changes other than by time. Both happen
    /// under one lock, so no change is missed in between.
    pub(super) fn wait(self: &Arc<Self>, waiter: &mut Option<Waiter>, waker: &Waker) -> Admits {
        let mut locked = self.lock();
        let admits = locked.machine.admits(Instant::now());
        let id = waiter.as_ref().map_or(locked.next_waiter, |waiter| waiter.id);
        let old = match locked.waiting.get_mut(&id) {
            Some(old) if old.will_wake(waker) => None,
            _ => locked.waiting.insert(id, waker.clone()),
        };
        locked.next_waiter = locked.next_waiter.max(id + 1);
        drop(locked);
        drop(old);
        waiter.get_or_insert_with(|| Waiter { shared: Arc::clone(self), id });
        admits
    }

    fn update<T>(&self, now: Instant, change: impl FnOnce(&mut Locked) -> T) -> T {
        let mut locked = self.lock();
        let (before, admits) = (locked.machine.state(), locked.machine.admits(now));
        let out = change(&mut locked);
        let after = locked.machine.state();
        self.fast.store(fast(&locked.machine), Ordering::Release);
        let is_same = locked.machine.admits(now) == admits;
        let wakers = if is_same { BTreeMap::new() } else { std::mem::take(&mut locked.waiting) };
        if before != after {
            locked.pending.push_back(Transition { from: before, to: after });
        }
        drop(locked);
        wake_all(wakers.into_values());
        if before != after {
            self.notify();
        }
        out
    }

    /// Calls the hooks outside the lock, in order, one transition at a time: a hook may use the breaker.
    fn notify(&self) {
        self.state.send_if_modified(|state| {
            let now = self.lock().machine.state();
            std::mem::replace(state, now) != now
        });
        loop {
            let mut locked = self.lock();
            if locked.notifying {
                return;
            }
            let Some(transition) = locked.pending.pop_front() else { return };
            locked.notifying = true;
            let (hooks, why) = (locked.hooks.clone(), locked.last_failure.clone());
            drop(locked);
            let _telling = Notifying(self);
            transition.trace(why.as_deref());
            hooks.iter().for_each(|hook| hook(&transition));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Locked> {
        lock(&self.locked)
    }
}

/// Receives late reports of records whose callers got no outcome.
impl LateObserver for BreakerInner {
    fn late_report(&self, delivered: bool) {
        if !delivered {
            return;
        }
        self.deliveries.delivered();
        if self.fast.load(Ordering::Acquire) & CLEAN == 0 {
            let now = Instant::now();
            self.update(now, |locked| locked.machine.delivered_late(now));
        }
    }
}

fn fast(machine: &Machine) -> u64 {
    let free = if machine.admits_freely() { FREE } else { 0 };
    let clean = if machine.is_clean() { CLEAN } else { 0 };
    u64::from(machine.generation()) << GENERATION | free | clean
}

/// Ends the calling of hooks, also after a panic in one.
struct Notifying<'a>(&'a BreakerInner);

impl Drop for Notifying<'_> {
    fn drop(&mut self) {
        self.0.lock().notifying = false;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let waker = self.shared.lock().waiting.remove(&self.id);
        drop(waker);
    }
}

impl fmt::Debug for BreakerInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker").field("machine", &self.lock().machine).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Call,
        Wait(usize),
        Success,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![Just(Step::Call), (0..8_usize).prop_map(Step::Wait), Just(Step::Success)]
    }

    proptest! {
        /// Calls begin and wait, and successes come, in any order. A call that waits knows of each success, and no call knows of
        /// one that was before it.
        #[test]
        fn deliveries_since_a_call_waits_are_known(steps in prop::collection::vec(step(), 0..60)) {
            let deliveries = Deliveries(AtomicU32::new(u32::MAX - 9));
            // The number at the call, whether it waits, successes since then, and since the call.
            let mut calls = Vec::new();
            for step in steps {
                match step {
                    Step::Call => calls.push((deliveries.changes(), false, false, false)),
                    Step::Wait(which) => {
                        if let Some(call) = calls.get_mut(which) {
                            deliveries.watch();
                            call.1 = true;
                        }
                    }
                    Step::Success => {
                        deliveries.delivered();
                        for (_, waits, while_waiting, since_call) in &mut calls {
                            *since_call = true;
                            *while_waiting |= *waits;
                        }
                    }
                }
                for (number, _, while_waiting, since_call) in &calls {
                    let is_known = deliveries.changes() != *number;
                    prop_assert!(is_known || !while_waiting);
                    prop_assert!(!is_known || *since_call);
                }
            }
        }
    }
}
