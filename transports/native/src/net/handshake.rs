//! Connects to a broker: opens a connection and asks which versions it speaks.
//!
//! Connected means that an answer was read. A connection alone proves nothing: a port may belong to something else, and a broker
//! that is stopped still accepts connections.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::address::Address;
use super::calls::Calls;
use super::connection::Connection;
use super::dial::{DialError, dial};
use super::error::ConnectionError;
use super::frames::MAX_ANSWER;
use crate::protocol::api::Api;
use crate::protocol::api::api_versions::{ApiVersionsRequest, ApiVersionsResponse, FIRST_VERSION};
use crate::protocol::versions::{BrokerVersions, NoCommonVersion};

/// How a client introduces itself.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// `client.id`, which brokers use in logs and quotas.
    pub client_id: Option<Arc<str>>,
    /// Name and version of the software: letters, digits, `-` and `.` (KIP-511).
    pub software: (&'static str, &'static str),
}

/// A connection to a broker that has answered.
#[derive(Debug)]
pub struct Connected<S> {
    /// The connection.
    pub calls: Calls<S>,
    /// What the broker said.
    pub broker: BrokerFacts,
}

/// What a broker says about itself when a client connects. It is kept for each connection: brokers are upgraded one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerFacts {
    /// The versions that it speaks.
    pub versions: BrokerVersions,
    /// Level of the finalized feature `transaction.version`: from 2 on, transactions follow KIP-890.
    pub transaction_version: i16,
    /// Time for which nothing should be sent (KIP-219).
    pub throttle: Duration,
}

/// The reason why a client is not connected to a broker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectError {
    /// No connection was opened.
    Dial(Address, DialError),
    /// The connection ended before the broker had answered.
    Connection(ConnectionError),
    /// The broker answered with an error.
    Refused(Arc<str>, i16),
    /// The broker is too old or too new.
    Versions(Arc<str>, NoCommonVersion),
}

/// What follows an answer to `ApiVersions`.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Ask(i16),
    Refused(i16),
    Unusable(NoCommonVersion),
    Done(BrokerFacts),
}

/// Opens a connection to a broker and shakes hands, within `timeout`.
///
/// Dropping the future closes the connection.
///
/// # Errors
///
/// If there is no connection, or nothing that speaks a usable version of Kafka answers on it.
pub async fn connect(
    address: &Address,
    introduction: &Introduction,
    timeout: Duration,
) -> Result<Connected<TcpStream>, ConnectError> {
    let deadline = Instant::now() + timeout;
    let stream = dial(address, deadline).await.map_err(|error| ConnectError::Dial(address.clone(), error))?;
    shake_hands(stream, address.to_string().into(), introduction, deadline).await
}

/// Shakes hands over a stream, until the deadline.
///
/// # Errors
///
/// If nothing that speaks a usable version of Kafka answers.
pub async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: Arc<str>,
    introduction: &Introduction,
    deadline: Instant,
) -> Result<Connected<S>, ConnectError> {
    let mut calls = Calls::new(Connection::new(stream, Arc::clone(&peer), MAX_ANSWER));
    let (name, version) = introduction.software;
    let request = ApiVersionsRequest { client_software_name: name, client_software_version: version };
    let client_id = introduction.client_id.as_deref();
    let mut asked = FIRST_VERSION;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let encode = |id| request.encode(asked, id, client_id);
        let answer = calls.call((Api::ApiVersions, asked), left, encode).await;
        let answer = answer.map_err(|failed| ConnectError::Connection(failed.error))?;
        match ApiVersionsResponse::decode(asked, answer.id.correlation_id, &answer.frame) {
            Err(error) => return Err(ConnectError::Connection(calls.undecodable(answer.id, error))),
            Ok(decoded) => match next(asked, &decoded) {
                Step::Ask(version) => asked = version,
                Step::Refused(code) => return Err(ConnectError::Refused(peer, code)),
                Step::Unusable(versions) => return Err(ConnectError::Versions(peer, versions)),
                Step::Done(broker) => return Ok(Connected { calls, broker }),
            },
        }
    }
}

fn next(asked: i16, answer: &ApiVersionsResponse<'_>) -> Step {
    if let Some(version) = answer.next_version(asked) {
        return Step::Ask(version);
    }
    if answer.error_code != 0 {
        return Step::Refused(answer.error_code);
    }
    let versions = BrokerVersions::new(&answer.apis);
    // Without these two nothing can be sent. `InitProducerId` only idempotent producers need.
    match versions.newest(Api::Metadata).and_then(|_| versions.newest(Api::Produce)) {
        Err(error) => Step::Unusable(error),
        Ok(_) => Step::Done(BrokerFacts {
            versions,
            transaction_version: answer.feature("transaction.version"),
            throttle: Duration::from_millis(u64::try_from(answer.throttle_time_ms).unwrap_or_default()),
        }),
    }
}

impl ConnectError {
    /// What to do about it, if anything is known.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Dial(_, error) => error.help(),
            Self::Connection(error) => error.help(),
            Self::Refused(_, code) => kafka_tower_core::codes::find((*code).into()).and_then(|facts| facts.help),
            Self::Versions(..) => None,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(address, error) => write!(f, "{address}: {error}"),
            Self::Connection(error) => error.fmt(f),
            Self::Refused(peer, code) => {
                write!(f, "{peer}: ApiVersions failed: {}", kafka_tower_core::codes::describe((*code).into()))
            }
            Self::Versions(peer, error) => write!(f, "{peer}: {error}"),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Dial(_, error) => error.source(),
            Self::Connection(error) => error.source(),
            Self::Versions(_, error) => Some(error),
            Self::Refused(..) => None,
        }
    }
}
