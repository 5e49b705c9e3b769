use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use kafka_tower_core::Error;
use kafka_tower_core::unanswered::LateObserver;
use tokio::sync::watch;
use tokio::time::Instant;

use super::errors::Failure;
use super::state::{Machine, Ticket};
use super::{CircuitBreakerConfig, CircuitState, Outcome, Transition, errors};

/// The breaker that all services and handles of a layer share.
pub(super) struct Shared {
    /// The generation and [`FREE`] and [`CLEAN`], so that calls of a healthy breaker take no lock. Written under it.
    fast: AtomicU64,
    deliveries: Deliveries,
    locked: Mutex<Locked>,
    /// Never sent to under the lock: its receivers' wakers are not ours.
    state: watch::Sender<CircuitState>,
}

/// How many successes there were. It is written by each, so that it lies apart from what is only read.
#[derive(Default)]
#[repr(align(128))]
struct Deliveries(AtomicU64);

/// Calls are let through and change nothing.
const FREE: u64 = 1;
/// Successes change nothing.
const CLEAN: u64 = 2;
const GENERATION: u32 = 2;

type Hook = Arc<dyn Fn(&Transition) + Send + Sync>;

struct Locked {
    machine: Machine,
    last_failure: Option<Arc<Failure>>,
    /// Services that wait for the one below and want to know when that is in vain.
    waiting: BTreeMap<u64, Waker>,
    next_waiter: u64,
    hooks: Vec<Hook>,
    untold: VecDeque<Transition>,
    /// Somebody calls the hooks, one after the other.
    telling: bool,
}

/// A service's place among those who wait. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Waiter {
    shared: Arc<Shared>,
    id: u64,
}

impl Shared {
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
                untold: VecDeque::new(),
                telling: false,
            }),
        })
    }

    /// Whether a call would be let through now.
    pub(super) fn would_admit(&self) -> bool {
        self.fast.load(Ordering::Acquire) & FREE != 0 || self.lock().machine.would_admit(Instant::now())
    }

    /// Lets a call through, or says why not.
    pub(super) fn admit(&self) -> Result<Ticket, Error> {
        let fast = self.fast.load(Ordering::Acquire);
        if fast & FREE != 0 {
            return Ok(Ticket { generation: fast >> GENERATION });
        }
        let now = Instant::now();
        self.update(now, |locked| {
            locked.machine.admit(now).map_err(|refusal| errors::refused(refusal, locked.last_failure.as_deref()))
        })
    }

    /// The success of a call that was let through.
    #[inline]
    pub(super) fn succeed(&self, ticket: &Ticket) {
        self.deliveries.0.fetch_add(1, Ordering::Relaxed);
        if self.fast.load(Ordering::Acquire) & CLEAN == 0 {
            self.succeed_in_doubt(ticket);
        }
    }

    #[cold]
    fn succeed_in_doubt(&self, ticket: &Ticket) {
        let now = Instant::now();
        self.update(now, |locked| locked.machine.settle(ticket, Outcome::Success, now));
    }

    /// The result of a call that was let through. `why` describes a failure.
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

    /// How many successes there were so far.
    #[inline]
    pub(super) fn deliveries(&self) -> u64 {
        self.deliveries.0.load(Ordering::Relaxed)
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

    /// Wakes `waker` as soon as a call would not be let through. `false` if that is so already: one look under one
    /// lock, so that no change is missed between the two.
    pub(super) fn wait(self: &Arc<Self>, waiter: &mut Option<Waiter>, waker: &Waker) -> bool {
        let mut locked = self.lock();
        if !locked.machine.would_admit(Instant::now()) {
            return false;
        }
        let id = waiter.as_ref().map_or(locked.next_waiter, |waiter| waiter.id);
        let old = match locked.waiting.get_mut(&id) {
            Some(old) if old.will_wake(waker) => None,
            _ => locked.waiting.insert(id, waker.clone()),
        };
        locked.next_waiter = locked.next_waiter.max(id + 1);
        drop(locked);
        drop(old);
        waiter.get_or_insert_with(|| Waiter { shared: Arc::clone(self), id });
        true
    }

    fn update<T>(&self, now: Instant, change: impl FnOnce(&mut Locked) -> T) -> T {
        let mut locked = self.lock();
        let before = locked.machine.state();
        let out = change(&mut locked);
        let after = locked.machine.state();
        self.fast.store(fast(&locked.machine), Ordering::Release);
        let in_vain =
            if locked.machine.would_admit(now) { BTreeMap::new() } else { std::mem::take(&mut locked.waiting) };
        if before != after {
            locked.untold.push_back(Transition { from: before, to: after });
        }
        drop(locked);
        in_vain.into_values().for_each(Waker::wake);
        if before != after {
            self.tell();
        }
        out
    }

    /// Outside the lock, in order, one at a time: a hook may use the breaker.
    fn tell(&self) {
        self.state.send_if_modified(|state| {
            let now = self.lock().machine.state();
            std::mem::replace(state, now) != now
        });
        loop {
            let mut locked = self.lock();
            if locked.telling {
                return;
            }
            let Some(transition) = locked.untold.pop_front() else { return };
            locked.telling = true;
            let (hooks, why) = (locked.hooks.clone(), locked.last_failure.clone());
            drop(locked);
            let _telling = Telling(self);
            transition.trace(why.as_deref());
            hooks.iter().for_each(|hook| hook(&transition));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Locked> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of records whose callers got no answer.
impl LateObserver for Shared {
    fn late_report(&self, delivered: bool) {
        if !delivered {
            return;
        }
        self.deliveries.0.fetch_add(1, Ordering::Relaxed);
        if self.fast.load(Ordering::Acquire) & CLEAN == 0 {
            let now = Instant::now();
            self.update(now, |locked| locked.machine.delivered_late(now));
        }
    }
}

fn fast(machine: &Machine) -> u64 {
    let free = if machine.admits_freely() { FREE } else { 0 };
    let clean = if machine.is_clean() { CLEAN } else { 0 };
    machine.generation() << GENERATION | free | clean
}

/// Ends the telling also when a hook panics.
struct Telling<'a>(&'a Shared);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.lock().telling = false;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let waker = self.shared.lock().waiting.remove(&self.id);
        drop(waker);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker").field("machine", &self.lock().machine).finish_non_exhaustive()
    }
}
