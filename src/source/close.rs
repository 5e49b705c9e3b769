use std::fmt;

use kafka_tower_core::source::{Closed, Unsettled};
use kafka_tower_core::text::count;

/// How a source was closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it says which messages were not settled, and will be read again"]
pub struct SourceCloseReport {
    /// Number of messages that were acknowledged, since the source was built.
    pub settled: u64,
    /// Number of records that were [skipped](super::SourceError::skip), since the source was built.
    pub skipped: u64,
    /// Number of records whose dead letter was delivered, since the source was built.
    pub dead_lettered: u64,
    /// The partitions that were given back or lost at the close before every message was settled and committed.
    pub unsettled: Vec<Unsettled>,
    /// Whether the group was left. If not, the group notices it by a session time-out.
    pub left: bool,
}

impl SourceCloseReport {
    pub(super) fn new(closed: &Closed, left: bool) -> Self {
        let Closed { settled, skipped, dead_lettered, unsettled, .. } = closed.clone();
        Self { settled, skipped, dead_lettered, unsettled, left }
    }

    /// Whether, of the partitions that the source had when it was closed, all messages that were handed out are settled and
    /// committed, and the group was left.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unsettled.is_empty() && self.left
    }
}

impl fmt::Display for SourceCloseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} acknowledged, {} skipped", self.settled, self.skipped)?;
        if self.dead_lettered > 0 {
            write!(f, ", {} dead-lettered", self.dead_lettered)?;
        }
        for unsettled in &self.unsettled {
            write!(f, "; {}", Shown(unsettled))?;
        }
        if !self.left {
            f.write_str("; the group was not left in time")?;
        }
        Ok(())
    }
}

/// What was left of a partition, in one line.
pub(super) struct Shown<'a>(pub(super) &'a Unsettled);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unsettled { at, records, uncommitted, .. } = self.0;
        write!(f, "{at}: {} not settled", count(*records, "message"))?;
        if *uncommitted {
            f.write_str(", settled ones not committed as far as is known")?;
        }
        Ok(())
    }
}
