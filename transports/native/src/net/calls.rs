//! Requests as futures, one after the other: for what a client asks before it can send, and for its questions later.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Answer, Connection, Event, Request};
use super::error::{Cause, ConnectionError};
use super::in_flight::{RequestId, Written};
use crate::protocol::api::Api;
use crate::protocol::writer::Frame;
use crate::protocol::{DecodeError, TooLong};

/// A connection with one caller, which asks and waits.
#[derive(Debug)]
pub struct Calls<S> {
    connection: Connection<S, ()>,
}

/// Why a call has no answer, and how much of its request was written.
#[derive(Debug, Clone)]
pub struct CallError {
    /// What ended the connection.
    pub error: ConnectionError,
    /// What the socket took of the request: only if it is [`Written::Wholly`] can the broker have carried it out.
    pub written: Written,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Calls<S> {
    /// Over a connection.
    #[must_use]
    pub fn new(connection: Connection<S, ()>) -> Self {
        Self { connection }
    }

    /// Sends a request and waits for its answer. `encode` gets the correlation id.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped leaves the connection usable. Before its first poll nothing is sent; after it the request is
    /// sent, by the next call if not by this one, and its answer is discarded. Its time goes on: without an answer it ends the
    /// connection.
    ///
    /// # Errors
    ///
    /// If the connection ends, or has ended, or the request is too long. After the last the connection is usable.
    pub async fn call(
        &mut self,
        (api, version): (Api, i16),
        timeout: Duration,
        encode: impl FnOnce(i32) -> Result<Frame, TooLong>,
    ) -> Result<Answer, CallError> {
        let id = RequestId { api, version, correlation_id: self.connection.next_id() };
        let not_sent = |error| CallError { error, written: Written::Not };
        let chunks = encode(id.correlation_id).and_then(|frame| frame.into_chunks(&[]).ok_or(TooLong));
        let chunks: Vec<Bytes> = match chunks {
            Ok(chunks) => chunks,
            Err(error) => return Err(not_sent(self.error(Cause::TooLong(error)))),
        };
        let refused = self.connection.send(Request { id, chunks, expects_answer: true, timeout, what: () }).is_err();
        loop {
            match poll_fn(|cx| self.connection.poll(cx)).await {
                Event::Answered((), answer) if answer.id == id => return Ok(answer),
                // Of a call that was dropped.
                Event::Answered((), _) | Event::Written(()) => {}
                Event::Ended(error) => {
                    let written = if refused { Written::Not } else { self.connection.written(id.correlation_id) };
                    return Err(CallError { error, written });
                }
            }
        }
    }

    /// Ends the connection, because this answer cannot be read.
    pub fn undecodable(&mut self, id: RequestId, source: DecodeError) -> ConnectionError {
        self.connection.undecodable(id, source)
    }

    /// The connection, for many requests at a time.
    #[must_use]
    pub fn into_connection(self) -> Connection<S, ()> {
        self.connection
    }

    fn error(&self, cause: Cause) -> ConnectionError {
        ConnectionError { peer: self.connection.peer().clone(), cause }
    }
}
