//! Why a message was not handled.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use kafka_tower_core::{BoxError, Error, ErrorKind};

#[derive(Debug)]
pub(super) enum Failure {
    Error(BoxError),
    Panicked,
    TimedOut(Duration),
}

impl Failure {
    /// The kind of the failure, and what happened, without the texts of foreign errors.
    pub(super) fn own_texts(&self) -> (&'static str, Cow<'static, str>) {
        match self {
            Self::Error(_) => ("Handler", "the service failed".into()),
            Self::Panicked => ("Handler", "the service panicked".into()),
            Self::TimedOut(time) => ("Timeout", format!("it took more than {time:?}").into()),
        }
    }

    /// Of low cardinality. An error that is not one of ours has no name.
    pub(super) fn error_type(&self) -> &'static str {
        match self {
            Self::Error(error) => error.downcast_ref::<Error>().map_or("_OTHER", Error::error_type),
            Self::Panicked => "panic",
            Self::TimedOut(_) => ErrorKind::Timeout.as_str(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => fmt::Display::fmt(error, f),
            Self::Panicked => f.write_str("the service panicked"),
            Self::TimedOut(time) => write!(f, "it took more than {time:?}"),
        }
    }
}
