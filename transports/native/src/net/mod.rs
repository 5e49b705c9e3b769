//! Connections to brokers.
//!
//! | module | content |
//! |---|---|
//! | [`address`] | reads `bootstrap.servers` |
//! | [`frames`] | splits bytes into answers, and keeps bytes that are to be written |
//! | [`in_flight`] | the requests without an answer, and how much of each was written |
//!
//! None of them has a clock, a socket or a task.

pub mod address;
pub mod frames;
pub mod in_flight;
mod wrong_protocol;

#[cfg(test)]
mod tests;
