//! Results that wait for their place, and when a transaction takes them. No clock, no lock, no async.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use kafka_tower_core::TopicPartition;
use kafka_tower_core::source::{DeliveryId, Span};

/// Results of handlers, which end in any order. They leave in the order of the input of their partition: no result leaves
/// before those of all earlier records. Otherwise it would be committed, and its record would be read again.
#[derive(Debug)]
pub(super) struct Reorder<O> {
    lanes: BTreeMap<TopicPartition, Lane<O>>,
    /// Number of the next record.
    next: u64,
    len: usize,
    ready: usize,
    /// The partition from which results were taken last; the next one follows in turn.
    last: Option<TopicPartition>,
}

#[derive(Debug)]
struct Lane<O> {
    entries: VecDeque<Entry<O>>,
    /// Number of results at the front.
    ready: usize,
}

#[derive(Debug)]
pub(super) struct Entry<O> {
    number: u64,
    id: DeliveryId,
    offset: i64,
    attempt: u32,
    /// Whether its handler has begun.
    begun: bool,
    result: Option<O>,
}

/// The place of a record's result. Never used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: TopicPartition,
    number: u64,
}

/// A record without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfinished {
    pub(super) id: DeliveryId,
    pub(super) offset: i64,
    pub(super) attempt: u32,
}

/// Results that leave together: those of the first records of a partition.
#[derive(Debug)]
pub(super) struct Prefix<O> {
    pub(super) span: Span,
    /// Offset of the first record.
    pub(super) offset: i64,
    /// In the order of the records.
    pub(super) results: Vec<O>,
}

impl<O> Reorder<O> {
    pub(super) fn new() -> Self {
        Self { lanes: BTreeMap::new(), next: 0, len: 0, ready: 0, last: None }
    }

    /// Number of records.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Number of records of a partition that may enter, if it may have so many.
    pub(super) fn room(&self, at: &TopicPartition, most: usize) -> usize {
        most.saturating_sub(self.lanes.get(at).map_or(0, |lane| lane.entries.len()))
    }

    /// Number of results that can leave.
    pub(super) fn ready(&self) -> usize {
        self.ready
    }

    /// The partitions that have records.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.lanes.keys()
    }

    /// Enters a record: the next one of its partition.
    pub(super) fn enter(&mut self, at: &TopicPartition, id: DeliveryId, offset: i64, attempt: u32) -> Place {
        let number = self.next;
        self.next += 1;
        self.len += 1;
        let lane = self.lanes.entry(at.clone()).or_insert_with(|| Lane { entries: VecDeque::new(), ready: 0 });
        lane.entries.push_back(Entry { number, id, offset, attempt, begun: false, result: None });
        Place { at: at.clone(), number }
    }

    /// The handler of a record begins.
    pub(super) fn begin(&mut self, place: &Place) {
        if let Some((lane, index)) = self.find(place) {
            lane.entries[index].begun = true;
        }
    }

    /// Puts a result into its place. Returns it if the place was forgotten.
    pub(super) fn finish(&mut self, place: &Place, result: O) -> Option<O> {
        let Some((lane, index)) = self.find(place) else { return Some(result) };
        lane.entries[index].result = Some(result);
        let before = lane.ready;
        lane.count();
        self.ready += lane.ready - before;
        None
    }

    /// The record of a place, unless it was forgotten.
    pub(super) fn record(&mut self, place: &Place) -> Option<Unfinished> {
        let (lane, index) = self.find(place)?;
        let Entry { id, offset, attempt, .. } = lane.entries[index];
        Some(Unfinished { id, offset, attempt })
    }

    /// A record has no result, and is not missed: those behind it do not wait for it.
    pub(super) fn skip(&mut self, place: &Place) {
        let Some((lane, index)) = self.find(place) else { return };
        lane.entries.remove(index);
        let before = lane.ready;
        lane.count();
        self.ready += lane.ready - before;
        self.len -= 1;
    }

    /// A record has no result: it and all later ones of its partition are forgotten.
    pub(super) fn fail(&mut self, place: &Place) {
        let Some((lane, index)) = self.find(place) else { return };
        let removed = lane.entries.len() - index;
        lane.entries.truncate(index);
        self.len -= removed;
    }

    /// Forgets the records of a partition.
    pub(super) fn forget(&mut self, at: &TopicPartition) {
        if let Some(lane) = self.lanes.remove(at) {
            self.len -= lane.entries.len();
            self.ready -= lane.ready;
        }
    }

    /// Forgets the records that are not waited for before a partition is given back: from the first one on whose handler has
    /// not begun, unless a handler behind it runs. Returns their numbers.
    pub(super) fn give_up_rest(&mut self, at: &TopicPartition) -> Vec<DeliveryId> {
        let Some(lane) = self.lanes.get_mut(at) else { return Vec::new() };
        let runs = lane.entries.iter().rposition(|entry| entry.begun && entry.result.is_none());
        let waits = lane.entries.iter().position(|entry| !entry.begun && entry.result.is_none());
        let kept = waits.unwrap_or(lane.entries.len()).max(runs.map_or(0, |last| last + 1));
        let rest: Vec<_> = lane.entries.drain(kept..).map(|entry| entry.id).collect();
        self.len -= rest.len();
        rest
    }

    /// Forgets the records that are not current, and returns them. In a partition they come before those that are.
    pub(super) fn forget_stale(&mut self, is_current: impl Fn(&TopicPartition, DeliveryId) -> bool) -> Vec<Entry<O>> {
        let mut stale = Vec::new();
        self.lanes.retain(|at, lane| {
            let before = (lane.entries.len(), lane.ready);
            while lane.entries.front().is_some_and(|entry| !is_current(at, entry.id)) {
                stale.extend(lane.entries.pop_front());
                lane.ready = 0;
            }
            if lane.entries.len() < before.0 {
                lane.count();
            }
            self.len -= before.0 - lane.entries.len();
            self.ready = self.ready + lane.ready - before.1;
            !lane.entries.is_empty()
        });
        stale
    }

    /// Whether a place is still waited for.
    pub(super) fn has(&self, place: &Place) -> bool {
        self.lanes.get(&place.at).is_some_and(|lane| lane.find(place).is_some())
    }

    /// Takes results that can leave, of at most `max` records.
    pub(super) fn take(&mut self, max: usize) -> Vec<Prefix<O>> {
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let ready = |(at, lane): (&TopicPartition, &Lane<O>)| (lane.ready > 0).then(|| at.clone());
        let mut order: Vec<_> =
            self.lanes.range::<TopicPartition, _>((after, Bound::Unbounded)).filter_map(ready).collect();
        order.extend(self.lanes.iter().filter(|(at, _)| Some(*at) <= self.last.as_ref()).filter_map(ready));
        let mut taken = Vec::new();
        let mut room = max;
        for at in order {
            let Some(lane) = self.lanes.get_mut(&at).filter(|_| room > 0) else { break };
            let count = lane.ready.min(room);
            let entries: Vec<_> = lane.entries.drain(..count).collect();
            lane.ready -= count;
            (room, self.len, self.ready) = (room - count, self.len - count, self.ready - count);
            let (Some(first), Some(last)) = (entries.first(), entries.last()) else { continue };
            let (offset, span) = (
                first.offset,
                Span { at: at.clone(), first: first.id, last: last.id, records: count, dead_letters: 0 },
            );
            let results = entries.into_iter().filter_map(|entry| entry.result).collect();
            taken.push(Prefix { span, offset, results });
            self.last = Some(at);
        }
        taken
    }

    fn find(&mut self, place: &Place) -> Option<(&mut Lane<O>, usize)> {
        let lane = self.lanes.get_mut(&place.at)?;
        let index = lane.find(place)?;
        Some((lane, index))
    }
}

impl<O> Lane<O> {
    fn find(&self, place: &Place) -> Option<usize> {
        self.entries.binary_search_by_key(&place.number, |entry| entry.number).ok()
    }

    /// Counts the results that have come to the front.
    fn count(&mut self) {
        while self.entries.get(self.ready).is_some_and(|entry| entry.result.is_some()) {
            self.ready += 1;
        }
    }
}

/// When a transaction takes the results that can leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Now,
    /// After this time, if nothing happens before.
    In(Duration),
    /// When there are results.
    Later,
}

/// Decides when to cut. `ready` is the number of results that can leave, `age` how long the oldest of them has waited, and
/// `is_urgent` says that a partition is being given back, or that the source ends.
pub(super) fn cut(ready: usize, max: usize, age: Duration, max_age: Duration, is_urgent: bool) -> Cut {
    match ready {
        0 => Cut::Later,
        _ if is_urgent || ready >= max || age >= max_age => Cut::Now,
        _ => Cut::In(max_age - age),
    }
}

#[cfg(test)]
mod tests;
