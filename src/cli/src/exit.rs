//! How the command ends.

use std::fmt;
use std::io;
use std::process::ExitCode;

use kafka_tower::{Error, ErrorKind, SourceError};

/// How the command ended, as its exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything went right: 0.
    Good,
    /// Something was refused, failed or lost: 1.
    Failed,
    /// The command line or the settings cannot be used, and nothing was tried: 2.
    Usage,
    /// Stopped by a signal, of this number, before its own end: 128 and the number.
    Interrupted(u8),
}

impl End {
    pub(crate) fn of(good: bool) -> Self {
        if good { Self::Good } else { Self::Failed }
    }

    /// The code of the process.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Interrupted(signal) => 128 | signal,
        }
    }
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        end.code().into()
    }
}

/// Why the command could not go on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line, a file of settings or the environment cannot be used.
    Usage { message: String, help: String },
    /// An error of a sink.
    Sink(Error),
    /// An error of a source.
    Source(SourceError),
    /// Anything else.
    Other { message: String, help: String },
    /// The program that reads the standard output has gone: no error.
    PipeClosed,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), help: help.into() }
    }

    pub(crate) fn other(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Other { message: message.into(), help: help.into() }
    }

    /// An error of the standard output.
    pub(crate) fn of_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::PipeClosed,
            _ => Self::other(format!("the standard output cannot be written: {error}"), "check where it goes"),
        }
    }

    /// How the process ends with it.
    pub(crate) fn end(&self) -> End {
        match self {
            Self::PipeClosed => End::Good,
            Self::Usage { .. } => End::Usage,
            Self::Sink(error) if error.kind() == ErrorKind::Config => End::Usage,
            Self::Sink(_) | Self::Source(_) | Self::Other { .. } => End::Failed,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sink(error)
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage { message, help } | Self::Other { message, help } => write!(f, "{message} [help: {help}]"),
            Self::Sink(error) => write!(f, "{error:#}"),
            Self::Source(error) => write!(f, "{error:#}"),
            Self::PipeClosed => f.write_str("the reader of the output has gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_documentation() {
        assert_eq!([End::Good, End::Failed, End::Usage].map(End::code), [0, 1, 2]);
        assert_eq!([End::Interrupted(2), End::Interrupted(15)].map(End::code), [130, 143]);
    }

    #[test]
    fn settings_that_cannot_work_are_an_error_of_usage() {
        let of = |kind| Failure::from(Error::new(kind, "no")).end();
        assert_eq!((of(ErrorKind::Config), of(ErrorKind::Connection)), (End::Usage, End::Failed));
        assert_eq!(Failure::usage("no topic", "name one").end(), End::Usage);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        let gone = Failure::of_output(&io::ErrorKind::BrokenPipe.into());
        assert_eq!(gone.end(), End::Good);
        assert_eq!(Failure::of_output(&io::ErrorKind::StorageFull.into()).end(), End::Failed);
    }
}
