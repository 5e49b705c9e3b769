use kafka_tower_core::sync::lock;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Round-robin positions by topic.
#[derive(Default)]
pub(super) struct Positions(Mutex<HashMap<Arc<str>, Arc<AtomicUsize>>>);

/// A handle's cache of the last topic's position, so that most records take no lock.
#[derive(Clone, Default)]
pub(super) struct LastTopic(Option<(Arc<str>, Arc<AtomicUsize>)>);

impl Positions {
    fn of(&self, topic: &Arc<str>) -> Arc<AtomicUsize> {
        let mut positions = lock(&self.0);
        Arc::clone(positions.entry(Arc::clone(topic)).or_default())
    }
}

impl LastTopic {
    /// Advances the topic's position and returns the previous one.
    #[inline]
    pub(super) fn next(&mut self, positions: &Positions, topic: &Arc<str>) -> usize {
        match &self.0 {
            Some((last, position)) if Arc::ptr_eq(last, topic) || last == topic => {
                position.fetch_add(1, Ordering::Relaxed)
            }
            _ => self.first(positions, topic),
        }
    }

    #[cold]
    fn first(&mut self, positions: &Positions, topic: &Arc<str>) -> usize {
        let position = positions.of(topic);
        let next = position.fetch_add(1, Ordering::Relaxed);
        self.0 = Some((Arc::clone(topic), position));
        next
    }
}

impl fmt::Debug for LastTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LastTopic").field(&self.0.as_ref().map(|(topic, _)| topic)).finish()
    }
}
