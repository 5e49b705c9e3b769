//! Transactions with messages, their outputs and their offsets.

use std::time::Duration;

use opentelemetry::KeyValue;

use super::SourceTelemetry;
use crate::telemetry::{attributes, semconv};

/// How a transaction with messages of a source has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceTransaction {
    /// Outputs and offsets are there.
    Committed,
    /// Its messages are handled again, here or by the next owner of their partitions.
    Aborted,
    /// It is not known.
    Unknown,
}

impl SourceTransaction {
    const ALL: [Self; 3] = [Self::Committed, Self::Aborted, Self::Unknown];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::Unknown => "unknown",
        }
    }
}

impl SourceTelemetry {
    /// Counts a transaction that has ended. It may have messages of several topics, so it is counted by the group.
    pub fn transaction(&self, how: SourceTransaction, took: Duration, messages: usize) {
        let Some(instruments) = self.live() else { return };
        let of = |how: SourceTransaction| {
            let outcome = KeyValue::new(semconv::TRANSACTION_OUTCOME, how.as_str());
            attributes::with(&self.0.of_group, [Some(outcome)])
        };
        // A zero for each outcome: otherwise a rate over a new series misses its first increment.
        SourceTransaction::ALL.into_iter().for_each(|other| instruments.transactions.add(0, &of(other)));
        let set = of(how);
        instruments.transactions.add(1, &set);
        instruments.transaction(took, messages, &set);
    }
}
