//! `KafkaSource` over the in-memory Kafka, under a paused clock: its guarantee, each law with a planted defect that it finds,
//! and random runs.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may fail, and says what it has seen

mod bad_data;
mod behaviour;
mod dead_letters;
mod fixed;
mod laws;
mod listener;
mod logs;
mod losses;
mod memory;
mod once;
mod out_of_range;
mod places;
mod planted;
mod preflight;
mod random;
mod serve;
mod support;
mod transactional;
