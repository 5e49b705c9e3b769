//! Processes and brokers that are killed in the middle of their work, on a real Apache Kafka.
//!
//! - `processes`, `brokers`: an independent reader of committed records sees each transaction completely or not at all, none
//!   twice, and each one whose commit returned `Ok`.
//! - `members`: a group whose members are killed handles each record, and those of a key in their order.
//! - `pipelines`: what such a group copies with `transactional` is there once, in order, also while brokers are killed.
//!
//! `KAFKA_TOWER_KILLS` is the number of times that processes are killed (default: 5), `KAFKA_TOWER_RECORDS` the number of
//! records that are sent while members or brokers are killed (default: 10,000), `KAFKA_TOWER_PAUSE_MS` the mean time between
//! two kills of members (default: 1,500), and `KAFKA_TOWER_SEED` replays the moments of a run.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may fail, and says what it has seen

mod brokers;
mod members;
mod pipelines;
mod processes;
mod readers;
mod team;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
