//! Ends of transactions that are hard to tell, on a real Apache Kafka: two owners of one transactional id, the broker's own
//! time-out, a coordinator that moves, ids that expire, refused records, and commits without an answer.
#![allow(clippy::unwrap_used)] // a test may fail

mod coordinator;
mod doubt;
mod expiry;
mod owners;
mod refused;
mod support;
mod time_out;
