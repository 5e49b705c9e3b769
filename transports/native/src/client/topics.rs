//! The topics that records were sent to, and which partition a record goes to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use kafka_tower_core::Record;
use kafka_tower_core::partitioner::partition_for_key;

use crate::protocol::uuid::Uuid;
use crate::settings::Settings;
use crate::slot::Slot;

/// The topics, each with its place in a list.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    list: Vec<Topic>,
    by_name: BTreeMap<Arc<str>, usize>,
    /// The topic of the last record: most records have the same, and share its name.
    last: Option<(Arc<str>, usize)>,
}

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    /// Its id; zero if brokers have none.
    pub(crate) id: Uuid,
    /// Places of its partitions, by their numbers. Empty: the topic is not known yet.
    pub(crate) partitions: Vec<usize>,
    /// Records whose topic or partition is not known, and when they came.
    pub(crate) waiting: VecDeque<(Arc<Slot>, Instant)>,
    /// The most bytes of a batch, since a broker refused a larger one.
    pub(crate) batch_bytes: Option<(usize, Instant)>,
    sticky: Sticky,
}

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the partition at this place.
    To(usize),
    /// Its topic or partition is not known.
    Unknown,
}

impl Topics {
    /// The place of a topic, which is added if it is not known.
    #[inline]
    pub(crate) fn place(&mut self, name: &Arc<str>) -> usize {
        if let Some((_, place)) = self.last.as_ref().filter(|(last, _)| Arc::ptr_eq(last, name)) {
            return *place;
        }
        let place = match self.by_name.get(&**name) {
            Some(place) => *place,
            None => {
                self.list.push(Topic::new(Arc::clone(name)));
                self.by_name.insert(Arc::clone(name), self.list.len() - 1);
                self.list.len() - 1
            }
        };
        self.last = Some((Arc::clone(name), place));
        place
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Topic> {
        self.list.get(place)
    }

    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut Topic> {
        self.list.get_mut(place)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.list.iter().map(|topic| &topic.name)
    }

    pub(crate) fn places(&self) -> std::ops::Range<usize> {
        0..self.list.len()
    }
}

impl Topic {
    fn new(name: Arc<str>) -> Self {
        let (partitions, waiting) = (Vec::new(), VecDeque::new());
        Self { name, id: Uuid::ZERO, partitions, waiting, batch_bytes: None, sticky: Sticky::default() }
    }

    /// The most bytes of a batch.
    pub(crate) fn batch_bytes(&self, settings: &Settings) -> usize {
        self.batch_bytes.map_or(settings.batch_bytes, |(bytes, _)| bytes)
    }

    /// Where a record goes: to its own partition, else to that of its key, else to one partition until a batch is full.
    #[inline]
    pub(crate) fn route(&mut self, record: &Record, room: usize, most: (usize, usize)) -> Route {
        let count = self.partitions.len();
        if count == 0 {
            return Route::Unknown;
        }
        let index = match (record.partition, &record.key) {
            (Some(chosen), _) => usize::try_from(chosen).unwrap_or(usize::MAX),
            (None, Some(key)) => partition_for_key(key, u32::try_from(count).unwrap_or(u32::MAX)) as usize,
            (None, None) => self.sticky.next(count, room, most),
        };
        self.partitions.get(index).map_or(Route::Unknown, |place| Route::To(*place))
    }

    /// Takes out the waiting records for which `which` returns true.
    pub(crate) fn take(&mut self, mut which: impl FnMut(&Slot) -> bool) -> Vec<Arc<Slot>> {
        let mut taken = Vec::new();
        for (slot, since) in std::mem::take(&mut self.waiting) {
            if which(&slot) {
                taken.push(slot);
            } else {
                self.waiting.push_back((slot, since));
            }
        }
        taken
    }

    /// Called when a batch was made of a partition's records.
    pub(crate) fn batch_made(&mut self, index: i32) {
        self.sticky.batch_made(index);
    }

    /// Passes partitions without a leader.
    pub(crate) fn avoid(&mut self, has_leader: impl Fn(usize) -> bool) {
        let at = self.partitions.get(self.sticky.at);
        if at.is_none_or(|place| has_leader(*place)) {
            return;
        }
        let count = self.partitions.len();
        let others = (1..count).map(|step| (self.sticky.at + step) % count);
        let found = others.into_iter().find(|at| self.partitions.get(*at).is_some_and(|place| has_leader(*place)));
        if let Some(at) = found {
            self.sticky.move_to(at);
        }
    }
}

/// The partition of records without a key. It stays the same until a batch is full or was sent, so that batches are large.
#[derive(Debug, Default)]
struct Sticky {
    at: usize,
    records: usize,
    bytes: usize,
}

impl Sticky {
    #[inline]
    fn next(&mut self, count: usize, bytes: usize, (most_records, most_bytes): (usize, usize)) -> usize {
        if self.records > 0 && (self.records >= most_records || self.bytes + bytes > most_bytes) {
            self.move_to(self.at + 1);
        }
        if self.at >= count {
            self.at = 0;
        }
        self.records += 1;
        self.bytes += bytes;
        self.at
    }

    fn batch_made(&mut self, index: i32) {
        if usize::try_from(index) == Ok(self.at) {
            self.move_to(self.at + 1);
        }
    }

    fn move_to(&mut self, at: usize) {
        *self = Self { at, records: 0, bytes: 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_keeps_its_place_whatever_holds_its_name() {
        let mut topics = Topics::default();
        let orders: Arc<str> = "orders".into();
        assert_eq!((topics.place(&orders), topics.place(&"bills".into())), (0, 1));
        assert_eq!((topics.place(&orders), topics.place(&orders), topics.place(&"orders".into())), (0, 0, 0));
        assert_eq!((topics.find("bills"), topics.find("none"), topics.places()), (Some(1), None, 0..2));
    }

    #[test]
    fn records_without_a_key_stay_together_until_a_batch_is_full_or_was_made() {
        let mut topic = Topic::new("orders".into());
        let record = Record::new("orders");
        assert_eq!(topic.route(&record, 10, (2, 100)), Route::Unknown);
        topic.partitions = vec![10, 11, 12];
        let to = |topic: &mut Topic, room| match topic.route(&record, room, (2, 100)) {
            Route::To(place) => place,
            Route::Unknown => usize::MAX,
        };
        // Two records are a batch.
        assert_eq!([to(&mut topic, 10), to(&mut topic, 10), to(&mut topic, 60)], [10, 10, 11]);
        // And 100 bytes, or one record that is larger.
        assert_eq!([to(&mut topic, 40), to(&mut topic, 500), to(&mut topic, 1)], [11, 12, 10]);
        topic.batch_made(1); // not the current one
        assert_eq!(to(&mut topic, 1), 10);
        topic.batch_made(0);
        assert_eq!(to(&mut topic, 1), 11);
    }
}
