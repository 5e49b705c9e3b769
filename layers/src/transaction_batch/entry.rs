//! What waits for a batch: a record, or a unit. It is never split.

use std::sync::Arc;
use std::time::Instant;

use kafka_tower_core::ledger::Slot;
use kafka_tower_core::{Delivery, Error, Record, Result};

use super::join::Joined;

#[derive(Clone)]
pub(super) enum Entry {
    Record(Arc<Slot<Delivery>>),
    Unit(Arc<Joined>),
}

/// An entry with its outcome.
pub(super) enum Outcome {
    Record(Arc<Slot<Delivery>>, Result<Delivery>),
    Unit(Arc<Joined>, Result<Vec<Delivery>>),
}

impl Entry {
    /// The records that are sent for it.
    pub(super) fn records(&self) -> &[Record] {
        match self {
            Self::Record(slot) => std::slice::from_ref(slot.record()),
            Self::Unit(joined) => &joined.unit.records,
        }
    }

    /// Bytes of keys, values and headers.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Record(slot) => slot.record().size(),
            Self::Unit(joined) => joined.bytes,
        }
    }

    pub(super) fn called_at(&self) -> Instant {
        match self {
            Self::Record(slot) => slot.called_at(),
            Self::Unit(joined) => joined.called_at,
        }
    }

    /// Fails it. `error` gets its topic, or its name.
    pub(super) fn failed(self, error: impl FnOnce(&str) -> Error) -> Outcome {
        match self {
            Self::Record(slot) => {
                let outcome = Err(error(&slot.record().topic));
                Outcome::Record(slot, outcome)
            }
            Self::Unit(joined) => {
                let outcome = Err(error(&joined.name));
                Outcome::Unit(joined, outcome)
            }
        }
    }
}
