//! `KafkaSink` over the memory transport.
#![allow(clippy::unwrap_used)] // a test may fail

mod clients;
mod completeness;
mod contract;
mod edges;
mod layers;
mod of_type;
mod own_layers;
mod shared_transactions;
mod transactions;
