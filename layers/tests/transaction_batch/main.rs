//! Tests of `TransactionBatch` over transactional transports in memory: outcomes are those of the transaction, nothing is
//! replayed that may be visible, order and limits are exact.
#![cfg(feature = "transaction-batch")]
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

mod cutting;
mod ending;
mod events;
mod lanes;
mod outcomes;
mod panics;
mod poison;
mod recovery;
mod room;
mod support;
mod tenants;
mod units;
mod units_random;
