//! Records of this transport in their ledger.

pub(crate) use kafka_tower_core::ledger::Acknowledged;

/// State of a record.
pub(crate) type Slot = kafka_tower_core::ledger::Slot<Acknowledged>;
