//! What a cluster shows of itself: its logs, and what happened.

use std::fmt;
use std::time::Duration;

use super::log::Entry;

/// The log of a partition, for the judge.
#[derive(Debug, Clone)]
pub(crate) struct LogView {
    /// The topic.
    pub(crate) topic: &'static str,
    /// How often the topic was made anew before.
    pub(crate) generation: u32,
    /// The partition.
    pub(crate) partition: i32,
    /// The records.
    pub(crate) entries: Vec<Entry>,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// When, since the start.
    pub(crate) at: Duration,
    /// Topic and partition, if it concerns one.
    pub(crate) of: Option<(&'static str, i32)>,
    /// What.
    pub(crate) text: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} s  {}", self.at.as_secs_f64(), self.text)
    }
}
