//! Transactions of the memory transport, as a user of a transactional producer sees them.
#![allow(clippy::unwrap_used, reason = "a test's helper may panic")]

mod closing;
mod ends;
mod faults;
mod owners;
mod support;
