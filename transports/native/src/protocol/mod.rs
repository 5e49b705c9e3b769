//! Kafka's wire protocol: requests are written, answers are read. Nothing here knows sockets, time or producing.
//!
//! | module | content |
//! |---|---|
//! | [`reader`], [`writer`] | Kafka's types, and frames |
//! | [`varint`], [`uuid`], [`i32_array`] | variable-length integers, topic ids, arrays of numbers |
//! | [`header`] | headers of requests and answers |
//! | [`versions`] | which version of a request to use with a broker |
//! | [`api`] | the requests and answers themselves |
//!
//! A frame is a length of four bytes, and that many bytes behind it. Answers are read without their length.

pub mod api;
mod error;
pub mod header;
pub mod i32_array;
pub mod reader;
pub mod uuid;
pub mod varint;
pub mod versions;
pub mod writer;

#[cfg(test)]
mod tests;

pub use error::{DecodeError, TooLong};
