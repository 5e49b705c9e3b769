use std::fmt;

/// Guarantee of a stack: what [`check`](super::check()) verifies.
///
/// Under each guarantee: a record that was reported as written is in the log, a record reported as not written is
/// not, and every send gets a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guarantee {
    /// No record is in the log twice, and records of one key are in call order, unless the stack promises [less
    /// order](super::Check::order).
    AtMostOnce,
    /// A record may be in the log twice only if its first write was not acknowledged. A record that was called after
    /// another one's `Ok` is behind it.
    AtLeastOnce,
    /// As at most once, for `read_committed` consumers, over a transactional transport. See
    /// [`Check::transactions`](super::Check::transactions).
    ExactlyOnce,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtMostOnce => "at most once",
            Self::AtLeastOnce => "at least once",
            Self::ExactlyOnce => "exactly once",
        })
    }
}
