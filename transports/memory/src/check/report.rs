use std::fmt;
use std::time::Duration;

use super::run::Counts;
use super::{Guarantee, Verdict, Violation};
use crate::Fault;

/// How a check ended. `Display` is the report to read.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use = "it says whether the stack keeps its guarantee; `assert_clean` fails a test"]
pub struct Report {
    /// What was checked.
    pub guarantee: Guarantee,
    /// How many seeds were run.
    pub seeds: u64,
    /// How many sends they made.
    pub sends: u64,
    /// How many faults they met.
    pub faults: u64,
    /// By the clock on the wall.
    pub elapsed: Duration,
    /// The first seed that showed a violation.
    pub failure: Option<Failure>,
    pub(crate) counts: Counts,
}

/// A seed under which the stack does not keep its guarantee.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// It replays the run, on any machine.
    pub seed: u64,
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// The sends of the shrunk run, by number.
    pub sends: Vec<u32>,
    /// The sends before it was shrunk.
    pub sends_before: usize,
    /// The faults that the shrunk run needs.
    pub faults: Vec<Fault>,
    /// The faults before it was shrunk.
    pub faults_before: usize,
    /// What happened in the shrunk run, line by line.
    pub trace: Vec<String>,
    /// Where a second run of the same seed went another way, if it did: then the stack draws from something else than
    /// the clock and its inputs, and nothing can be replayed.
    pub not_deterministic: Option<String>,
}

impl Report {
    /// Whether no seed showed a violation.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failure.is_none()
    }

    /// What is wrong, in order and each once.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        let violations = self.failure.iter().flat_map(|failure| &failure.violations);
        let mut verdicts: Vec<_> = violations.map(|violation| violation.verdict).collect();
        verdicts.sort_unstable();
        verdicts.dedup();
        verdicts
    }

    /// Fails a test with the report.
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
        write!(f, "  told: {delivered} delivered, {not_written} not written, {unknown} may have been written, ")?;
        write!(f, "{left} callers went away; {copies} copies in the log")?;
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
        writeln!(f, "{} of {} faults are enough:", self.faults.len(), self.faults_before)?;
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
