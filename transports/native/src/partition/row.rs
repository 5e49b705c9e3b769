//! The row of a partition.

use std::collections::VecDeque;

use super::code::Why;
use super::{Effect, Key, Mode, Next, ProducerId};
use crate::record_batch::header::Stamp;

/// A broker remembers this number of batches of a producer.
const REMEMBERED: usize = 5;

/// The batches of a partition that have no outcome, in the order of their sequence numbers. See the [module](super).
#[derive(Debug)]
pub struct Row<B> {
    pub(super) mode: Mode,
    most: usize,
    pub(super) batches: VecDeque<Entry<B>>,
    next_key: u64,
    pub(super) producer: Option<ProducerId>,
    /// The newest id, which the row takes when nothing of the one before is in doubt.
    newest: Option<ProducerId>,
    /// The id or its epoch cannot be used for another batch.
    pub(super) is_spent: bool,
    /// The sequence number that follows what is in the log, if nothing in doubt is there.
    pub(super) base: i32,
    /// One batch at a time: the broker may not know the producer, or the last answer was no success.
    pub(super) alone: bool,
    /// A batch in doubt was given up under this epoch. It may arrive late, and others in doubt behind it: a refusal proves nothing.
    pub(super) gave_up: bool,
    /// Something was acknowledged under this epoch.
    pub(super) acknowledged: bool,
    /// The id was somebody else's, and no answer since was a success.
    pub(super) was_other: bool,
}

#[derive(Debug)]
pub(super) struct Entry<B> {
    pub(super) key: Key,
    pub(super) batch: B,
    pub(super) records: u32,
    pub(super) sequence: i32,
    pub(super) sent: bool,
    pub(super) in_doubt: bool,
    pub(super) asked_in_vain: bool,
    pub(super) corrupt: u8,
}

/// The number that follows.
pub(super) fn after(sequence: i32, records: u32) -> i32 {
    ((i64::from(sequence) + i64::from(records)) % (i64::from(i32::MAX) + 1)) as i32
}

impl<B> Row<B> {
    /// An empty row. `most`: how many batches may be without an answer; with idempotence at most as many as brokers remember.
    #[must_use]
    pub fn new(mode: Mode, most: usize) -> Self {
        let most = if mode == Mode::Idempotent { most.min(REMEMBERED) } else { most };
        Self {
            mode,
            most: most.max(1),
            batches: VecDeque::new(),
            next_key: 0,
            producer: None,
            newest: None,
            is_spent: false,
            base: 0,
            alone: true,
            gave_up: false,
            acknowledged: false,
            was_other: false,
        }
    }

    /// What may be sent.
    #[must_use]
    pub fn next(&self) -> Next {
        let sent = self.in_flight();
        if self.mode == Mode::Idempotent {
            let waits = self.is_spent && sent == 0 && !self.batches.iter().any(|entry| entry.in_doubt);
            if self.producer.is_none() || waits {
                return Next::NeedsProducerId;
            }
        }
        if sent >= self.most || (self.alone && sent > 0) {
            return Next::Nothing;
        }
        match self.batches.iter().find(|entry| !entry.sent && !entry.asked_in_vain) {
            Some(entry) => Next::Again(entry.key),
            None if self.batches.len() >= self.most || self.is_spent || self.is_asking() => Next::Nothing,
            None => Next::New,
        }
    }

    fn is_asking(&self) -> bool {
        self.batches.iter().any(|entry| entry.asked_in_vain)
    }

    /// The producer id of the stamps.
    #[must_use]
    pub fn producer_id(&self) -> Option<ProducerId> {
        self.producer
    }

    /// Gives the row the client's newest producer id. It is taken when nothing of the one before is in doubt.
    pub fn renew(&mut self, newest: ProducerId) {
        self.newest = Some(newest);
        self.take_newest();
    }

    pub(super) fn take_newest(&mut self) {
        let is_clear = self.batches.iter().all(|entry| !entry.sent && !entry.in_doubt);
        let wants = self.producer.is_none() || self.is_spent || self.batches.is_empty();
        if self.newest == self.producer || !is_clear || !wants {
            return;
        }
        self.producer = self.newest;
        (self.is_spent, self.gave_up, self.acknowledged) = (false, false, false);
        (self.base, self.alone) = (0, true);
        self.ask_again_from_the_head();
        self.renumber();
    }

    /// Adds a batch, after [`Next::New`]. It counts as sent.
    pub fn push(&mut self, batch: B, records: u32) -> (Key, Stamp) {
        let sequence = self.batches.back().map_or(self.base, |last| after(last.sequence, last.records));
        let entry = self.entry(batch, records, sequence);
        let key = entry.key;
        self.batches.push_back(Entry { sent: true, ..entry });
        (key, self.stamp(sequence))
    }

    fn entry(&mut self, batch: B, records: u32, sequence: i32) -> Entry<B> {
        self.next_key += 1;
        let key = Key(self.next_key);
        Entry { key, batch, records, sequence, sent: false, in_doubt: false, asked_in_vain: false, corrupt: 0 }
    }

    fn stamp(&self, base_sequence: i32) -> Stamp {
        match (self.mode, self.producer) {
            (Mode::Idempotent, Some(ProducerId { id, epoch })) => {
                Stamp { producer_id: id, producer_epoch: epoch, base_sequence }
            }
            _ => Stamp::NONE,
        }
    }

    /// Sends a batch, after [`Next::Again`]. Returns its stamp, which may differ from the one before.
    pub fn again(&mut self, key: Key) -> Stamp {
        let Some(entry) = self.batches.iter_mut().find(|entry| entry.key == key) else { return Stamp::NONE };
        entry.sent = true;
        let sequence = entry.sequence;
        self.stamp(sequence)
    }

    /// A batch.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut B> {
        self.batches.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.batch)
    }

    /// Number of batches that were sent and have no answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.batches.iter().filter(|entry| entry.sent).count()
    }

    /// Whether there is no batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether each number follows the one before.
    pub(super) fn is_contiguous(&self) -> bool {
        let mut sequence = self.base;
        self.batches.iter().all(|entry| {
            let follows = entry.sequence == sequence;
            sequence = after(sequence, entry.records);
            follows
        })
    }

    /// Another broker leads the partition, or there is another connection: it may not know the producer.
    pub fn moved(&mut self) {
        self.alone = true;
        self.ask_again_from_the_head();
    }

    pub(super) fn ask_again_from_the_head(&mut self) {
        self.batches.iter_mut().for_each(|entry| entry.asked_in_vain = false);
    }

    /// Replaces a batch that [`Effect::Rework`] named by others in its place. Those behind it move up, or back.
    pub fn replace(&mut self, key: Key, parts: Vec<(B, u32)>) {
        let Some(at) = self.batches.iter().position(|entry| entry.key == key) else { return };
        let Some(old) = self.batches.remove(at) else { return };
        self.ask_again_from_the_head();
        let mut sequence = old.sequence;
        for (place, (batch, records)) in parts.into_iter().enumerate() {
            let entry = self.entry(batch, records, sequence);
            sequence = after(sequence, records);
            self.batches.insert(at + place, entry);
        }
        self.renumber();
        self.take_newest();
    }

    /// Gives contiguous numbers to what is surely not in the log, up to the first batch that has to keep its own. Not if a batch in
    /// doubt was given up: its numbers are used.
    pub(super) fn renumber(&mut self) {
        if self.mode != Mode::Idempotent || self.is_spent || self.in_flight() > 0 {
            return;
        }
        let mut sequence = self.base;
        for entry in &mut self.batches {
            if !entry.in_doubt {
                entry.sequence = sequence;
            } else if entry.sequence != sequence {
                // It can only be out of order, and is asked for that first.
                return;
            }
            sequence = after(sequence, entry.records);
        }
    }

    /// Takes out the batches for which `which` returns true.
    pub fn give_up(&mut self, mut which: impl FnMut(&B) -> bool, effects: &mut Vec<Effect<B>>) {
        let mut at = 0;
        while let Some(entry) = self.batches.get_mut(at) {
            if which(&entry.batch) {
                // What is on its way may arrive.
                entry.in_doubt |= entry.sent;
                self.alone = true;
                self.fail(at, Why::GivenUp, effects);
            } else {
                at += 1;
            }
        }
        self.renumber();
        self.take_newest();
    }

    /// Takes out, in their order, the batches that are surely not in the log and not on their way.
    pub fn take_undoubted(&mut self) -> Vec<B> {
        let mut taken = Vec::new();
        for entry in std::mem::take(&mut self.batches) {
            if entry.in_doubt || entry.sent {
                self.batches.push_back(entry);
            } else {
                taken.push(entry.batch);
            }
        }
        taken
    }
}
