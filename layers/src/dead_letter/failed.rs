use std::borrow::Cow;
use std::sync::Arc;

use kafka_tower_core::RawRecord;

/// A record that could not be handled, and what is known about it.
///
/// `error` and `reason` are written into headers: do not put contents of the record into them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedRecord {
    /// The original record.
    pub record: RawRecord,
    /// The kind of the failure, in one word, for example `Decode`.
    pub error: Cow<'static, str>,
    /// What happened, in one line.
    pub reason: Cow<'static, str>,
    /// Number of attempts to handle it. Default: 1.
    pub attempts: u32,
    /// The consumer group, if it is known.
    pub group: Option<Arc<str>>,
}

impl FailedRecord {
    /// A record that failed at the first attempt, of no group.
    #[must_use]
    pub fn new(record: RawRecord, error: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { record, error: error.into(), reason: reason.into(), attempts: 1, group: None }
    }

    /// Sets the number of attempts.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets the consumer group.
    #[must_use]
    pub fn with_group(mut self, group: impl Into<Arc<str>>) -> Self {
        self.group = Some(group.into());
        self
    }
}
