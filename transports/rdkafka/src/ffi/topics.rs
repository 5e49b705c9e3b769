//! The topic handles of a client.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, RwLock};

use rdkafka_sys as sys;

use kafka_tower_core::sync::{read, write};

use super::produce::{Topic, produce};
use crate::slot::Slot;

/// Handles by name. The first few topics are found without a lock and without hashing.
#[derive(Default)]
pub(super) struct Topics {
    /// Filled from the front, and never emptied.
    few: [OnceLock<(Arc<str>, Topic)>; 4],
    /// The other handles. Adding a handle to either needs its write lock.
    rest: RwLock<HashMap<Arc<str>, Topic>>,
}

impl Topics {
    /// Hands the slot's record over to its topic. The first record of a topic creates the handle.
    ///
    /// An error is librdkafka's code and returns the slot.
    pub(super) fn produce(&self, rk: *mut sys::rd_kafka_t, slot: Arc<Slot>) -> Result<(), (i32, Arc<Slot>)> {
        let name = &slot.record().topic;
        if let Some(topic) = self.one_of_few(name) {
            return produce(rk, topic, slot);
        }
        let rest = read(&self.rest);
        if let Some(topic) = rest.get(name) {
            return produce(rk, topic, slot);
        }
        drop(rest);
        match self.open(rk, name) {
            Ok(()) => self.produce(rk, slot),
            Err(code) => Err((code, slot)),
        }
    }

    fn one_of_few(&self, name: &Arc<str>) -> Option<&Topic> {
        let filled = self.few.iter().map_while(OnceLock::get);
        let mut same = filled.filter(|(known, _)| Arc::ptr_eq(known, name) || known == name);
        same.next().map(|(_, topic)| topic)
    }

    fn open(&self, rk: *mut sys::rd_kafka_t, name: &Arc<str>) -> Result<(), i32> {
        let mut rest = write(&self.rest);
        if self.one_of_few(name).is_some() || rest.contains_key(name) {
            return Ok(());
        }
        let mut opened = (Arc::clone(name), Topic::open(rk, name)?);
        for place in &self.few {
            match place.set(opened) {
                Ok(()) => return Ok(()),
                Err(back) => opened = back,
            }
        }
        rest.insert(opened.0, opened.1);
        Ok(())
    }
}
