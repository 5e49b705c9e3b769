use std::fmt;
use std::time::Duration;

use super::outcome::Counts;
use super::{Guarantee, Verdict, Violation};
use crate::Fault;

/// Result of a check. `Display` prints the full report.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use = "it says whether the stack keeps its guarantee; `assert_clean` fails a test"]
pub struct Report {
    /// The guarantee that was checked.
    pub guarantee: Guarantee,
    /// Number of seeds that were run.
    pub seeds: u64,
    /// Number of sends.
    pub sends: u64,
    /// Number of faults.
    pub faults: u64,
    /// Wall-clock time.
    pub elapsed: Duration,
    /// The first seed with a violation.
    pub failure: Option<Failure>,
    pub(crate) counts: Counts,
}

/// A seed under which the stack breaks its guarantee.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Replays the run on any machine.
    pub seed: u64,
    /// The violations.
    pub violations: Vec<Violation>,
    /// Numbers of the sends in the shrunk run.
    pub sends: Vec<u32>,
    /// Number of sends before shrinking.
    pub sends_before: usize,
    /// Faults that the shrunk run needs.
    pub faults: Vec<Fault>,
    /// Number of faults before shrinking.
    pub faults_before: usize,
    /// Trace of the shrunk run.
    pub trace: Vec<String>,
    /// First difference between two runs of the seed, if there is one: the stack then depends on something other than
    /// the clock and its inputs, and the run cannot be replayed.
    pub not_deterministic: Option<String>,
}

impl Report {
    /// Whether no seed showed a violation.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failure.is_none()
    }

    /// The verdicts, sorted and without duplicates.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        let violations = self.failure.iter().flat_map(|failure| &failure.violations);
        let mut verdicts: Vec<_> = violations.map(|violation| violation.verdict).collect();
        verdicts.sort_unstable();
        verdicts.dedup();
        verdicts
    }

    /// Panics with the report if there is a violation.
    ///
    /// # Panics
    ///
    /// If a seed showed a violation.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { guarantee, seeds, sends, faults, elapsed, failure, counts } = self;
        let verdict = if failure.is_none() { "kept" } else { "NOT kept" };
        writeln!(f, "{guarantee}: {verdict} in {seeds} seeds, {sends} sends, {faults} faults, {elapsed:.1?}")?;
        let Counts { delivered, not_written, unknown, left, copies, transactions } = counts;
        write!(f, "  answers: {delivered} delivered, {not_written} not written, {unknown} may have been written, ")?;
        write!(f, "{left} futures dropped; {copies} duplicates in the log")?;
        if *transactions > 0 {
            write!(f, "; {transactions} transactions")?;
        }
        match failure {
            None => Ok(()),
            Some(failure) => write!(f, "\n{failure}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        for violation in &self.violations {
            writeln!(f, "  {violation}")?;
        }
        if let Some(difference) = &self.not_deterministic {
            writeln!(f, "\n  your stack is not deterministic: two runs of the seed differ, first at\n{difference}")?;
        }
        writeln!(f, "\n  replay: KAFKA_TOWER_SEED={} and the same test", self.seed)?;
        write!(f, "\n  {} of {} sends and ", self.sends.len(), self.sends_before)?;
        writeln!(f, "{} of {} faults are enough to show it:", self.faults.len(), self.faults_before)?;
        for fault in &self.faults {
            writeln!(f, "    {fault}")?;
        }
        writeln!(f, "\n  what happened:")?;
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}
