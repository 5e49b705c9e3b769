//! Tests of the checker: a clean stack is clean, and each planted defect is found quickly and with the right verdict.
#![allow(clippy::unwrap_used, reason = "a test's helper may panic")]

mod clean;
mod planted;
mod producers;
mod support;
mod transactions;
