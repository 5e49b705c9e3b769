//! Transactions: the broker's side, the producer's side, and the script of faults between them.

pub(crate) mod client;
pub(crate) mod control;
pub(crate) mod coordinator;
pub(crate) mod rule;
pub(crate) mod script;
