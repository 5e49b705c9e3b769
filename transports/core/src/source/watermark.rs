//! The offset of a partition that may be committed, while records are settled in any order. No clock, no lock, no async.
//!
//! Offsets have holes: transaction markers, records of aborted transactions, compaction. Therefore nothing here counts
//! offsets. Entries are numbered in the order of delivery, and the offset to commit is that of the first unsettled entry,
//! or, if everything is settled, the position that the transport has reported.

use std::collections::VecDeque;

/// Bits of an entry that hold its [`State`].
const STATE_BITS: u32 = 3;

/// Greatest offset that an entry can hold.
const MAX_OFFSET: i64 = i64::MAX >> STATE_BITS;

/// Progress of one partition.
#[derive(Clone, Debug)]
pub(crate) struct Watermark {
    /// The number of the first entry since which each epoch is valid, in order. Never empty, and the first one covers
    /// the first entry.
    epochs: VecDeque<(u64, u64)>,
    /// Number of the first entry.
    first: u64,
    /// Number of the first entry that is not in the user's hands.
    waiting: u64,
    /// Offset and state of each entry. The first one is unsettled.
    entries: VecDeque<u64>,
    /// The offset at which the transport continues.
    position: Option<i64>,
    /// The first offset that was known: nothing below it is ours.
    began: Option<i64>,
    /// The offset that we have committed.
    committed: Option<i64>,
    in_hand: usize,
    rejected: usize,
}

/// A delivered record. The numbers of one epoch are never used twice. The default is that of no record: epochs begin at 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryId {
    number: u64,
    epoch: u64,
}

/// State of a delivered record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not settled: it waits for the user or is in the user's hands.
    Open,
    /// Settled.
    Settled,
    /// Given back unsettled: it has to be delivered again.
    Held,
    /// It cannot be handled, and waits until somebody settles it or gives it back.
    Rejected,
    /// Not handled by the user, and taken back: it has to be delivered again.
    PutBack,
}

/// Effect of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The record's state has changed.
    Done,
    /// The record had been settled before, or its state does not permit the change. Nothing has changed.
    Again,
    /// The record belongs to an old epoch. Nothing has changed.
    Stale,
}

impl Watermark {
    /// Starts an epoch in which nothing was delivered.
    #[must_use]
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            epochs: VecDeque::from([(0, epoch)]),
            first: 0,
            waiting: 0,
            entries: VecDeque::new(),
            position: None,
            began: None,
            committed: None,
            in_hand: 0,
            rejected: 0,
        }
    }

    /// The present epoch.
    #[must_use]
    pub(crate) fn epoch(&self) -> u64 {
        self.epochs.back().map_or(0, |(_, epoch)| *epoch)
    }

    /// Enters a record, which waits for the user. `None` if its offset is below the position, which breaks the
    /// transport's contract, or beyond 2^60.
    pub(crate) fn deliver(&mut self, offset: i64) -> Option<DeliveryId> {
        if offset < self.position.unwrap_or(0) || offset > MAX_OFFSET {
            return None;
        }
        self.began.get_or_insert(offset);
        let id = DeliveryId { number: self.first + self.entries.len() as u64, epoch: self.epoch() };
        self.entries.push_back((offset as u64) << STATE_BITS | State::Open as u64);
        self.position = Some(offset + 1);
        Some(id)
    }

    /// Hands a record to the user. False if it belongs to an old epoch, or is not the next one.
    pub(crate) fn dispatch(&mut self, id: DeliveryId) -> bool {
        let is_next = id.number == self.waiting && self.index(id).is_ok();
        if is_next {
            self.waiting += 1;
            self.in_hand += 1;
        }
        is_next
    }

    /// Settles a record. A [held](State::Held) one that was given back can still be settled by another handle.
    pub(crate) fn settle(&mut self, id: DeliveryId) -> Settled {
        self.change(id, State::Settled)
    }

    /// Gives a record back, to be delivered again by [`rewind`](Self::rewind).
    pub(crate) fn hold(&mut self, id: DeliveryId) -> Settled {
        self.change(id, State::Held)
    }

    /// Takes a record back that the user has not begun to handle, to be delivered again by [`rewind`](Self::rewind).
    pub(crate) fn put_back(&mut self, id: DeliveryId) -> Settled {
        self.change(id, State::PutBack)
    }

    /// Marks a record as one that cannot be handled.
    pub(crate) fn reject(&mut self, id: DeliveryId) -> Settled {
        self.change(id, State::Rejected)
    }

    /// The transport continues at `position`: everything below was delivered or cannot be read. A position of an old
    /// epoch, or below the present one, changes nothing.
    pub(crate) fn reach(&mut self, position: i64, epoch: u64) {
        if epoch == self.epoch() && position >= self.position.unwrap_or(0) {
            self.began.get_or_insert(position);
            self.position = Some(position);
        }
    }

    /// The next offset that may be committed. `None` before anything is known.
    #[must_use]
    pub(crate) fn committable(&self) -> Option<i64> {
        self.entries.front().map(|entry| offset_of(*entry)).or(self.position)
    }

    /// The offset to commit: beyond the committed one, or that one is not known. The group may have an older offset than the
    /// first one that is known here, because the transport may begin behind a hole.
    #[must_use]
    pub(crate) fn due(&self) -> Option<i64> {
        self.committable().filter(|offset| self.committed.is_none_or(|committed| *offset > committed))
    }

    /// As [`due`](Self::due), whether the records before it are settled or not.
    #[must_use]
    pub(crate) fn due_position(&self) -> Option<i64> {
        self.position.filter(|position| self.committed.is_none_or(|committed| *position > committed))
    }

    /// Whether something has been settled or passed, and is not committed.
    #[must_use]
    pub(crate) fn is_uncommitted(&self) -> bool {
        self.committable() > self.committed.max(self.began)
    }

    /// The group has this offset. A late answer changes nothing.
    pub(crate) fn committed(&mut self, offset: i64) {
        self.committed = self.committed.max(Some(offset));
    }

    /// The offset that was committed in this assignment.
    #[must_use]
    pub(crate) fn last_committed(&self) -> Option<i64> {
        self.committed
    }

    /// Starts an epoch at the first record that has to be delivered again: held, taken back, or not handed to the user. The records
    /// before it are not affected; those from there on are forgotten. Returns the offset to seek to.
    pub(crate) fn rewind(&mut self, epoch: u64) -> Option<i64> {
        let again = [State::Held as u64, State::PutBack as u64];
        let held = self.entries.iter().position(|entry| again.contains(&state_of(*entry)));
        let waiting = (self.waiting - self.first) as usize;
        let index = held.map_or(waiting, |held| held.min(waiting));
        if let Some(entry) = self.entries.get(index) {
            self.position = Some(offset_of(*entry));
        }
        for entry in self.entries.drain(index..).take(waiting.saturating_sub(index)) {
            self.in_hand -= usize::from(state_of(entry) == State::Open as u64);
            self.rejected -= usize::from(state_of(entry) == State::Rejected as u64);
        }
        let number = self.first + index as u64;
        self.waiting = number;
        while self.epochs.back().is_some_and(|(from, _)| *from >= number) {
            self.epochs.pop_back();
        }
        self.epochs.push_back((number, epoch));
        self.position
    }

    /// Starts an epoch at another offset, which the user wants: everything else is forgotten, also what was committed, so that
    /// the offset is due, whatever the group has.
    pub(crate) fn seek(&mut self, to: i64, epoch: u64) {
        let next = self.first + self.entries.len() as u64;
        *self = Self { epochs: VecDeque::from([(next, epoch)]), first: next, waiting: next, ..Self::new(epoch) };
        self.position = Some(to);
    }

    /// Whether records wait for the user.
    #[must_use]
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting < self.first + self.entries.len() as u64
    }

    /// Whether the first record that is not settled was handed to the user.
    #[must_use]
    pub(crate) fn has_handed(&self) -> bool {
        self.waiting > self.first
    }

    /// Number of records in the user's hands that can still be settled.
    #[must_use]
    pub(crate) fn in_hand(&self) -> usize {
        self.in_hand
    }

    /// Number of rejected records.
    #[must_use]
    pub(crate) fn rejected(&self) -> usize {
        self.rejected
    }

    /// Number of entries: records that are not settled, and records that are settled behind one that is not.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Number of records that were handed to the user and are not settled. Not those that were taken back.
    #[must_use]
    pub(crate) fn unsettled(&self) -> usize {
        let handed = self.entries.iter().take((self.waiting - self.first) as usize);
        let others = [State::Settled as u64, State::PutBack as u64];
        handed.filter(|entry| !others.contains(&state_of(**entry))).count()
    }

    /// Whether a record is in the user's hands and can still be settled.
    #[must_use]
    pub(crate) fn is_open(&self, id: DeliveryId) -> bool {
        self.index(id).is_ok_and(|index| state_of(self.entries[index]) == State::Open as u64)
    }

    /// Whether a record that is not settled belongs to an old epoch.
    #[must_use]
    pub(crate) fn is_stale(&self, id: DeliveryId) -> bool {
        self.index(id) == Err(Settled::Stale)
    }

    /// Whether a record is settled behind one that is not.
    #[must_use]
    pub(crate) fn has_settled(&self) -> bool {
        self.entries.iter().any(|entry| state_of(*entry) == State::Settled as u64)
    }

    /// The offset of a record that is not stale and not yet behind the watermark.
    #[must_use]
    pub(crate) fn offset(&self, id: DeliveryId) -> Option<i64> {
        self.index(id).ok().map(|index| offset_of(self.entries[index]))
    }

    fn change(&mut self, id: DeliveryId, to: State) -> Settled {
        let index = match self.index(id) {
            Ok(index) => index,
            Err(settled) => return settled,
        };
        let from = state_of(self.entries[index]);
        let permitted = match to {
            State::Settled => from != State::Settled as u64,
            State::Held => from == State::Open as u64 || from == State::Rejected as u64,
            State::Rejected | State::PutBack => from == State::Open as u64,
            State::Open => false,
        };
        if !permitted {
            return Settled::Again;
        }
        self.in_hand -= usize::from(from == State::Open as u64 && id.number < self.waiting);
        self.rejected -= usize::from(from == State::Rejected as u64);
        self.rejected += usize::from(to == State::Rejected);
        self.entries[index] = (offset_of(self.entries[index]) as u64) << STATE_BITS | to as u64;
        self.advance();
        Settled::Done
    }

    /// The offset after these records, if they are in the user's hands, and all that is not settled up to there. `records` is
    /// their number; between them others may be settled, for example because they were skipped.
    #[must_use]
    pub(crate) fn end_of(&self, first: DeliveryId, last: DeliveryId, records: usize) -> Option<i64> {
        let (Ok(0), Ok(last)) = (self.index(first), self.index(last)) else { return None };
        let states = || self.entries.range(..=last).map(|entry| state_of(*entry));
        let open = states().filter(|state| *state == State::Open as u64).count();
        let settled = states().filter(|state| *state == State::Settled as u64).count();
        if open != records || open + settled != last + 1 || last >= (self.waiting - self.first) as usize {
            return None;
        }
        self.entries.get(last + 1).map(|entry| offset_of(*entry)).or(self.position)
    }

    /// Settles all records up to this one, if it is not stale. Returns their number.
    pub(crate) fn settle_through(&mut self, last: DeliveryId) -> u64 {
        let Ok(last) = self.index(last) else { return 0 };
        let mut settled = 0;
        for index in 0..=last {
            let entry = self.entries[index];
            settled += u64::from(state_of(entry) != State::Settled as u64);
            self.in_hand -=
                usize::from(state_of(entry) == State::Open as u64 && self.first + (index as u64) < self.waiting);
            self.rejected -= usize::from(state_of(entry) == State::Rejected as u64);
            self.entries[index] = (offset_of(entry) as u64) << STATE_BITS | State::Settled as u64;
        }
        self.advance();
        settled
    }

    /// Gives this record and all later ones back that are in the user's hands, to be delivered again by
    /// [`rewind`](Self::rewind). False if it is stale.
    pub(crate) fn hold_from(&mut self, first: DeliveryId) -> bool {
        let Ok(first) = self.index(first) else { return false };
        for entry in self.entries.range_mut(first..(self.waiting - self.first) as usize) {
            if state_of(*entry) == State::Open as u64 {
                self.in_hand -= 1;
                *entry = (offset_of(*entry) as u64) << STATE_BITS | State::Held as u64;
            }
        }
        true
    }

    /// Forgets the settled records at the front.
    fn advance(&mut self) {
        while self.entries.front().is_some_and(|entry| state_of(*entry) == State::Settled as u64) {
            self.entries.pop_front();
            self.first += 1;
        }
        self.waiting = self.waiting.max(self.first);
        while self.epochs.get(1).is_some_and(|(from, _)| *from <= self.first) {
            self.epochs.pop_front();
        }
    }

    fn index(&self, id: DeliveryId) -> Result<usize, Settled> {
        let epoch = match self.epochs.back() {
            Some((from, epoch)) if *from <= id.number => Some(*epoch),
            _ => self.epochs.iter().rev().find(|(from, _)| *from <= id.number).map(|(_, epoch)| *epoch),
        };
        let end = self.first + self.entries.len() as u64;
        if epoch != Some(id.epoch) || id.number >= end {
            return Err(Settled::Stale);
        }
        let index = id.number.checked_sub(self.first).ok_or(Settled::Again)?;
        Ok(index as usize)
    }
}

fn offset_of(entry: u64) -> i64 {
    (entry >> STATE_BITS) as i64
}

fn state_of(entry: u64) -> u64 {
    entry & ((1 << STATE_BITS) - 1)
}

#[cfg(test)]
mod tests;
