//! The laws of [`Consumer`](kafka_tower_core::Consumer), the reading side of a transport: one function each in [`laws`].
//!
//! Write a [`ConsumerFixture`], and let [`consumer_law_tests!`](crate::consumer_law_tests) make a `#[tokio::test]` of each
//! law. The name of a failed test is the name of the broken law.

mod fixture;
mod law;
pub mod laws;
mod macros;
mod member;

pub use fixture::{ConsumerBroker, ConsumerFixture, OpenedConsumers};
pub use law::ConsumerLaw;
