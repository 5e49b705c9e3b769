//! A simulated Kafka cluster that speaks Kafka's bytes, and a judge of what a client says about its records.
//!
//! Everything runs in one thread on a paused clock, without sockets: minutes pass in milliseconds, and a seed decides what goes
//! wrong. Requests are read and answers written with the crate `kafka-protocol`, so that no bug of our own codec cancels itself.
//!
//! | module | content |
//! |---|---|
//! | [`cluster`] | brokers, topics and connections |
//! | [`changes`] | leaders move, brokers restart, topics are made anew |
//! | [`broker`] | one connection: reads, executes, answers |
//! | [`requests`], [`metadata`], [`produce`] | what a broker answers |
//! | [`log`], [`producers`], [`batch`] | what is in a partition, and what its leader remembers of producers |
//! | [`faults`] | what goes wrong, by a hash |
//! | [`history`] | the logs, and what happened |
//! | [`judge`] | whether a client has told the truth |
//! | [`driver`], [`workload`], [`profiles`] | runs a client through a seed |
//! | [`native`] | connects the transport |
//!
//! `KAFKA_TOWER_SEEDS` is the number of seeds, `KAFKA_TOWER_SEED` runs a single one.

mod batch;
mod broker;
mod changes;
mod cluster;
mod codes;
mod driver;
mod faults;
mod history;
mod judge;
mod log;
mod metadata;
mod native;
mod produce;
mod producers;
mod profiles;
mod requests;
mod tests;
mod workload;
