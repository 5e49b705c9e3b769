//! Held records: admitted, but not in a producer. They wait here in the order of their calls until they can be handed
//! over.
//!
//! A record is held when librdkafka rejected it for a reason that may be out of date ("no such partition"): the topic
//! is looked up first. Later records of that topic queue behind it, so that none overtakes it. A rejection just after a
//! look-up (100 ms), in a transaction, or of an isolated record is returned at once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use kafka_tower_core::sync::lock;

use crate::codes;
use crate::slot::Slot;

/// The held records, oldest first.
#[derive(Default)]
pub(crate) struct HeldRecords(Mutex<VecDeque<Arc<Slot>>>);

impl HeldRecords {
    /// Called under the client's read lock; see [`Client::produce`](crate::ffi::Client::produce).
    pub(crate) fn push(&self, slot: Arc<Slot>) {
        slot.hold();
        lock(&self.0).push_back(slot);
    }

    /// Takes all records, or those of a topic, in one pass, because there may be many.
    pub(crate) fn take(&self, topic: Option<&str>) -> VecDeque<Arc<Slot>> {
        let mut held = lock(&self.0);
        let all = std::mem::take(&mut *held);
        let Some(topic) = topic else { return all };
        let (its, others) = all.into_iter().partition(|slot| *slot.record().topic == *topic);
        *held = others;
        its
    }

    /// Puts these records before all others.
    pub(crate) fn put_first(&self, slots: Vec<Arc<Slot>>) {
        let mut held = lock(&self.0);
        for slot in slots.into_iter().rev() {
            slot.hold();
            held.push_front(slot);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    pub(crate) fn has(&self, topic: &str) -> bool {
        lock(&self.0).iter().any(|slot| *slot.record().topic == *topic)
    }
}

/// Returns whether a rejection by librdkafka may be out of date: it uses metadata that may be minutes old.
pub(crate) fn may_be_out_of_date(code: i32) -> bool {
    matches!(
        code,
        codes::LOCAL_UNKNOWN_PARTITION
            | codes::LOCAL_UNKNOWN_TOPIC
            | codes::UNKNOWN_TOPIC_OR_PARTITION
            | codes::TOPIC_AUTHORIZATION_FAILED
    )
}
