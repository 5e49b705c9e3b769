//! Records of this transport in their ledger.
//!
//! Lock order: the client's state, then a slot, because a record is locked when it is held. Therefore an error reads what is
//! known of the brokers before it locks the slot, and is logged after that.

use std::sync::Arc;

use kafka_tower_core::ledger::{self, Acknowledgement};
use kafka_tower_core::{Delivery, Persistence, Record, Timestamp};

/// State of a record. librdkafka reads the record's value in place.
pub(crate) type Slot = ledger::Slot<Acknowledged>;

/// A broker's acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) partition: i32,
    /// Negative if the broker returned none.
    pub(crate) offset: i64,
    /// In milliseconds since the epoch; negative if unknown.
    pub(crate) timestamp: i64,
    pub(crate) persistence: Persistence,
}

impl Acknowledgement for Acknowledged {
    fn into_delivery(self, record: &Record) -> Delivery {
        let mut delivery = Delivery::new(Arc::clone(&record.topic), self.partition).with_persistence(self.persistence);
        delivery.offset = (self.offset >= 0).then_some(self.offset);
        delivery.timestamp = (self.timestamp >= 0).then(|| Timestamp::from_millis(self.timestamp));
        delivery
    }
}
