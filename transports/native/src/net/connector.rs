//! How a client opens connections: over TCP, or over streams of a test.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::address::Address;
use super::dial::{DialError, dial};

/// Bytes to and from a broker.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A stream of any type: one virtual call for each system call.
pub type BoxStream = Box<dyn Stream>;

/// The future of a connection that is being opened.
pub type Opening = Pin<Box<dyn Future<Output = Result<BoxStream, DialError>> + Send>>;

/// Opens connections.
pub trait Connector: Send + Sync + fmt::Debug {
    /// Opens a connection to an address, until the deadline.
    fn connect(&self, address: &Address, deadline: Instant) -> Opening;
}

/// Opens TCP connections.
#[derive(Debug, Clone, Copy)]
pub struct Tcp;

impl Connector for Tcp {
    fn connect(&self, address: &Address, deadline: Instant) -> Opening {
        let address = address.clone();
        Box::pin(async move { Ok(Box::new(dial(&address, deadline).await?) as BoxStream) })
    }
}
