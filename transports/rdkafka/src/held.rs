//! Held records: admitted, but not in a producer. They wait here in the order of their calls until they can be handed
//! over.
//!
//! A record is held when librdkafka rejected it for a reason that may be out of date ("no such partition"): the topic
//! is looked up first. Later records of that topic queue behind it, so that none overtakes it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use kafka_tower_core::gate::Permit;
use kafka_tower_core::{Error, Result};

use crate::codes;
use crate::inner::{TransportInner, lock};
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
    fn take(&self, topic: Option<&str>) -> VecDeque<Arc<Slot>> {
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

    fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    fn has(&self, topic: &str) -> bool {
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

impl TransportInner {
    /// Holds a rejected record until its topic is looked up. Returns it if the topic was looked up a moment ago.
    pub(crate) fn hold_for_look_up(&self, code: i32, slot: Arc<Slot>) -> Result<(), Arc<Slot>> {
        let topic = &slot.record().topic;
        if !may_be_out_of_date(code) || self.is_transactional() || !self.partitions.request_look_up(topic) {
            return Err(slot);
        }
        let topic = Arc::clone(topic);
        self.client.hold(Arc::clone(&topic), || {
            self.held.push(slot);
            // Again, after the record was added: an earlier look-up may have ended meanwhile.
            self.partitions.force_look_up(topic);
        });
        self.client.wake();
        Ok(())
    }

    /// Hands all held records over after the client was replaced.
    pub(crate) fn hand_over_all_held(&self) {
        loop {
            self.hand_over_all(self.held.take(None));
            if self.client.end_hold_of_all(|| self.held.is_empty()) {
                return;
            }
        }
    }

    /// Hands the held records of a topic over after its look-up succeeded or failed, or settles them with the
    /// rejection. Only the event loop does this, so that they keep their order.
    pub(crate) fn hand_over_held_of(&self, topic: &Arc<str>) {
        loop {
            self.hand_over_all(self.held.take(Some(topic)));
            if self.client.end_hold(topic, || !self.held.has(topic)) {
                return;
            }
        }
    }

    fn hand_over_all(&self, held: VecDeque<Arc<Slot>>) {
        for slot in held {
            let permit = self.hand_over_held(slot);
            self.release(permit);
        }
    }

    fn hand_over_held(&self, slot: Arc<Slot>) -> Option<Permit> {
        if !slot.hand_over() {
            // Its deadline has passed and its caller has the error.
            let error = self.expired_while_held(&slot, Instant::now());
            return self.settle(&slot, Err(error));
        }
        let Err((code, slot)) = self.client.produce_held(slot) else { return None };
        let error = self.refused(code, &slot, &self.client);
        self.settle(&slot, Err(error))
    }

    /// Settles all held records, which were never sent.
    pub(crate) fn give_up_held(&self, error: impl Fn(&str) -> Error) {
        for slot in self.held.take(None) {
            let permit = self.settle(&slot, Err(error(&slot.record().topic)));
            self.release(permit);
        }
    }
}
