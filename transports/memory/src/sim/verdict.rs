use std::fmt;

/// Kind of a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// The caller got `Ok`, and the record is not in the log.
    LostAcknowledged,
    /// A record is in the log more often than the guarantee allows.
    Duplicate,
    /// Records of one key are in the log in another order than they were sent.
    Reordered,
    /// A `read_committed` consumer sees a record whose transaction was reported as aborted.
    AbortedRead,
    /// Consumers see some records of a transaction and not others.
    TornTransaction,
    /// The record was reported as not written, and is in the log.
    NotPersistedInLog,
    /// The record was reported as written, and was not in the log at that time or at that position.
    PersistedNotInLog,
    /// The stack admits less than at its start although nothing is in flight.
    PermitLeak,
    /// A future never became ready.
    StuckFuture,
    /// A future is ready and its task was not woken.
    LostWakeUp,
    /// `close` returned, and neither its report nor a result accounts for a record.
    UnreportedAtClose,
    /// The stack panicked.
    Panicked,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LostAcknowledged => "lost acknowledged record",
            Self::Duplicate => "duplicate",
            Self::Reordered => "reordered within key",
            Self::AbortedRead => "aborted read",
            Self::TornTransaction => "torn transaction",
            Self::NotPersistedInLog => "not persisted, and in the log",
            Self::PersistedNotInLog => "persisted, and not in the log",
            Self::PermitLeak => "permit leak",
            Self::StuckFuture => "stuck future",
            Self::LostWakeUp => "lost wake-up",
            Self::UnreportedAtClose => "unreported record at close",
            Self::Panicked => "panic",
        })
    }
}

/// A violation with its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The kind of the violation.
    pub verdict: Verdict,
    /// The evidence, in one line.
    pub evidence: String,
}

impl Violation {
    pub(crate) fn new(verdict: Verdict, evidence: impl Into<String>) -> Self {
        Self { verdict, evidence: evidence.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.verdict, self.evidence)
    }
}
