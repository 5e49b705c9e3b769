use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::task::Waker;

use super::word::{self, Word};
use crate::InFlight;

/// Limits of what a transport has in flight: see [`gate`](crate::gate). A gate counts up to 8,388,607 records and 1 TiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of records in flight, at least 1.
    pub records: usize,
    /// Maximum number of bytes in flight, at least 1.
    pub bytes: usize,
}

impl Limits {
    /// The nearest limits that a gate can count: those that it has after it was given these.
    #[must_use]
    pub fn countable(self) -> Self {
        Self { records: self.records.clamp(1, word::MAX.records), bytes: self.bytes.clamp(1, word::MAX.bytes) }
    }
}

/// Room taken by an admitted record. Return it with [`Gated::release`](super::Gated::release).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "room that is not released is lost"]
pub struct Permit {
    pub(crate) bytes: usize,
    /// Not 0, so that an optional permit needs no further room.
    pub(crate) epoch: NonZeroU64,
}

impl Permit {
    /// The permit of a record that was admitted without the lock. Nothing flushed then, so the record is one of the oldest.
    pub(super) fn unlocked(bytes: usize) -> Self {
        Self { bytes, epoch: NonZeroU64::MIN }
    }
}

/// Room of settled records of one epoch.
#[derive(Clone, Copy, Default)]
pub(super) struct Room {
    pub(super) records: usize,
    pub(super) bytes: usize,
    epoch: Option<NonZeroU64>,
}

impl Room {
    pub(super) fn of(permit: &Permit) -> Self {
        Self { records: 1, bytes: permit.bytes, epoch: Some(permit.epoch) }
    }

    /// False if it is of another epoch.
    #[inline]
    pub(super) fn add(&mut self, permit: &Permit) -> bool {
        if *self.epoch.get_or_insert(permit.epoch) != permit.epoch {
            return false;
        }
        self.records += 1;
        self.bytes += permit.bytes;
        true
    }
}

/// Why the gate refused a record. It contains the record.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<P> {
    /// The record is larger than the whole limit.
    TooLarge(P),
    /// The gate was closed.
    Closed(P),
}

/// State of the gate without lock and wake-ups: counts, queues and which handles to wake.
pub(super) struct State<P> {
    limits: Limits,
    records: usize,
    bytes: usize,
    pub(super) parked: VecDeque<(P, Permit)>,
    /// Number of records that are being withdrawn: taken out of the queue, and not settled yet.
    pub(super) withdrawing: usize,
    /// Waiting handles by ticket, the oldest first. A handle that was woken in vain keeps its ticket and so its
    /// position.
    pub(super) waiting: BTreeMap<u64, Waker>,
    next_ticket: u64,
    /// Number of handles that were woken for free room and have not polled since. Newcomers yield to them.
    pub(super) woken_pending: usize,
    /// Parked records are being handed over outside the lock, so that a slow hand-over blocks no other caller. New calls
    /// park behind them, so that no record overtakes another.
    pub(super) draining: bool,
    pub(super) closed: bool,
    /// Number of unsettled records per epoch. A flush opens a new epoch and waits for the older ones. Records of still older
    /// epochs count for the first one.
    unsettled: VecDeque<usize>,
    oldest_epoch: u64,
    pub(super) flushing: BTreeMap<(u64, u64), Waker>,
}

pub(super) enum Admission<P> {
    Admitted(P, Permit),
    Parked,
    Refused(Refused<P>),
}

impl<P> State<P> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits: limits.countable(),
            records: 0,
            bytes: 0,
            parked: VecDeque::new(),
            withdrawing: 0,
            waiting: BTreeMap::new(),
            next_ticket: 0,
            woken_pending: 0,
            draining: false,
            closed: false,
            unsettled: VecDeque::from([0]),
            oldest_epoch: 1,
            flushing: BTreeMap::new(),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits.countable();
    }

    /// Takes over the counts. Until now nothing depended on this state.
    pub(super) fn enter(&mut self, word: Word) {
        (self.records, self.bytes) = (word.records(), word.bytes());
        if let Some(count) = self.unsettled.front_mut() {
            *count = self.records;
        }
    }

    /// The counts, and whether anything still depends on this state.
    pub(super) fn word(&self) -> Word {
        let word = Word::new(self.records, self.bytes);
        let is_needed = self.closed
            || self.draining
            || self.withdrawing > 0
            || self.woken_pending > 0
            || self.unsettled.len() > 1
            || !self.parked.is_empty()
            || !self.waiting.is_empty()
            || !self.flushing.is_empty();
        if is_needed { word.locked() } else { word }
    }

    pub(super) fn in_flight(&self) -> InFlight {
        InFlight { records: self.records, bytes: self.bytes, parked: self.parked.len() + self.withdrawing }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.records == 0 && self.parked.is_empty()
    }

    fn fits(&self, bytes: usize) -> bool {
        // A single record always fits: otherwise shrunken limits would park it for ever.
        self.records == 0 || (self.records < self.limits.records && self.bytes + bytes <= self.limits.bytes)
    }

    pub(super) fn room(&self) -> bool {
        self.records < self.limits.records && self.bytes < self.limits.bytes && self.parked.is_empty()
    }

    pub(super) fn room_for_two(&self) -> bool {
        self.room() && self.records + 1 < self.limits.records
    }

    pub(super) fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    fn epoch(&self) -> u64 {
        self.oldest_epoch + self.unsettled.len() as u64 - 1
    }

    pub(super) fn call(&mut self, item: P, bytes: usize) -> Admission<P> {
        if self.closed {
            return Admission::Refused(Refused::Closed(item));
        }
        if bytes > self.limits.bytes {
            return Admission::Refused(Refused::TooLarge(item));
        }
        let permit = Permit { bytes, epoch: NonZeroU64::new(self.epoch()).unwrap_or(NonZeroU64::MIN) };
        if let Some(count) = self.unsettled.back_mut() {
            *count += 1;
        }
        if self.draining || !self.parked.is_empty() || !self.fits(bytes) {
            self.parked.push_back((item, permit));
            return Admission::Parked;
        }
        self.take(bytes);
        Admission::Admitted(item, permit)
    }

    fn take(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes;
    }

    /// Takes the first parked record, if there is room for it.
    pub(super) fn next_parked(&mut self) -> Option<(P, Permit)> {
        let bytes = self.parked.front()?.1.bytes;
        if !self.fits(bytes) {
            return None;
        }
        self.take(bytes);
        self.parked.pop_front()
    }

    pub(super) fn release(&mut self, room: &Room) {
        self.records -= room.records;
        self.bytes -= room.bytes;
        if let Some(epoch) = room.epoch {
            self.settle(epoch, room.records);
        }
    }

    /// Marks records of an epoch as settled, whether or not they were admitted.
    pub(super) fn settle(&mut self, epoch: NonZeroU64, records: usize) {
        let index = usize::try_from(epoch.get().saturating_sub(self.oldest_epoch)).unwrap_or(usize::MAX);
        if let Some(count) = self.unsettled.get_mut(index) {
            *count -= records;
        }
        while self.unsettled.len() > 1 && self.unsettled.front() == Some(&0) {
            self.unsettled.pop_front();
            self.oldest_epoch += 1;
        }
    }

    /// Opens an epoch for a flush, and returns it: the flush waits until all records of earlier epochs are settled.
    pub(super) fn begin_flush(&mut self) -> u64 {
        if self.unsettled.back() != Some(&0) {
            self.unsettled.push_back(0);
        }
        self.epoch()
    }

    pub(super) fn flushed(&self, epoch: u64) -> bool {
        self.oldest_epoch >= epoch
    }

    /// Whether anybody waits for room or for the end of records.
    pub(super) fn is_awaited(&self) -> bool {
        !self.waiting.is_empty() || !self.flushing.is_empty()
    }

    /// Collects the wakers to call after `freed` records were settled.
    pub(super) fn take_wakers(&mut self, freed: usize, wake: &mut Vec<Waker>) {
        while let Some(entry) = self.flushing.first_entry() {
            if self.oldest_epoch < entry.key().0 {
                break;
            }
            wake.push(entry.remove());
        }
        let count = match (self.closed || self.is_idle(), self.room()) {
            (true, _) => self.waiting.len(),
            (false, true) => freed,
            (false, false) => 0,
        };
        wake.extend((0..count).map_while(|_| self.wake_next()));
    }

    /// Takes the waker of the handle that has waited longest.
    pub(super) fn wake_next(&mut self) -> Option<Waker> {
        let (_, waker) = self.waiting.pop_first()?;
        self.woken_pending += 1;
        Some(waker)
    }
}
