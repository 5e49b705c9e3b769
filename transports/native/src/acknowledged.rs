//! What a broker acknowledges of a record.

use std::sync::Arc;

use kafka_tower_core::ledger::{self, Acknowledgement};
use kafka_tower_core::{Delivery, Persistence, Record, Timestamp};

/// State of a record.
pub(crate) type Slot = ledger::Slot<Acknowledged>;

/// A broker's acknowledgement of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acknowledged {
    pub(crate) partition: i32,
    /// Negative if no broker has said it.
    pub(crate) offset: i64,
    /// In milliseconds since 1970.
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
