//! Holds records until their topic is looked up, and hands them over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use kafka_tower_core::gate::{Gated, Permit};
use kafka_tower_core::ledger::RecordTransport;
use kafka_tower_core::{Error, Result};

use super::TransportInner;
use crate::codes;
use crate::held::may_be_out_of_date;
use crate::replace::ended::NotHeld;
use crate::slot::Slot;

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

    /// Hands all held records over after the client was replaced, or settles them with its refusal. Ends early if the client
    /// ends meanwhile and is replaced.
    pub(crate) fn hand_over_all_held(self: &Arc<Self>) {
        loop {
            self.hand_over_all(self.held.take_all());
            if self.client.end_hold_of_all(|| self.held.is_empty()) || self.ended.is_noticed_and_holds() {
                return;
            }
        }
    }

    /// Hands the held records of a topic over after its look-up succeeded or failed, or settles them with the
    /// rejection. Only the event loop does this, so that they keep their order.
    pub(crate) fn hand_over_held_of(self: &Arc<Self>, topic: &Arc<str>) {
        if self.client.holds_all() {
            // They wait for the new client, as all records do.
            self.client.end_hold(topic, || true);
            return;
        }
        loop {
            self.hand_over_all(self.held.take(topic));
            if self.client.end_hold(topic, || !self.held.has(topic)) {
                return;
            }
        }
    }

    fn hand_over_all(self: &Arc<Self>, held: VecDeque<Arc<Slot>>) {
        for slot in held {
            let permit = self.hand_over_held(slot);
            self.release(permit);
        }
    }

    fn hand_over_held(self: &Arc<Self>, slot: Arc<Slot>) -> Option<Permit> {
        if !slot.hand_over(Instant::now()) {
            // Its deadline has passed and its caller has the error.
            let error = self.expired_while_held(&slot, Instant::now());
            return self.settle(&slot, Err(error));
        }
        let Err((code, slot)) = self.client.produce_held(slot) else { return None };
        let error = if code == codes::LOCAL_FATAL {
            match self.hold_for_new_client(&slot) {
                // Only this thread replaces the client, so it was not replaced.
                Ok(()) | Err(NotHeld::Replaced) => return None,
                Err(NotHeld::Refused(error)) => self.refused_by_ended(error, &slot),
            }
        } else {
            self.refused(code, &slot, &self.client)
        };
        self.settle(&slot, Err(error))
    }

    /// Settles all held records, which were never sent.
    pub(crate) fn give_up_held(self: &Arc<Self>, error: impl Fn(&str) -> Error) {
        for slot in self.held.take_all() {
            let permit = self.settle(&slot, Err(error(&slot.record().topic)));
            self.release(permit);
        }
    }
}
