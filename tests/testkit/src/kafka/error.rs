//! Error of a test cluster.

use std::fmt;

/// Description of a failure. `Debug` prints the same text, so that `unwrap` in a test shows a broker's log readably.
#[derive(Clone)]
#[non_exhaustive]
pub enum Error {
    /// The operation controls a process, which the external cluster of `KAFKA_BROKERS` does not allow.
    External(&'static str),
    /// Any other failure.
    Failed(String),
}

impl Error {
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self::Failed(what.to_string())
    }

    /// `map_err(Error::with("what was tried"))`.
    pub(crate) fn with<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> Self {
        move |cause| Self::Failed(format!("{what}: {cause}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External(operation) => write!(
                f,
                "{operation}: the cluster of KAFKA_BROKERS is not ours; unset KAFKA_BROKERS to let the tests start one"
            ),
            Self::Failed(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}
