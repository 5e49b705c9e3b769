//! Sources over librdkafka: the laws of a consumer, and what only a real Kafka proves.
#![allow(clippy::unwrap_used)] // a test may fail

mod dead_letters;
mod groups;
mod lag;
mod laws_mock;
mod laws_real;
mod outages;
mod places;
mod read;
mod serve;
mod support;
mod transactional;
mod unable;
