use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;

use super::state::{Admission, Limits, Permit, Refused, Room, State};
use super::word::{LOCKED, Word};
use crate::InFlight;
use crate::sync::{AtomicU64, Mutex, MutexGuard, lock};
use crate::wakers::wake_all;

/// Admission shared by the handles of a transport. See the [module](super) for its rules.
///
/// `P` is the parked item: a record together with whatever settles it. A transport owns its gate and implements
/// [`Gated`](super::Gated).
pub struct Gate<P> {
    /// A [`Word`]. It says whether the lock is needed.
    word: AtomicU64,
    /// Copy of the state's limits, as a [`Word`]. It may be stale when it is read, as if the limits had changed a moment later.
    limits: AtomicU64,
    state: Mutex<State<P>>,
}

impl<P> Gate<P> {
    /// Creates a gate. A limit of 0 counts as 1.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let state = State::new(limits);
        let packed = Word::of(state.limits()).0;
        Self { word: AtomicU64::new(0), limits: AtomicU64::new(packed), state: Mutex::new(state) }
    }

    /// The current limits.
    pub fn limits(&self) -> Limits {
        let limits = self.packed_limits();
        Limits { records: limits.records(), bytes: limits.bytes() }
    }

    #[inline]
    fn packed_limits(&self) -> Word {
        Word(self.limits.load(Ordering::Relaxed))
    }

    pub(super) fn set_limits(&self, limits: Limits) {
        let mut state = self.lock();
        state.set_limits(limits);
        self.limits.store(Word::of(state.limits()).0, Ordering::Relaxed);
    }

    /// Counts of the records that are in flight.
    pub fn in_flight(&self) -> InFlight {
        let word = self.word();
        if word.is_locked() {
            return self.lock().in_flight();
        }
        InFlight { records: word.records(), bytes: word.bytes(), parked: 0 }
    }

    /// Returns the room of settled records, hands over parked ones with `enqueue`, and wakes as many handles as there are
    /// freed places, `freed` of which were free before.
    pub(super) fn settle(
        &self,
        permits: impl IntoIterator<Item = Permit>,
        freed: usize,
        enqueue: impl FnMut(P, Permit) -> Result<(), Permit>,
    ) {
        let (mut places, mut state) = (freed, None);
        let mut room = Room::default();
        for permit in permits {
            if !room.add(&permit) {
                places = places.saturating_add(room.records);
                self.release(room, &mut state);
                room = Room::of(&permit);
            }
        }
        places = places.saturating_add(room.records);
        self.release(room, &mut state);
        if freed > 0 {
            state.get_or_insert_with(|| self.lock());
        }
        if let Some(state) = state {
            self.hand_over(state, places, enqueue);
        }
    }

    /// Returns room. Takes the lock if anybody may wait for it.
    #[inline]
    fn release<'a>(&'a self, room: Room, state: &mut Option<Locked<'a, P>>) {
        let is_done =
            room.records == 0 || state.is_none() && self.change(|word| word.release(room.records, room.bytes));
        if !is_done {
            state.get_or_insert_with(|| self.lock()).release(&room);
        }
    }

    /// Hands over parked records with `enqueue`, and wakes as many handles as there are freed places.
    #[cold]
    fn hand_over<'a>(
        &'a self,
        mut state: Locked<'a, P>,
        mut freed: usize,
        mut enqueue: impl FnMut(P, Permit) -> Result<(), Permit>,
    ) {
        // Hand-over runs outside the lock, one record at a time; new calls park behind, so no record overtakes
        // another.
        while !state.draining {
            let Some((item, permit)) = state.next_parked() else { break };
            state.draining = true;
            drop(state);
            let draining = Draining(self);
            let refused = enqueue(item, permit).err();
            state = draining.end();
            if let Some(permit) = refused {
                state.release(&Room::of(&permit));
                freed = freed.saturating_add(1);
            }
        }
        if !state.is_awaited() {
            return;
        }
        let mut wake = Vec::new();
        state.take_wakers(freed, &mut wake);
        drop(state);
        wake_all(wake);
    }

    /// Takes out the parked records for which `which` returns true and settles them. Returns their number.
    pub(super) fn take_parked(&self, mut which: impl FnMut(&P) -> bool, mut settle: impl FnMut(P)) -> usize {
        let mut withdrawn = Vec::new();
        let mut state = self.lock();
        for (item, permit) in std::mem::take(&mut state.parked) {
            if which(&item) {
                withdrawn.push((item, permit));
            } else {
                state.parked.push_back((item, permit));
            }
        }
        state.withdrawing += withdrawn.len();
        drop(state);
        let settle = |(item, permit)| {
            settle(item);
            permit
        };
        let permits: Vec<Permit> = withdrawn.into_iter().map(settle).collect();
        let mut state = self.lock();
        permits.iter().for_each(|permit| state.settle(permit.epoch, 1));
        state.withdrawing -= permits.len();
        permits.len()
    }

    /// Refuses all later calls and wakes all waiting handles. Records called before continue.
    pub fn close(&self) {
        let mut wake = Vec::new();
        let mut state = self.lock();
        state.closed = true;
        state.take_wakers(0, &mut wake);
        drop(state);
        wake_all(wake);
    }

    /// Whether the gate is closed.
    pub fn is_closed(&self) -> bool {
        self.word().is_locked() && self.lock().closed
    }

    /// Whether a [`flush`](super::Gated::flush) is waiting.
    pub fn is_flushing(&self) -> bool {
        self.word().is_locked() && !self.lock().flushing.is_empty()
    }

    pub(super) fn admit(
        &self,
        item: P,
        bytes: usize,
        enqueue: impl FnOnce(P, Permit) -> Result<(), Permit>,
    ) -> Result<Option<Permit>, Refused<P>> {
        let limits = self.packed_limits();
        if self.change(|word| word.admit(bytes, limits)) {
            return Ok(enqueue(item, Permit::unlocked(bytes)).err());
        }
        // A separate statement: the lock must not be held during the hand-over.
        let admission = self.lock().call(item, bytes);
        match admission {
            Admission::Admitted(item, permit) => Ok(enqueue(item, permit).err()),
            Admission::Parked => Ok(None),
            Admission::Refused(refused) => Err(refused),
        }
    }

    /// Whether a handle that neither waits nor was woken is ready. If false, take the lock to decide.
    #[inline]
    pub(super) fn fast_ready(&self) -> bool {
        self.word().is_ready(self.packed_limits())
    }

    #[inline]
    fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// Changes the word as `next` says. False if that says that the lock decides.
    #[inline]
    fn change(&self, next: impl Fn(Word) -> Option<Word>) -> bool {
        let mut word = Word(self.word.load(Ordering::Relaxed));
        while let Some(Word(changed)) = next(word) {
            match self.word.compare_exchange_weak(word.0, changed, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = Word(now),
            }
        }
        false
    }

    pub(super) fn lock(&self) -> Locked<'_, P> {
        // A poisoned lock is safe to use: counts and queues are consistent whenever the lock is released.
        let mut state = lock(&self.state);
        let before = Word(self.word.fetch_or(LOCKED, Ordering::AcqRel));
        if !before.is_locked() {
            state.enter(before);
        }
        Locked { state, gate: self }
    }
}

/// The locked state. Meanwhile, and until nothing depends on the state any more, the word changes only here.
pub(super) struct Locked<'a, P> {
    state: MutexGuard<'a, State<P>>,
    gate: &'a Gate<P>,
}

impl<P> Deref for Locked<'_, P> {
    type Target = State<P>;

    fn deref(&self) -> &State<P> {
        &self.state
    }
}

impl<P> DerefMut for Locked<'_, P> {
    fn deref_mut(&mut self) -> &mut State<P> {
        &mut self.state
    }
}

impl<P> Drop for Locked<'_, P> {
    fn drop(&mut self) {
        self.gate.word.store(self.state.word().0, Ordering::Release);
    }
}

/// Marks a hand-over of parked records as running. Ends it also after a panic: otherwise later records would stay
/// parked.
struct Draining<'a, P>(&'a Gate<P>);

impl<'a, P> Draining<'a, P> {
    fn end(self) -> Locked<'a, P> {
        let mut state = self.0.lock();
        state.draining = false;
        std::mem::forget(self);
        state
    }
}

impl<P> Drop for Draining<'_, P> {
    fn drop(&mut self) {
        self.0.lock().draining = false;
    }
}

impl<P> fmt::Debug for Gate<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Gate")
            .field("limits", &state.limits())
            .field("in_flight", &state.in_flight())
            .field("waiting", &state.waiting.len())
            .field("closed", &state.closed)
            .finish()
    }
}
