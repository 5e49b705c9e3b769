//! Topics with a value of their own in metrics.

use kafka_tower_core::sync::{read, write};
use std::collections::HashMap;
use std::sync::{Arc, RwLock};

/// Thread-safe set of topics. Looking up a known topic takes a read lock.
pub(crate) struct SharedTopics<V>(RwLock<Topics<V>>);

impl<V: Clone> SharedTopics<V> {
    pub(crate) fn new(max: usize) -> Self {
        Self(RwLock::new(Topics::new(max)))
    }

    /// Returns the value of a topic; creates it if there is room for another topic. `make` runs outside the lock,
    /// because it may call foreign code; its result is dropped if another thread was faster.
    pub(crate) fn get_or_insert(&self, topic: &Arc<str>, make: impl FnOnce() -> V) -> Option<V> {
        {
            let topics = read(&self.0);
            if let Some(known) = topics.get(topic) {
                return Some(known.clone());
            }
            if topics.is_full() {
                return None;
            }
        }
        let new = make();
        write(&self.0).get_or_insert(topic, || new).cloned()
    }

    /// The topics that have a value, with it.
    #[cfg(feature = "metrics")]
    pub(crate) fn all(&self) -> Vec<(Arc<str>, V)> {
        read(&self.0).known.iter().map(|(topic, value)| (Arc::clone(topic), value.clone())).collect()
    }
}

/// The first `max` topics that were seen, each with its value. No lock, no clock.
struct Topics<V> {
    known: HashMap<Arc<str>, V>,
    max: usize,
}

impl<V> Topics<V> {
    fn new(max: usize) -> Self {
        Self { known: HashMap::new(), max }
    }

    fn get(&self, topic: &str) -> Option<&V> {
        self.known.get(topic)
    }

    /// Whether no further topic is added.
    fn is_full(&self) -> bool {
        self.known.len() >= self.max
    }

    /// Returns the value of a topic; creates it if there is room for another topic.
    fn get_or_insert(&mut self, topic: &Arc<str>, make: impl FnOnce() -> V) -> Option<&V> {
        if self.known.contains_key(topic) {
            return self.known.get(topic);
        }
        if self.is_full() {
            return None;
        }
        Some(self.known.entry(Arc::clone(topic)).or_insert_with(make))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The first `max` topics stay for ever, and no other is added.
        #[test]
        fn the_first_topics_keep_their_values(max in 0..6usize, sends in prop::collection::vec(0..12u8, 0..60)) {
            let mut topics = Topics::new(max);
            let mut first: Vec<u8> = Vec::new();
            for topic in sends {
                if !first.contains(&topic) && first.len() < max {
                    first.push(topic);
                }
                let name: Arc<str> = topic.to_string().into();
                let place = first.iter().position(|known| *known == topic);
                prop_assert_eq!(topics.get_or_insert(&name, || first.len() - 1).copied(), place);
                prop_assert_eq!(topics.get(&name).copied(), place);
                prop_assert_eq!(topics.is_full(), first.len() == max);
            }
        }
    }

    #[test]
    fn no_value_is_made_beyond_the_limit() {
        let topics = SharedTopics::new(1);
        let (first, second): (Arc<str>, Arc<str>) = ("first".into(), "second".into());
        assert_eq!(topics.get_or_insert(&first, || 1), Some(1));
        assert_eq!(topics.get_or_insert(&first, || panic!("it is known")), Some(1));
        assert_eq!(topics.get_or_insert(&second, || panic!("there is no room")), None);
    }

    /// `make` runs outside the lock: it may use the topics itself, and of several concurrent values one stays.
    #[test]
    fn of_two_concurrent_values_one_is_kept() {
        let topics = SharedTopics::new(1);
        let topic: Arc<str> = "topic".into();
        let outer = topics.get_or_insert(&topic, || {
            assert_eq!(topics.get_or_insert(&topic, || "inner"), Some("inner"));
            "outer"
        });
        assert_eq!(outer, Some("inner"));
    }
}
