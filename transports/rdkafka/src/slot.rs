//! Records of this transport in their ledger.
//!
//! Lock order: the client's state, then a slot, because a record is locked when it is held. Therefore an error reads what is
//! known of the brokers before it locks the slot, and is logged after that.

pub(crate) use kafka_tower_core::ledger::Acknowledged;

/// State of a record. librdkafka reads the record's value in place.
pub(crate) type Slot = kafka_tower_core::ledger::Slot<Acknowledged>;
