//! A map by partition, for few partitions and many look-ups: one after another is mostly of the same partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::TopicPartition;

/// Values by partition, in order. A look-up of the same partition as before is one comparison.
#[derive(Debug)]
pub(crate) struct PartitionMap<V> {
    entries: Vec<(TopicPartition, V)>,
    /// Index of the entry that was found last. It may be that of another one now, so that a look-up compares its name.
    last: AtomicUsize,
}

impl<V> PartitionMap<V> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), last: AtomicUsize::new(0) }
    }

    /// `Err`: where it would be.
    #[inline]
    fn find(&self, at: &TopicPartition) -> Result<usize, usize> {
        let last = self.last.load(Ordering::Relaxed);
        // A source has one text for each topic.
        let is_same = |known: &TopicPartition| known.partition == at.partition && Arc::ptr_eq(&known.topic, &at.topic);
        if self.entries.get(last).is_some_and(|(known, _)| is_same(known)) {
            return Ok(last);
        }
        self.search(at)
    }

    #[inline(never)]
    fn search(&self, at: &TopicPartition) -> Result<usize, usize> {
        let found = self.entries.binary_search_by(|(known, _)| known.cmp(at));
        if let Ok(index) = found {
            self.last.store(index, Ordering::Relaxed);
        }
        found
    }

    #[inline]
    pub(crate) fn get(&self, at: &TopicPartition) -> Option<&V> {
        self.find(at).ok().map(|index| &self.entries[index].1)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, at: &TopicPartition) -> Option<&mut V> {
        self.find(at).ok().map(|index| &mut self.entries[index].1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn contains_key(&self, at: &TopicPartition) -> bool {
        self.find(at).is_ok()
    }

    pub(crate) fn insert(&mut self, at: TopicPartition, value: V) {
        match self.find(&at) {
            Ok(index) => self.entries[index].1 = value,
            Err(index) => self.entries.insert(index, (at, value)),
        }
    }

    pub(crate) fn remove(&mut self, at: &TopicPartition) -> Option<V> {
        self.find(at).ok().map(|index| self.entries.remove(index).1)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&TopicPartition) -> bool) {
        self.entries.retain(|(at, _)| keep(at));
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &V)> {
        self.entries.iter().map(|(at, value)| (at, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&TopicPartition, &mut V)> {
        self.entries.iter_mut().map(|(at, value)| (&*at, value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &TopicPartition> {
        self.entries.iter().map(|(at, _)| at)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }
}

impl<V: Clone> Clone for PartitionMap<V> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), last: AtomicUsize::new(0) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is done, it has the same entries as a tree, in the same order.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0_u8..6, 0_usize..3, 0_i32..5), 0..60)) {
            let (mut map, mut tree) = (PartitionMap::new(), BTreeMap::new());
            let texts: [Arc<str>; 3] = ["orders".into(), "returns".into(), "orders".into()];
            for (i, (what, topic, partition)) in steps.into_iter().enumerate() {
                let at = TopicPartition::new(Arc::clone(&texts[topic]), partition);
                match what {
                    0 | 1 => {
                        map.insert(at.clone(), i);
                        tree.insert(at.clone(), i);
                    }
                    2 => prop_assert_eq!(map.remove(&at), tree.remove(&at)),
                    3 => {
                        map.retain(|other| other.partition != partition);
                        tree.retain(|other, _| other.partition != partition);
                    }
                    _ => {
                        map.get_mut(&at).into_iter().for_each(|value| *value += 1);
                        tree.get_mut(&at).into_iter().for_each(|value| *value += 1);
                    }
                }
                prop_assert_eq!(map.get(&at), tree.get(&at));
                prop_assert_eq!(map.contains_key(&at), tree.contains_key(&at));
                prop_assert!(map.iter().eq(&tree) && map.clone().iter_mut().eq(&mut tree.clone()));
                prop_assert!(map.keys().eq(tree.keys()) && map.values().eq(tree.values()));
                prop_assert_eq!(map.is_empty(), tree.is_empty());
            }
        }
    }
}
