//! Runs clients of librdkafka against krafka's `FakeBroker`, which speaks Kafka's protocol and does what no real broker does on
//! request.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may fail

mod lost_answers;
mod lost_brokers;
