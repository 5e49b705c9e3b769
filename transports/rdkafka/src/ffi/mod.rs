//! All `unsafe` code of this project: functions that the binding does not offer, or offers with undefined behaviour.
//!
//! The binding turns librdkafka's error codes into a Rust enum with holes, in the delivery callback, the error callback
//! and the metadata. A code that the enum does not have (of a newer broker or a proxy) is undefined behaviour there.
//! Here codes are integers from the first read on: [`raw`] declares the functions with C's integer types, and fields
//! are read through pointers of that type.
//!
//! Other reasons: the persistence status of a message, handing over a payload without a copy, topic handles, and a
//! flush that does not wait 100 ms.

mod activity;
mod client;
mod inspect;
#[cfg(feature = "mock-cluster")]
pub(crate) mod mock;
mod produce;
mod question;
mod queue;
mod raw;
mod topics;
mod transactions;

pub(crate) use client::{Client, Instance, TopicMetadata, text_of};
pub(crate) use inspect::{Seen, SeenPartition};
pub(crate) use queue::{Event, Queue, Report};
pub(crate) use transactions::TxnError;
