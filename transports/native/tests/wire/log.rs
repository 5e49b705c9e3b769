//! The log of a partition: which records are in it, and what its leader remembers of their producers.
//!
//! Each broker has a copy, and all copies are alike but for the end: batches that were appended with `acks=1` may be on the leader
//! alone. What a broker remembers of producers follows from the log and from when the broker was last started.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::batch::Batch;
use super::producers::{Check, Producers, Stamp};

/// A record in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its offset.
    pub(crate) offset: i64,
    /// The number in its value; `None` if the value is not one that a test makes.
    pub(crate) number: Option<u64>,
    /// Its key.
    pub(crate) key: Option<Bytes>,
}

/// The log of a partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    batches: Vec<(Option<Stamp>, Vec<Entry>)>,
    next_offset: i64,
    /// Batches that all brokers have: a leader's move cannot lose them.
    replicated: usize,
    /// For a broker that was restarted: the batches that were there. Of these it knows the last of each producer only.
    restarted: BTreeMap<i32, usize>,
    /// What the leader remembers.
    producers: Producers,
}

impl Log {
    /// What the leader does with this batch.
    pub(crate) fn check(&self, batch: &Batch) -> Check {
        batch.stamp.map_or(Check::Append, |stamp| self.producers.check(stamp))
    }

    /// Appends a batch and returns its offset. With `acks=all` it and all before it are on all brokers then.
    pub(crate) fn append(&mut self, batch: &Batch, all: bool) -> i64 {
        let base = self.next_offset;
        let entries = (base..).zip(&batch.records);
        let entries: Vec<_> =
            entries.map(|(offset, (number, key))| Entry { offset, number: *number, key: key.clone() }).collect();
        self.next_offset += i64::try_from(entries.len()).expect("a batch is small");
        self.batches.push((batch.stamp, entries));
        if let Some(stamp) = batch.stamp {
            self.producers.appended(stamp, base);
        }
        if all {
            self.replicated = self.batches.len();
        }
        base
    }

    /// A broker has lost its memory. It remembers by its snapshot.
    pub(crate) fn restart(&mut self, broker: i32) {
        self.restarted.insert(broker, self.batches.len());
    }

    /// A broker becomes the leader. If the one before was another broker, what only that had may be lost.
    ///
    /// Returns the numbers of lost records.
    pub(crate) fn lead(&mut self, broker: i32, before: i32, loses: bool) -> Vec<u64> {
        let mut lost = Vec::new();
        if loses && broker != before && self.replicated < self.batches.len() {
            lost = self.batches.drain(self.replicated..).flat_map(|(_, entries)| entries).collect();
            self.next_offset = lost.first().map_or(self.next_offset, |entry| entry.offset);
            // Who cuts its log reads its snapshot again.
            self.restarted.insert(before, self.replicated);
            for batches in self.restarted.values_mut() {
                *batches = self.replicated.min(*batches);
            }
        }
        self.replicated = self.batches.len();
        self.producers = self.memory(broker);
        lost.into_iter().filter_map(|entry| entry.number).collect()
    }

    /// What a broker remembers of producers.
    fn memory(&self, broker: i32) -> Producers {
        let mut producers = Producers::default();
        let restarted = self.restarted.get(&broker).copied().unwrap_or_default();
        for (index, (stamp, entries)) in self.batches.iter().enumerate() {
            if index == restarted {
                producers.restart();
            }
            if let (Some(stamp), Some(first)) = (stamp, entries.first()) {
                producers.appended(*stamp, first.offset);
            }
        }
        if restarted == self.batches.len() {
            producers.restart();
        }
        producers
    }

    /// The records.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.batches.iter().flat_map(|(_, entries)| entries)
    }
}
