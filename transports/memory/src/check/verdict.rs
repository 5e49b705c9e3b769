use std::fmt;

/// What is wrong with a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// The caller was told `Ok`, and the record is not in the log.
    LostAcknowledged,
    /// A record is in the log more often than the guarantee allows.
    Duplicate,
    /// Records of one key are in the log in another order than they were sent.
    Reordered,
    /// A reader of committed records sees one whose caller was told that it was aborted.
    AbortedRead,
    /// Readers see some records of a transaction and others not.
    TornTransaction,
    /// The caller was told that the record is not in the log, and it is.
    NotPersistedInLog,
    /// The caller was told that the record is in the log, and it was not there: not then, or not where it was said to be.
    PersistedNotInLog,
    /// With nothing on its way the stack admits less than at its start.
    PermitLeak,
    /// A future that is never ready.
    StuckFuture,
    /// A future that is ready and whose task nobody woke.
    LostWakeUp,
    /// `close` came back, and neither its report nor an answer tells of a record.
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

/// One thing that is wrong, with its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// What is wrong.
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
