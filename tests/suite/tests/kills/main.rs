//! Processes and brokers that are killed in the middle of transactions, on a real Apache Kafka. An independent reader of
//! committed records sees each transaction completely or not at all, none twice, and each one whose commit returned `Ok`.
//!
//! `KAFKA_TOWER_KILLS` is the number of times that the sending process is killed (default: 5), `KAFKA_TOWER_RECORDS` the
//! number of records that are sent while brokers are killed (default: 10,000), and `KAFKA_TOWER_SEED` replays the moments
//! of a run.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may fail, and says what it has seen

mod brokers;
mod processes;
mod readers;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
