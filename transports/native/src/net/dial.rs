//! Opens a TCP connection to a broker: every address of its name is tried in turn.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::address::Address;

/// The reason why no connection could be opened.
#[derive(Debug, Clone)]
pub enum DialError {
    /// The name has no address.
    Name(Arc<io::Error>),
    /// The name was not resolved in time.
    NameTimedOut,
    /// No address accepted a connection: what each answered, in the order of trying.
    Connect(Vec<(SocketAddr, Arc<io::Error>)>),
}

/// Opens a connection.
///
/// Dropping the future closes what it has opened.
///
/// # Errors
///
/// If the name has no address, or none of them accepts a connection until the deadline.
pub async fn dial(address: &Address, deadline: Instant) -> Result<TcpStream, DialError> {
    let found = timeout_at(deadline, lookup_host((address.host.as_str(), address.port))).await;
    let addresses: Vec<_> = match found {
        Err(_) => return Err(DialError::NameTimedOut),
        Ok(Err(error)) => return Err(DialError::Name(Arc::new(error))),
        Ok(Ok(addresses)) => addresses.collect(),
    };
    dial_any(&addresses, deadline).await
}

/// Opens a connection to the first of these addresses that accepts one.
///
/// # Errors
///
/// If none does until the deadline.
pub async fn dial_any(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, DialError> {
    let mut failed = Vec::new();
    for (tried, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let share = share(deadline.saturating_duration_since(now), addresses.len() - tried);
        match timeout_at(now + share, TcpStream::connect(address)).await {
            // Requests are written whole, so there is nothing to wait for.
            Ok(Ok(stream)) => match stream.set_nodelay(true) {
                Ok(()) => return Ok(stream),
                Err(error) => failed.push((*address, Arc::new(error))),
            },
            Ok(Err(error)) => failed.push((*address, Arc::new(error))),
            Err(_) => failed.push((*address, Arc::new(io::ErrorKind::TimedOut.into()))),
        }
    }
    if failed.is_empty() {
        return Err(DialError::Name(Arc::new(io::Error::other("the name has no address"))));
    }
    Err(DialError::Connect(failed))
}

/// The time that one address gets, so that an address which does not answer leaves time for those behind it.
fn share(left: Duration, addresses: usize) -> Duration {
    left / u32::try_from(addresses.max(1)).unwrap_or(u32::MAX)
}

impl DialError {
    /// What to do about it, if anything is known.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Name(_) | Self::NameTimedOut => Some("correct the name in `bootstrap.servers`, or the DNS"),
            Self::Connect(_) => None,
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => write!(f, "the name cannot be resolved: {error}"),
            Self::NameTimedOut => f.write_str("the name was not resolved in time"),
            Self::Connect(failed) => {
                f.write_str("no connection: ")?;
                for (at, (address, error)) in failed.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    match error.kind() {
                        io::ErrorKind::TimedOut => write!(f, "{comma}{address} did not answer in time")?,
                        io::ErrorKind::ConnectionRefused => write!(f, "{comma}{address} refused it")?,
                        _ => write!(f, "{comma}{address}: {error}")?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl Error for DialError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Name(error) => Some(&**error),
            Self::NameTimedOut => None,
            Self::Connect(failed) => failed.last().map(|(_, error)| &**error as _),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    /// A port on which nobody listens: it is bound, so that nobody else takes it meanwhile.
    fn closed_port() -> (tokio::net::TcpSocket, SocketAddr) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn every_address_is_tried_in_turn() {
        let (_bound, closed) = closed_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let open = listener.local_addr().unwrap();
        let stream = dial_any(&[closed, open], soon()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn the_cause_is_kept_for_each_address() {
        let (_bound, closed) = closed_port();
        let (_other, second) = closed_port();
        let error = dial_any(&[closed, second], soon()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("no connection: {closed} refused it, {second} refused it"));
        let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_one_has_no_address() {
        // Not resolved by any server: a label has up to 63 letters.
        let address = Address { host: "a".repeat(64), port: 1 };
        let error = dial(&address, soon()).await.unwrap_err();
        assert!(error.to_string().starts_with("the name cannot be resolved: "), "{error}");
        assert_eq!(error.help(), Some("correct the name in `bootstrap.servers`, or the DNS"));
    }

    #[tokio::test]
    async fn no_time_is_left() {
        let (_bound, closed) = closed_port();
        // The clock is looked at after the attempt, so one that fails at once still says why.
        let error = dial_any(&[closed], Instant::now()).await.unwrap_err();
        assert!(matches!(error, DialError::Connect(failed) if failed.len() == 1));
        assert!(matches!(dial_any(&[], soon()).await, Err(DialError::Name(_))));
    }

    #[test]
    fn each_address_gets_an_equal_share_of_what_is_left() {
        let second = Duration::from_secs(1);
        assert_eq!((share(second, 4), share(second, 1), share(second, 0)), (second / 4, second, second));
    }
}
