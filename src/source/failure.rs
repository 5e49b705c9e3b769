//! Why a message was not handled.

use std::fmt;
use std::time::Duration;

use kafka_tower_core::BoxError;

#[derive(Debug)]
pub(super) enum Failure {
    Error(BoxError),
    Panicked,
    TimedOut(Duration),
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
