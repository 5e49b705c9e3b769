//! Why a connection ended.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::frames::WrongLength;
use super::in_flight::ForeignAnswer;
use crate::protocol::api::Api;
use crate::protocol::{DecodeError, TooLong};
use kafka_tower_core::wrong_protocol;

/// The reason why a connection ended, or why a request could not be sent on it.
#[derive(Debug, Clone)]
pub struct ConnectionError {
    /// The peer, as it was named.
    pub peer: Arc<str>,
    /// What happened.
    pub cause: Cause,
}

/// What ended a connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Cause {
    /// The peer closed it.
    Closed {
        /// Number of answers that had come.
        answers: u64,
        /// Whether it was closed in the middle of an answer.
        partial: bool,
    },
    /// Reading or writing failed.
    Io {
        /// Number of answers that had come.
        answers: u64,
        /// The error.
        source: Arc<io::Error>,
    },
    /// A request had no answer in time.
    TimedOut {
        /// The request.
        api: Api,
        /// The time that it had.
        timeout: Duration,
    },
    /// An answer whose length cannot be one.
    WrongLength(WrongLength),
    /// An answer to a request that was not the next one.
    Foreign(ForeignAnswer),
    /// An answer that cannot be read.
    Undecodable {
        /// The request.
        api: Api,
        /// The reason.
        source: DecodeError,
    },
    /// A request that cannot be written. The connection stays usable.
    TooLong(TooLong),
}

const NAME_LISTENERS: &str =
    "name Kafka's own listeners in `bootstrap.servers`, as host:port; their port is 9092 by default";
const IS_TLS: &str = "is this a TLS listener? It answers as one: use the plaintext listener's port";
const MAY_BE_TLS: &str = "is this a TLS listener, or one with SASL? Use the port of a plaintext listener";

impl ConnectionError {
    /// What to do about it, if anything is known.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        match &self.cause {
            Cause::WrongLength(wrong) => match wrong_protocol::speaks(wrong.length) {
                Some(text) if text == wrong_protocol::TLS => Some(IS_TLS),
                Some(_) => Some(NAME_LISTENERS),
                None => None,
            },
            Cause::Closed { answers: 0, partial: false } | Cause::Io { answers: 0, .. } => Some(MAY_BE_TLS),
            Cause::Closed { answers: 0, partial: true } | Cause::Foreign(_) | Cause::Undecodable { .. } => {
                Some(NAME_LISTENERS)
            }
            _ => None,
        }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.peer)?;
        match &self.cause {
            Cause::Closed { answers: 0, partial: false } => {
                f.write_str("the peer closed the connection before it answered anything")
            }
            Cause::Closed { partial: true, .. } => {
                f.write_str("the peer closed the connection in the middle of an answer")
            }
            Cause::Closed { .. } => f.write_str("the peer closed the connection"),
            Cause::Io { source, .. } => write!(f, "the connection failed: {source}"),
            Cause::TimedOut { api, timeout } => {
                let timeout = Duration::from_millis(timeout.as_millis().try_into().unwrap_or(u64::MAX));
                write!(f, "no answer to {} within {timeout:?}", api.name())
            }
            Cause::WrongLength(source) => source.fmt(f),
            Cause::Foreign(source) => write!(f, "the answers are out of order: {source}"),
            Cause::Undecodable { api, source } => write!(f, "the answer to {} cannot be read: {source}", api.name()),
            Cause::TooLong(source) => source.fmt(f),
        }
    }
}

impl std::error::Error for ConnectionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Io { source, .. } => Some(&**source),
            Cause::Undecodable { source, .. } => Some(source),
            Cause::WrongLength(source) => Some(source),
            Cause::Foreign(source) => Some(source),
            Cause::TooLong(source) => Some(source),
            Cause::Closed { .. } | Cause::TimedOut { .. } => None,
        }
    }
}
