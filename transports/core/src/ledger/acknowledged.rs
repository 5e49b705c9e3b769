use std::sync::Arc;

use super::Acknowledgement;
use crate::{Delivery, Persistence, Record, Timestamp};

/// A broker's acknowledgement of a record, for a transport to Kafka.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// The partition.
    pub partition: i32,
    /// The offset; negative if the broker returned none.
    pub offset: i64,
    /// The record's time, in milliseconds since 1970; negative if it is not known.
    pub timestamp: i64,
    /// Whether the record is in the log: with `acks=0` it was only written to a socket.
    pub persistence: Persistence,
}

impl Acknowledgement for Acknowledged {
    fn into_delivery(self, record: &Record) -> Delivery {
        let mut delivery = Delivery::new(Arc::clone(&record.topic), self.partition).with_persistence(self.persistence);
        delivery.offset = (self.offset >= 0).then_some(self.offset);
        delivery.timestamp = (self.timestamp >= 0).then(|| Timestamp::from_millis(self.timestamp));
        delivery
    }
}
