//! Connections to brokers.
//!
//! | module | content |
//! |---|---|
//! | [`address`] | reads `bootstrap.servers` |
//! | [`connector`] | how a client opens connections: over TCP, or over streams of a test |
//! | [`dial`] | opens a TCP connection to one of a name's addresses |
//! | [`frames`] | splits bytes into answers, and keeps bytes that are to be written |
//! | [`in_flight`] | the requests without an answer, and how much of each was written |
//! | [`connection`] | carries requests and answers over a stream, many at a time |
//! | [`calls`] | the same, one request after the other, as futures |
//! | [`handshake`] | connects: asks which versions the broker speaks |
//! | [`error`] | why a connection ended |
//!
//! What decides has no clock, no socket and no task: [`address`], [`frames`], [`in_flight`], and which versions to ask for.

pub mod address;
pub mod calls;
pub mod connection;
pub mod connector;
pub mod dial;
pub mod error;
pub mod frames;
pub mod handshake;
pub mod in_flight;

#[cfg(test)]
mod tests;
