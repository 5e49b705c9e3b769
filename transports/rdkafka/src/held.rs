//! Held records: admitted, but not in a producer. They wait here in the order of their calls until they can be handed
//! over.
//!
//! A record is held when librdkafka rejected it for a reason that may be out of date ("no such partition"): the topic
//! is looked up first. Later records of that topic queue behind it, so that none overtakes it. A rejection just after a
//! look-up (100 ms), in a transaction, or of an isolated record is returned at once.
//!
//! While the client is replaced, all records are held. Those that the old instance certainly never sent are held again.

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

    /// Takes all records, in the order of their calls: a client that was replaced may have returned some in another order.
    pub(crate) fn take_all(&self) -> VecDeque<Arc<Slot>> {
        let mut all = std::mem::take(&mut *lock(&self.0));
        let Some(first) = all.front().map(|slot| slot.order()) else { return all };
        // Orders wrap around, so the distance to any of them is compared.
        all.make_contiguous().sort_by_key(|slot| slot.order().wrapping_sub(first) as i32);
        all
    }

    /// Takes the records of a topic in one pass, because there may be many.
    pub(crate) fn take(&self, topic: &str) -> VecDeque<Arc<Slot>> {
        let mut held = lock(&self.0);
        let (its, others) = std::mem::take(&mut *held).into_iter().partition(|slot| *slot.record().topic == *topic);
        *held = others;
        its
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use kafka_tower_core::Record;

    use super::*;

    #[test]
    fn records_are_taken_in_the_order_of_their_calls() {
        let start = u32::MAX - 1;
        for returned in [[0, 1, 2, 3], [3, 0, 2, 1], [1, 3, 0, 2]] {
            let held = HeldRecords::default();
            for n in returned {
                let slot = Slot::new(Record::new("t"), Instant::now()).with_order(start.wrapping_add(n));
                held.push(Arc::new(slot));
            }
            let orders: Vec<_> = held.take_all().iter().map(|slot| slot.order().wrapping_sub(start)).collect();
            assert_eq!(orders, [0, 1, 2, 3], "{returned:?}");
            assert!(held.is_empty());
        }
    }
}
