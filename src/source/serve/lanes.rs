//! Which record is handled next, and which ones wait. No clock, no lock, no async.
//!
//! Records of one lane are handled one at a time, in the order in which they were offered. What a lane is, depends on the
//! [`Order`]. Each call takes constant time, except [`retain`](Lanes::retain).

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use kafka_tower_core::partitioner::murmur2;

/// Which messages [`serve`](crate::KafkaSource::serve) and [`transactional`](crate::KafkaSource::transactional) handle one at a
/// time, in the order of their offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// All messages of a partition.
    Partition,
    /// Messages of a partition with the same key. Messages without a key have no order. Keys are compared by a hash of 32
    /// bits: two keys with the same hash also wait for each other.
    #[default]
    Key,
    /// None: messages are handled in any order.
    None,
}

/// Number of records of a partition that are held at least, whatever the concurrency: a batch of the reader.
const LEAST_ROOM: usize = 64;

/// Number of records of a partition that are held for each place.
const ROOM_PER_PLACE: usize = 4;

/// The records that are handled or wait.
pub(in crate::source) struct Lanes<M> {
    order: Order,
    places: usize,
    running: usize,
    entries: Vec<Entry<M>>,
    free: Vec<u32>,
    /// Records that only wait for a place.
    ready: VecDeque<u32>,
    /// The last record of each lane that has any.
    tails: HashMap<u64, u32, BuildHasherDefault<Mix>>,
    /// Number of records, by partition.
    held: Vec<usize>,
    /// Bytes of all records, and from how many on there is no room.
    bytes: usize,
    most_bytes: usize,
}

struct Entry<M> {
    state: State,
    item: Option<M>,
    partition: usize,
    bytes: u32,
    lane: Option<u64>,
    /// The next record of the lane.
    next: Option<u32>,
    /// How often this entry was used.
    used: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    /// Behind another one of its lane.
    Waiting,
    /// The first one of its lane.
    Ready,
    Running,
    /// Running, without a place.
    Paused,
}

/// A record that was returned by [`Lanes::next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::source) struct Ticket {
    index: u32,
    used: u32,
}

impl<M> Lanes<M> {
    /// Creates lanes with this number of places, at least 1: at most so many records run.
    pub(in crate::source) fn new(order: Order, places: usize) -> Self {
        Self {
            order,
            places: places.max(1),
            running: 0,
            entries: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            tails: HashMap::default(),
            held: Vec::new(),
            bytes: 0,
            most_bytes: usize::MAX,
        }
    }

    /// There is no room from this number of bytes on, running records included.
    pub(in crate::source) fn limit_bytes(mut self, bytes: usize) -> Self {
        self.most_bytes = bytes;
        self
    }

    /// The same lanes with another order or number of places, without records.
    pub(in crate::source) fn again(&self, order: Order, places: usize) -> Self {
        Self::new(order, places).limit_bytes(self.most_bytes)
    }

    pub(in crate::source) fn order(&self) -> Order {
        self.order
    }

    pub(in crate::source) fn places(&self) -> usize {
        self.places
    }

    /// Number of records that run.
    pub(in crate::source) fn running(&self) -> usize {
        self.running
    }

    /// Whether another record may run.
    pub(in crate::source) fn has_place(&self) -> bool {
        self.running < self.places
    }

    /// Whether a record only waits for a place.
    pub(in crate::source) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Number of records of a partition that may be offered. Bounded, so that a key whose handling takes long does not
    /// fill the memory. 0 until a quarter of the room is free, so that batches are not small.
    pub(in crate::source) fn room(&self, partition: usize) -> usize {
        let most = self.places.saturating_mul(ROOM_PER_PLACE).max(LEAST_ROOM);
        let room = most.saturating_sub(self.held.get(partition).copied().unwrap_or(0));
        if room < most / 4 || self.bytes >= self.most_bytes { 0 } else { room }
    }

    /// Returns the lane of a record with this key. `None`: it does not wait for others.
    pub(in crate::source) fn lane(&self, partition: usize, key: Option<&[u8]>) -> Option<u64> {
        let lane = match self.order {
            Order::Partition => 0,
            Order::Key => u64::from(murmur2(key?) as u32),
            Order::None => return None,
        };
        Some((partition as u64) << 32 | lane)
    }

    /// Adds a record.
    pub(in crate::source) fn offer(&mut self, partition: usize, lane: Option<u64>, bytes: u32, item: M) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { state: State::Free, item: None, partition, bytes, lane, next: None, used: 0 });
            (self.entries.len() - 1) as u32
        });
        if self.held.len() <= partition {
            self.held.resize(partition + 1, 0);
        }
        self.held[partition] += 1;
        self.bytes += bytes as usize;
        let last = lane.and_then(|lane| self.tails.insert(lane, index));
        let entry = &mut self.entries[index as usize];
        (entry.item, entry.partition, entry.bytes, entry.lane) = (Some(item), partition, bytes, lane);
        entry.state = if last.is_some() { State::Waiting } else { State::Ready };
        match last {
            Some(last) => self.entries[last as usize].next = Some(index),
            None => self.ready.push_back(index),
        }
    }

    /// Returns the next record to handle, which now runs. `None` if none is ready, or no place is free.
    pub(in crate::source) fn next(&mut self) -> Option<(Ticket, M)> {
        if !self.has_place() {
            return None;
        }
        let index = self.ready.pop_front()?;
        let entry = &mut self.entries[index as usize];
        entry.state = State::Running;
        self.running += 1;
        let ticket = Ticket { index, used: entry.used };
        entry.item.take().map(|item| (ticket, item))
    }

    /// A running record was handled, or is given up: the next one of its lane is ready.
    pub(in crate::source) fn finish(&mut self, ticket: Ticket) {
        if self.is(ticket, State::Running) {
            self.running -= 1;
            self.remove(ticket.index);
        }
    }

    /// A running record waits, and will be handled again. Its place is free, and its lane is not.
    pub(in crate::source) fn pause(&mut self, ticket: Ticket, item: M) {
        if self.is(ticket, State::Running) {
            self.running -= 1;
            let entry = &mut self.entries[ticket.index as usize];
            (entry.state, entry.item) = (State::Paused, Some(item));
        }
    }

    /// A record that [waited](Self::pause) is ready, before all others. Nothing happens if it was removed.
    pub(in crate::source) fn resume(&mut self, ticket: Ticket) {
        if self.is(ticket, State::Paused) {
            self.entries[ticket.index as usize].state = State::Ready;
            self.ready.push_front(ticket.index);
        }
    }

    /// Removes and returns the records for which `keep` is false. Running ones stay.
    pub(in crate::source) fn retain(&mut self, mut keep: impl FnMut(&M) -> bool) -> Vec<M> {
        let mut removed = Vec::new();
        let mut gone = Vec::new();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if entry.item.as_ref().is_some_and(|item| !keep(item)) {
                removed.extend(entry.item.take());
                gone.push(index as u32);
            }
        }
        if gone.is_empty() {
            return removed;
        }
        let entries = &self.entries;
        let is_gone = |index: &u32| entries[*index as usize].item.is_none();
        self.ready.retain(|index| !is_gone(index));
        // The lanes without the removed ones. Each lane has one record that does not wait behind another one.
        let starts = |entry: &Entry<M>| entry.lane.is_some() && !matches!(entry.state, State::Free | State::Waiting);
        let first: Vec<u32> = (0..entries.len() as u32).filter(|index| starts(&entries[*index as usize])).collect();
        for first in first {
            let mut chain = Vec::new();
            let mut next = Some(first);
            while let Some(index) = next {
                let entry = &mut self.entries[index as usize];
                next = entry.next.take();
                if entry.state == State::Running || entry.item.is_some() {
                    chain.push(index);
                }
            }
            let Some(lane) = self.entries[first as usize].lane else { continue };
            match (chain.first().copied(), chain.last().copied()) {
                (Some(head), Some(tail)) => {
                    if self.entries[head as usize].state == State::Waiting {
                        self.entries[head as usize].state = State::Ready;
                        self.ready.push_back(head);
                    }
                    self.tails.insert(lane, tail);
                    chain.windows(2).for_each(|pair| self.entries[pair[0] as usize].next = Some(pair[1]));
                }
                _ => drop(self.tails.remove(&lane)),
            }
        }
        gone.into_iter().for_each(|index| self.release(index));
        removed
    }

    fn is(&self, ticket: Ticket, state: State) -> bool {
        self.entries.get(ticket.index as usize).is_some_and(|entry| entry.used == ticket.used && entry.state == state)
    }

    /// Removes the first record of a lane.
    fn remove(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        match (entry.next.take(), entry.lane) {
            (Some(next), _) => {
                self.entries[next as usize].state = State::Ready;
                self.ready.push_back(next);
            }
            (None, Some(lane)) => drop(self.tails.remove(&lane)),
            (None, None) => {}
        }
        self.release(index);
    }

    fn release(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        entry.state = State::Free;
        entry.used = entry.used.wrapping_add(1);
        self.held[entry.partition] -= 1;
        self.bytes -= entry.bytes as usize;
        self.free.push(index);
    }
}

/// Hashes a lane, most of which is a hash already.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, lane: u64) {
        // An odd factor, and its high bits below, where a table looks.
        let mixed = (self.0 ^ lane).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

#[cfg(test)]
mod tests;
