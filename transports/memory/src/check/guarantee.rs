use std::fmt;

/// What a stack promises, and so what [`check`](super::check()) looks for.
///
/// Under each of them: who is told that a record was written finds it in the log, who is told that it was not does not,
/// and everybody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guarantee {
    /// No record is in the log twice, and the records of a key are in the order of the calls, unless the stack promises
    /// [less](super::Check::order_of_answers) of it.
    AtMostOnce,
    /// A record may be in the log twice only if somebody was not told of the first time. A record that was called after
    /// another one's `Ok` is behind it.
    AtLeastOnce,
    /// As at most once, for readers of committed records; the transport is transactional. See
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
