//! Ends of transactions that are hard to tell, on a real Apache Kafka: two owners of one transactional id, the broker's own
//! time-out, a coordinator that moves, ids that expire, refused records, commits without
//! an answer, and an outage of the coordinator.
#![allow(clippy::unwrap_used)] // a test may fail

mod coordinator;
mod doubt;
mod expiry;
mod outage;
mod owners;
mod refused;
mod support;
mod time_out;
