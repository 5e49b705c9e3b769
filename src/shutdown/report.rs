use std::fmt;
use std::time::Duration;

use kafka_tower_core::Undelivered;
use kafka_tower_core::text::{count, seconds};

use crate::CloseError;
use crate::source::SourceCloseReport;

/// How a [`Shutdown`](super::Shutdown) ended. `T` is the output of the server.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "it holds the records that were not delivered"]
pub struct ShutdownReport<T> {
    /// Output of the server. `None` if it was still running when the time was over: it was dropped.
    pub server: Option<T>,
    /// How each source was closed, in the order in which they were given.
    pub sources: Vec<SourceCloseReport>,
    /// How each sink and client was closed, in the order in which they were given.
    pub sinks: Vec<Result<(), CloseError>>,
    /// Time since the shutdown began.
    pub elapsed: Duration,
    /// Whether a second signal ended it before its deadline.
    pub at_once: bool,
}

/// What a shutdown has left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loss {
    /// Nothing.
    None,
    /// Work that was broken off. What it had sent is delivered, and what it had read is read again.
    Work,
    /// Records that were not delivered, or perhaps not.
    Records,
}

impl<T> ShutdownReport<T> {
    /// Whether the server has ended, each message that was read is settled and committed, and each record was delivered.
    /// Whether the server's own output is an error is not considered.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.loss() == Loss::None
    }

    /// Returns the records that were not delivered or that are in doubt, so that you can store them.
    #[must_use]
    pub fn into_undelivered(self) -> Vec<Undelivered> {
        let failed = self.sinks.into_iter().filter_map(Result::err);
        failed.flat_map(|error| error.into_report().undelivered).collect()
    }

    pub(super) fn loss(&self) -> Loss {
        if self.sinks.iter().any(Result::is_err) {
            Loss::Records
        } else if self.server.is_none() || !self.sources.iter().all(SourceCloseReport::is_complete) {
            Loss::Work
        } else {
            Loss::None
        }
    }

    pub(super) fn log(&self) {
        match self.loss() {
            Loss::None => tracing::info!("{self}"),
            Loss::Work => tracing::warn!("{self}"),
            Loss::Records => tracing::error!("{self}"),
        }
    }
}

/// One line for logs: counts, and no contents of records.
impl<T> fmt::Display for ShutdownReport<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = if self.at_once { ", at a second signal" } else { "" };
        write!(f, "shut down in {}{signal}: ", seconds(self.elapsed))?;
        if self.is_complete() {
            return f.write_str("nothing was lost");
        }
        let mut parts = Vec::new();
        if self.server.is_none() {
            parts.push("the server was still running".to_owned());
        }
        let incomplete = self.sources.iter().filter(|report| !report.is_complete());
        parts.extend(incomplete.map(|report| format!("a source was closed early: {report}")));
        parts.extend(self.sinks.iter().filter_map(|closed| closed.as_ref().err()).map(lost));
        f.write_str(&parts.join("; "))
    }
}

/// What a close has lost, with the message of its cause. The causes of that may quote a record.
fn lost(error: &CloseError) -> String {
    let report = error.report();
    let mut counts = Vec::new();
    for (number, fate) in [(report.failed, "not written"), (report.unknown, "may have been written")] {
        if number > 0 {
            counts.push(format!("{} {fate}", count(number as usize, "record")));
        }
    }
    if error.unfinished() > 0 {
        counts.push(format!("{} without an answer", count(error.unfinished() as usize, "send")));
    }
    if let Some(end) = &report.transaction {
        counts.push(end.to_string());
    }
    let text = if counts.is_empty() { "a sink was not closed".to_owned() } else { counts.join(", ") };
    match error.cause() {
        Some(cause) => format!("{text} (first error: {})", cause.message()),
        None => text,
    }
}
