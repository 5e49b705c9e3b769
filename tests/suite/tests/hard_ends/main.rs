//! Ends of transactions that are hard to tell, on a real Apache Kafka: two owners of one transactional id, the broker's own
//! time-out, a coordinator that moves, ids that expire, refused records, commits without
//! an answer, an outage of the coordinator, and a slow connection to that of a group.
#![allow(clippy::unwrap_used)] // a test may fail

mod coordinator;
mod doubt;
mod expiry;
mod outage;
mod owners;
mod refused;
mod slow_coordinator;
mod support;
mod time_out;
