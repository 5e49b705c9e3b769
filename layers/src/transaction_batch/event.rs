use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use kafka_tower_core::{Error, Headers, Persistence};

use super::entry::Entry;

/// Why a batch was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CutReason {
    /// It had reached its number of records.
    Records,
    /// It had reached its number of bytes.
    Bytes,
    /// Its oldest record had reached the age.
    Age,
    /// No room was left for more records.
    Room,
    /// A flush waited.
    Flush,
    /// The layer was closed, or its last handle was dropped.
    Close,
}

impl CutReason {
    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Bytes => "bytes",
            Self::Age => "age",
            Self::Room => "room",
            Self::Flush => "flush",
            Self::Close => "close",
        }
    }
}

/// How a transaction of the layer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransactionOutcome {
    /// It was committed.
    Committed,
    /// It was not committed, and never will be. Its records may be sent again.
    Aborted,
    /// It may have been committed.
    Unknown,
}

impl TransactionOutcome {
    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::Unknown => "unknown",
        }
    }

    /// The outcome of a transaction whose commit did not succeed.
    pub(super) fn of(persistence: Persistence) -> Self {
        match persistence {
            Persistence::NotPersisted => Self::Aborted,
            _ => Self::Unknown,
        }
    }
}

/// Event: a transaction of the layer has ended. Its records have their outcomes afterwards.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TransactionEvent<'a> {
    /// Index of the lane.
    pub lane: usize,
    /// Number of records.
    pub records: usize,
    /// Bytes of keys, values and headers.
    pub bytes: usize,
    /// Why the batch was cut.
    pub cut: CutReason,
    /// Time that its oldest record had waited when the batch was cut.
    pub age: Duration,
    /// Number of this attempt to commit the batch, or what is left of it: 1 is the first.
    pub attempt: u32,
    /// Time since the begin of the transaction.
    pub took: Duration,
    /// How it ended.
    pub outcome: TransactionOutcome,
    /// Number of records that were refused themselves, and are not sent again.
    pub refused: usize,
    /// Why it was not committed.
    pub error: Option<&'a Error>,
    pub(super) slots: Slots<'a>,
}

impl<'a> TransactionEvent<'a> {
    /// Returns the headers of its records, in order.
    pub fn headers(&self) -> impl Iterator<Item = &'a Headers> {
        self.slots.0.iter().flat_map(Entry::records).map(|record| &record.headers)
    }
}

/// The records of a transaction.
#[derive(Clone, Copy)]
pub(super) struct Slots<'a>(pub(super) &'a [Entry]);

impl fmt::Debug for Slots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records", self.0.iter().flat_map(Entry::records).count())
    }
}

type Hook = Arc<dyn Fn(&TransactionEvent<'_>) + Send + Sync>;

/// Hooks to call when a transaction has ended.
#[derive(Clone, Default)]
pub(super) struct Hooks(Vec<Hook>);

impl Hooks {
    pub(super) fn push(&mut self, hook: impl Fn(&TransactionEvent<'_>) + Send + Sync + 'static) {
        self.0.push(Arc::new(hook));
    }

    pub(super) fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls them. A panic of one changes nothing else: its message was printed by the panic hook.
    pub(super) fn call(&self, event: &TransactionEvent<'_>) {
        for hook in &self.0 {
            drop(catch_unwind(AssertUnwindSafe(|| hook(event))));
        }
    }
}
