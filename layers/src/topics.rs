//! Which topics get a value of their own in metrics. No lock, no clock.

use std::collections::HashMap;
use std::sync::Arc;

/// The first topics that were seen, each with what is kept for it; there is no room for more than so many.
pub(crate) struct Topics<V> {
    known: HashMap<Arc<str>, V>,
    max: usize,
}

impl<V> Topics<V> {
    pub(crate) fn new(max: usize) -> Self {
        Self { known: HashMap::new(), max }
    }

    pub(crate) fn get(&self, topic: &str) -> Option<&V> {
        self.known.get(topic)
    }

    /// Whether a topic that is not known stays so.
    pub(crate) fn is_full(&self) -> bool {
        self.known.len() >= self.max
    }

    /// What is kept for a topic, made now if there is room for it.
    pub(crate) fn get_or_insert(&mut self, topic: &Arc<str>, make: impl FnOnce() -> V) -> Option<&V> {
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
        /// The first `max` topics keep their place for ever, and no other gets one.
        #[test]
        fn the_first_topics_stay(max in 0..6usize, sends in prop::collection::vec(0..12u8, 0..60)) {
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
}
